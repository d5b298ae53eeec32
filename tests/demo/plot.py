"""Plots what the dashboard's queries returned, as one SVG. Standard library only."""

import html
import re

COLUMNS, CELL = 3, (400, 200)
MARGIN = {"left": 58, "right": 12, "top": 28, "bottom": 40}
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]
LEGEND_MOST = 5


def picture(panels, caption):
    """One chart a panel of (panel, [(legend, labels, points)])."""
    panels = [entry for entry in panels if entry[0]["type"] == "timeseries" and entry[1]]
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * CELL[0], rows * CELL[1] + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="16" fill="#555">The dashboard\'s queries on a real run: {html.escape(caption)}</text>',
    ]
    for index, (panel, series) in enumerate(panels):
        x, y = index % COLUMNS * CELL[0], index // COLUMNS * CELL[1] + 24
        out.append(f'<g transform="translate({x},{y})">{chart(panel, series)}</g>')
    return "\n".join(out) + "\n</svg>\n"


def chart(panel, series):
    width = CELL[0] - MARGIN["left"] - MARGIN["right"]
    height = CELL[1] - MARGIN["top"] - MARGIN["bottom"]
    defaults = panel["fieldConfig"]["defaults"]
    stacked = "stacking" in defaults["custom"]
    lines, below = [], {}
    for legend, labels, points in series:
        if stacked:
            points = [(t, v + below.get(t, 0)) for t, v in points]
            below |= dict(points)
        lines.append((name(legend, labels), points))
    times = [t for _, points in lines for t, _ in points]
    top = max((v for _, points in lines for _, v in points), default=0) or 1
    start, span = min(times), (max(times) - min(times)) or 1

    def place(t, v):
        return f'{(t - start) / span * width:.1f},{height - max(v, 0) / top * height:.1f}'

    out = [f'<text x="8" y="18" font-size="12" font-weight="bold">{html.escape(panel["title"])}</text>',
           f'<g transform="translate({MARGIN["left"]},{MARGIN["top"]})">']
    for part in (0, 0.5, 1):
        at = height * (1 - part)
        out.append(f'<line x1="0" x2="{width}" y1="{at}" y2="{at}" stroke="#ddd"/>'
                   f'<text x="-6" y="{at + 3}" text-anchor="end" fill="#555">{human(top * part, defaults["unit"])}</text>')
    # The highest of a stack first, so that the lower ones lie over it.
    for index, (_, points) in reversed(list(enumerate(lines))):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(place(t, v) for t, v in points)
        if stacked:
            ends = f"{place(points[0][0], 0)} {path} {place(points[-1][0], 0)}"
            out.append(f'<polygon points="{ends}" fill="{colour}"/>')
        else:
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    x = 0
    for index, (words, _) in enumerate(lines[:LEGEND_MOST]):
        out.append(f'<text x="{x}" y="{height + 16}" fill="{COLOURS[index % len(COLOURS)]}">{html.escape(words)}</text>')
        x += 6 * len(words) + 10
    if len(lines) > LEGEND_MOST:
        out.append(f'<text x="0" y="{height + 29}" fill="#555">and {len(lines) - LEGEND_MOST} more</text>')
    return "".join(out) + "</g>"


def name(legend, labels):
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), legend).strip() or "taken"


def human(value, unit):
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s" and value < 1:
        return f"{value * 1e3:.3g} ms"
    base = 1024 if unit == "bytes" else 1000
    for prefix in ("", "k", "M", "G", "T"):
        if value < base:
            break
        value /= base
    suffix = {"bytes": "iB" if prefix else "B", "Bps": "B/s", "bps": "bit/s", "pps": "/s", "cps": "/s", "ops": "/s", "iops": "/s", "s": "s"}
    return f"{value:.3g} {prefix}{suffix.get(unit, '')}".strip()
