#!/bin/sh
# Prints the path of a Prometheus 3, and builds it first if it does not exist: see tests/peers/build.
set -eu
exec "$(dirname "$0")/../peers/build" prometheus
