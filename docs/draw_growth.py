"""Draw what each step takes while the table grows: ``python docs/draw_growth.py growth.json growth.svg``.

Reads a result of ``python -m benchmarks.growth``.
"""

import json
import math
import sys
from collections import defaultdict
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 470, 70, 250, 56, 46
TITLE = "Milliseconds of one step, by the number of jobs in the table"
#: Readable on white and on black.
COLOURS = ("#1f77b4", "#b3590a", "#2a7f3f", "#8a4fbf", "#a8323e", "#5b6770", "#0f8a8a", "#b08a00")
#: Labels are so far from each other at least.
LINE = 15


def read(path):
    """Return by step its points: the number of jobs, and the median in milliseconds."""
    points = defaultdict(list)
    for row in json.loads(Path(path).read_text())["rows"]:
        step, _, size = row["figure"].rpartition(", ")
        if row["measure"] == "whole time":
            points[step].append((int(size), row["median"]))
    return {step: sorted(found) for step, found in points.items()}


class Scale:
    """A logarithmic axis."""

    def __init__(self, values, begin, end):
        self.least, self.most = math.log10(min(values)), math.log10(max(values))
        self.begin, self.end = begin, end

    def __call__(self, value):
        share = (math.log10(value) - self.least) / (self.most - self.least or 1)
        return self.begin + share * (self.end - self.begin)


def spread(places):
    """Move labels apart: return a place for each, in the same order, none closer to another than a line."""
    moved = {}
    last = -math.inf
    for index in sorted(range(len(places)), key=places.__getitem__):
        last = moved[index] = max(places[index], last + LINE)
    return [moved[index] for index in range(len(places))]


def count(size):
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"


def small(x, y, text, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#666" font-size="12"{more}>{escape(text)}</text>'


def draw(points):
    sizes = sorted({size for found in points.values() for size, _ in found})
    times = [time for found in points.values() for _, time in found]
    across = Scale(sizes, LEFT, WIDTH - RIGHT)
    up = Scale(
        [10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))],
        HEIGHT - BOTTOM,
        TOP,
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" role="img">',
        f"<title>{TITLE}</title>",
        f'<text x="{LEFT}" y="24" fill="#666" font-size="15" font-weight="bold">{TITLE}</text>',
    ]
    for power in range(round(up.least), round(up.most) + 1):
        y = up(10**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#999" stroke-opacity=".35"/>')
        parts.append(small(LEFT - 8, y + 4, f"{10**power:g}", ' text-anchor="end"'))
    parts += [
        small(across(size), HEIGHT - BOTTOM + 20, count(size), ' text-anchor="middle"') for size in sizes
    ]
    labels = spread([up(found[-1][1]) for found in points.values()])
    for (step, found), place, colour in zip(points.items(), labels, COLOURS * 3, strict=False):
        places = [(across(size), up(time)) for size, time in found]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        text = f"{step}: {found[-1][1]:.3g} ms"
        parts.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{place + 4:.1f}" fill="{colour}" font-size="12">{escape(text)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    source, target = sys.argv[1:3]
    Path(target).write_text(draw(read(source)))
