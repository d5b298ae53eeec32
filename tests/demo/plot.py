"""Plots the results of the dashboard's queries as one SVG. Uses only the standard library."""

import html
import math
import re

COLUMNS, CELL = 4, (320, 200)
MARGIN = {"left": 62, "right": 14, "top": 30, "bottom": 60}
HEADING = 30
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]
LETTER, LEGEND_ROWS = 6.2, 3


def picture(rows, caption):
    """One heading per row of (title, [(panel, [(legend, labels, points)])]), and one chart per panel."""
    y, body = 28, []
    for title, panels in rows:
        panels = [entry for entry in panels if entry[0]["type"] == "timeseries" and entry[1]]
        if not panels:
            continue
        body.append(f'<text x="8" y="{y + 20}" font-size="15" font-weight="bold" fill="#333">{html.escape(title)}</text>'
                    f'<line x1="8" x2="{COLUMNS * CELL[0] - 8}" y1="{y + 26}" y2="{y + 26}" stroke="#bbb"/>')
        y += HEADING
        for index, (panel, series) in enumerate(panels):
            body.append(f'<g transform="translate({index % COLUMNS * CELL[0]},{y})">{chart(panel, series)}</g>')
            y += CELL[1] if index % COLUMNS == COLUMNS - 1 or index == len(panels) - 1 else 0
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * CELL[0]} {y}" font-family="sans-serif" font-size="10">'
            f'<rect width="{COLUMNS * CELL[0]}" height="{y}" fill="#fff"/>'
            f'<text x="8" y="18" font-size="12" fill="#555">{html.escape(caption)}</text>')
    return "\n".join([head, *body]) + "\n</svg>\n"


def chart(panel, series):
    width = CELL[0] - MARGIN["left"] - MARGIN["right"]
    height = CELL[1] - MARGIN["top"] - MARGIN["bottom"]
    defaults = panel["fieldConfig"]["defaults"]
    stacked = "stacking" in defaults["custom"]
    lines, below = [], {}
    # The highest series first, so that it is at the bottom of a stack and is never cut from the legend.
    for legend, labels, points in sorted(series, key=lambda one: -sum(v for _, v in one[2])):
        if stacked:
            points = [(t, v + below.get(t, 0)) for t, v in points]
            below |= dict(points)
        lines.append((name(legend, labels), points))
    times = [t for _, points in lines for t, _ in points]
    step, top = scale(defaults.get("max") or max((v for _, points in lines for _, v in points), default=0), defaults["unit"])
    start, span = min(times), (max(times) - min(times)) or 1

    def place(t, v):
        return f'{(t - start) / span * width:.1f},{height - min(max(v, 0), top) / top * height:.1f}'

    out = [f'<text x="8" y="18" font-size="12" font-weight="bold">{html.escape(panel["title"])}</text>',
           f'<g transform="translate({MARGIN["left"]},{MARGIN["top"]})">']
    for tick in range(round(top / step) + 1):
        at = round(height * (1 - tick * step / top), 1)
        out.append(f'<line x1="0" x2="{width}" y1="{at}" y2="{at}" stroke="#ddd"/>'
                   f'<text x="-6" y="{at + 3}" text-anchor="end" fill="#555">{human(step * tick, defaults["unit"])}</text>')
    for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        out.append(f'<text x="{width * part}" y="{height + 13}" text-anchor="{anchor}" fill="#555">{span * part:.0f} s</text>')
    # The top of a stack is drawn first, so that the lower areas cover it.
    for index, (_, points) in reversed(list(enumerate(lines))):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(place(t, v) for t, v in without_middles(points))
        if stacked:
            ends = f"{place(points[0][0], 0)} {path} {place(points[-1][0], 0)}"
            out.append(f'<polygon points="{ends}" fill="{colour}"/>')
        else:
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(out) + keys([words for words, _ in lines], width, height + 27) + "</g>"


def without_middles(points):
    """Without points between two points of the same value, which are not visible."""
    return [point for at, point in enumerate(points)
            if not 0 < at < len(points) - 1 or not points[at - 1][1] == point[1] == points[at + 1][1]]


def keys(names, width, y):
    """The legend, in rows that fit, and the number of entries that do not fit."""
    x, row, out = 0, 0, []
    for index, words in enumerate(names):
        needs = 14 + LETTER * len(words) + 8
        more = 60 if row == LEGEND_ROWS - 1 and index < len(names) - 1 else 0
        if x and x + needs + more > width:
            if row == LEGEND_ROWS - 1:
                out.append(f'<text x="{x}" y="{y + 13 * row}" fill="#555">and {len(names) - index} more</text>')
                break
            x, row = 0, row + 1
        out.append(f'<rect x="{x}" y="{y + 13 * row - 8}" width="9" height="9" fill="{COLOURS[index % len(COLOURS)]}"/>'
                   f'<text x="{x + 13}" y="{y + 13 * row}" fill="#333">{html.escape(words)}</text>')
        x = round(x + needs)
    return "".join(out)


def scale(highest, unit):
    """A round step and the top of the axis, of four steps at most."""
    highest = highest or (0.01 if unit == "percentunit" else 1)
    base = 1024.0 ** max(0, int(math.log(highest, 1024))) if unit == "bytes" else 1.0
    wanted = highest / base / 4
    decade = 10.0 ** math.floor(math.log10(wanted))
    step = base * next(decade * round_one for round_one in (1, 2, 2.5, 5, 10) if decade * round_one >= wanted * 0.9999)
    return step, step * math.ceil(highest / step - 0.0001)


def name(legend, labels):
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), legend).strip() or "taken"


def human(value, unit):
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if value == 0:
        return "0"
    if unit == "s" and value < 1:
        return f"{value * 1e3:.3g} ms"
    base = 1024 if unit == "bytes" else 1000
    for prefix in ("", "k", "M", "G", "T"):
        if value < base:
            break
        value /= base
    suffix = {"bytes": "iB" if prefix else "B", "Bps": "B/s", "bps": "bit/s", "pps": "/s", "cps": "/s", "ops": "/s", "iops": "/s", "s": "s"}
    return f"{value:.3g} {prefix}{suffix.get(unit, '')}".strip()
