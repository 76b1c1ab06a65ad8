"""Draw the dashboard as an SVG: ``python docs/draw_dashboard.py http://127.0.0.1:9090 dashboard.svg [SECONDS]``.

Asks a running Prometheus each query of ``monitoring/dashboard.json``, for the last SECONDS, and draws the panels where
Grafana would put them. It is no Grafana: only what these panels use is drawn.
"""

import json
import re
import sys
import time
from html import escape
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

DASHBOARD = Path(__file__).parent / "monitoring" / "dashboard.json"
WIDTH, ROW, GAP, POINTS = 1200, 30, 8, 160
COLUMN = WIDTH / 24
COLOURS = ("#1f77b4", "#b3590a", "#2a7f3f", "#8a4fbf", "#a8323e", "#5b6770", "#0f8a8a", "#b08a00")
WORDS = {"green": "#2a7f3f", "orange": "#b3590a", "red": "#a8323e"}
VARIABLES = {"$operation": ".*", "$__rate_interval": "30s"}


class Prometheus:
    """What a Prometheus knows of the last *seconds*."""

    def __init__(self, url, seconds):
        self.url, self.end = url, time.time()
        self.begin, self.step = self.end - seconds, max(seconds / POINTS, 1)

    def ask(self, query):
        """Return the series of a query: labels, and (time, value) pairs."""
        for name, value in VARIABLES.items():
            query = query.replace(name, value)
        params = urlencode({"query": query, "start": self.begin, "end": self.end, "step": self.step})
        with urlopen(f"{self.url}/api/v1/query_range?{params}") as response:  # noqa: S310 a URL of the caller's
            found = json.load(response)["data"]["result"]
        return [
            (
                series["metric"],
                [(float(at), float(value)) for at, value in series["values"] if value != "NaN"],
            )
            for series in found
        ]


def number(value, unit):
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if 0 < value < 1 else f"{value:.3g} s"
    return f"{value:.3g}" + ("/s" if unit == "ops" else "")


def text(x, y, what, size=12, colour="#333", more=""):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{more}>{escape(str(what))}</text>'
    )


def place(panel):
    at = panel["gridPos"]
    x, y = at["x"] * COLUMN + GAP / 2, at["y"] * ROW + GAP / 2
    return x, y + 44, at["w"] * COLUMN - GAP, at["h"] * ROW - GAP


def draw(dashboard, prometheus):
    height = 52 + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * ROW
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" role="img">'
    )
    yield f"<title>{escape(dashboard['title'])}: the queries of the dashboard, asked of a Prometheus</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#f4f5f5"/>'
    yield text(12, 30, dashboard["title"], 20, "#111")
    alerts = prometheus.ask(dashboard["annotations"]["list"][0]["expr"])
    names = sorted({labels["alertname"] for labels, _ in alerts})
    yield text(240, 30, f"red: {', '.join(names)} firing" if names else "", 12, WORDS["red"])
    for panel in dashboard["panels"]:
        x, y, width, tall = place(panel)
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{tall}" rx="3" fill="#fff" stroke="#ddd"/>'
        yield text(x + 8, y + 17, panel["title"], 12, "#111")
        found = [
            (legend(target, labels), points)
            for target in panel["targets"]
            for labels, points in prometheus.ask(target["expr"])
            if points
        ]
        inner = (x + 8, y + 26, width - 16, tall - 34)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        if panel["type"] == "stat":
            yield from draw_stat(panel, found, inner, unit, prometheus)
        else:
            yield from draw_series(panel, found, inner, unit, prometheus, alerts)
    yield "</svg>"


def legend(target, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), target.get("legendFormat", ""))


def draw_stat(panel, found, inner, unit, prometheus):
    x, y, width, tall = inner
    if not found:
        yield text(x, y + 40, "no data", 20, "#999")
        return
    points = found[0][1]
    value = points[-1][1]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    top = max(value for _, value in points) or 1
    yield curve(points, (x, y + tall - 24, width, 24), top, prometheus, WORDS[colour], fill=True)
    yield text(x, y + 36, number(value, unit), 26, WORDS[colour])


def draw_series(panel, found, inner, unit, prometheus, alerts):
    x, y, width, tall = inner
    plot = (x + 52, y + 4, width - 56, tall - 44)
    stacks = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    if stacks:
        found = stacked(found)
    top = max((value for _, points in found for _, value in points), default=0) or 1
    step = plot[2] * prometheus.step / (prometheus.end - prometheus.begin)
    for at, _ in (point for _, points in alerts for point in points):  # each of them stands for a step
        left = across(at, plot, prometheus)
        yield f'<path d="M{left:.1f} {plot[1]}h{step:.1f}v{plot[3]}h-{step:.1f}z" fill="#a8323e" opacity="0.06"/>'
    for part in range(4):
        line = plot[1] + plot[3] * part / 3
        yield f'<path d="M{plot[0]:.1f} {line:.1f}h{plot[2]:.1f}" stroke="#e5e5e5"/>'
        yield text(
            plot[0] - 6, line + 4, number(top * (3 - part) / 3, unit), 10, "#666", ' text-anchor="end"'
        )
    for part, anchor in enumerate(("start", "middle", "middle", "end")):
        at = prometheus.begin + (prometheus.end - prometheus.begin) * part / 3
        shown, left = time.strftime("%H:%M:%S", time.gmtime(at)), across(at, plot, prometheus)
        yield text(left, plot[1] + plot[3] + 14, shown, 10, "#666", f' text-anchor="{anchor}"')
    left = x
    for index, (_, points) in reversed(list(enumerate(found))):
        yield curve(points, plot, top, prometheus, COLOURS[index % len(COLOURS)], fill=stacks)
    for index, (name, _points) in enumerate(found):
        if left + 14 + 6.4 * len(name) > x + width:
            break
        yield f'<rect x="{left}" y="{y + tall - 12}" width="9" height="9" fill="{COLOURS[index % len(COLOURS)]}"/>'
        yield text(left + 13, y + tall - 4, name, 11)
        left += 26 + 6.4 * len(name)


def stacked(found):
    """Return each series on top of those before it."""
    below = {}
    result = []
    for name, points in found:
        result.append((name, [(at, value + below.get(round(at), 0)) for at, value in points]))
        below |= {round(at): value for at, value in result[-1][1]}
    return result


def across(at, plot, prometheus):
    return plot[0] + plot[2] * (at - prometheus.begin) / (prometheus.end - prometheus.begin)


def curve(points, plot, top, prometheus, colour, *, fill=False):
    """Return a line through *points*, broken where Prometheus has none."""
    parts, last = [], None
    for at, value in points:
        word = "M" if last is None or at - last > 1.5 * prometheus.step else "L"
        parts.append(f"{word}{across(at, plot, prometheus):.1f} {plot[1] + plot[3] * (1 - value / top):.1f}")
        last = at
    line = "".join(parts)
    path = f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    if fill:
        first, end = (across(points[index][0], plot, prometheus) for index in (0, -1))
        bottom = plot[1] + plot[3]
        path += f'<path d="{line}L{end:.1f} {bottom:.1f}H{first:.1f}Z" fill="{colour}" opacity="0.2"/>'
    return path


if __name__ == "__main__":
    url, target, *seconds = sys.argv[1:]
    asked = Prometheus(url, float(seconds[0]) if seconds else 3600)
    Path(target).write_text("\n".join(draw(json.loads(DASHBOARD.read_text()), asked)) + "\n")
