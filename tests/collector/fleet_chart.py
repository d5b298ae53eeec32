#!/usr/bin/env python3
"""Draws the output of the fleet's simulation, from standard input: the busiest tenth of each second after the Collector's return.

    HEKA_FLEET_OUTAGE=60 tests/collector/run fleet --nocapture 2>&1 | tee fleet.txt
    tests/collector/fleet_chart.py <fleet.txt
"""

import re
import sys

WIDTH = 60

curves = {}
name = ""
for line in sys.stdin:
    if line.startswith("--- "):
        name = line[4:].strip()
    if found := re.match(r"each second's highest .*\[(.*)\]", line):
        curves[name] = [int(count) for count in found[1].split(",")]
if not curves:
    sys.exit("no curve on stdin: is it the output of the fleet's test, with --nocapture?")

scale = WIDTH / max(max(curve) for curve in curves.values())
for name, curve in curves.items():
    print(name)
    for second, count in enumerate(curve):
        print(f"{second:3} s {'#' * round(count * scale):{WIDTH}} {count:4}".rstrip())
    print()
