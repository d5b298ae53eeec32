#!/bin/sh
# Prints the path of a Prometheus 3, and builds it first where there is none yet: see tests/peers/build.
set -eu
exec "$(dirname "$0")/../peers/build" prometheus
