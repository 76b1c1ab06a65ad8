"""Draw one trace as an SVG: ``python docs/draw_trace.py spans.jsonl trace.svg [TEXT]``.

Reads the spans that the shop writes to TRACES_FILE, and draws the last trace that has TEXT in one of its attributes,
such as ``order.create``; without TEXT, the last one that has a job.
"""

import json
import sys
from datetime import datetime
from html import escape
from pathlib import Path

WIDTH, LABEL, RIGHT, ROW, TOP = 1080, 330, 110, 26, 62
#: One colour for each process, readable on white and on black.
COLOURS = ("#1f77b4", "#b3590a", "#2a7f3f", "#8a4fbf", "#a8323e")


def read(path, text):
    """Return the spans of the trace, by their begin."""
    spans = [json.loads(line) for line in Path(path).read_text().splitlines()]
    last = [
        span["context"]["trace_id"]
        for span in spans
        if "async_accept.operation" in span["attributes"]
        and text in map(str, ["", *span["attributes"].values()])
    ][-1]
    mine = [span for span in spans if span["context"]["trace_id"] == last]
    for span in mine:
        span["begin"], span["end"] = (
            datetime.fromisoformat(span[key]).timestamp() for key in ("start_time", "end_time")
        )
    return sorted(mine, key=lambda span: span["begin"])


def ordered(spans):
    """Return each span with its depth, children below their parents."""
    ids = {span["context"]["span_id"] for span in spans}

    def below(parent, depth):
        for span in spans:
            mother = span["parent_id"] if span["parent_id"] in ids else None
            if mother == parent:
                yield span, depth
                yield from below(span["context"]["span_id"], depth + 1)

    return list(below(None, 0))


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def small(x, y, text, more=""):
    return f'<text x="{x:.1f}" y="{y}" fill="#666" font-size="11"{more}>{text}</text>'


def told(span):
    """Return what stands beside a span's name: the attempt and the state."""
    attributes = span["attributes"]
    attempt, state = attributes.get("async_accept.attempt"), attributes.get("async_accept.state")
    parts = [f"attempt {attempt}"] if attempt else []
    parts += [f"→ {state}"] if state and "finish" in span["name"] else []
    return ", ".join(parts)


def draw(spans):
    rows = ordered(spans)
    begin, end = spans[0]["begin"], max(span["end"] for span in spans)
    scale = (WIDTH - LABEL - RIGHT) / (end - begin)
    processes = list(dict.fromkeys(process(span) for span in spans))
    height = TOP + ROW * len(rows) + 14
    operation = next(o for span in spans if (o := span["attributes"].get("async_accept.operation")))
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">'
    )
    yield f"<title>Trace of a job of {escape(operation)}: {len(rows)} spans, {seconds(end - begin)}</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    for number, name in enumerate(processes):
        x = 14 + number * 230
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text x="{x + 18}" y="22" fill="#333">{escape(name)}</text>'
    for step in range(5):
        x = LABEL + (WIDTH - LABEL - RIGHT) * step / 4
        yield f'<path d="M{x:.1f} {TOP - 12}V{height - 8}" stroke="#ddd"/>'
        yield small(x, TOP - 17, seconds((end - begin) * step / 4), ' text-anchor="middle"')
    for number, (span, depth) in enumerate(rows):
        y = TOP + ROW * number
        x = LABEL + (span["begin"] - begin) * scale
        width = max((span["end"] - span["begin"]) * scale, 2)
        colour = COLOURS[processes.index(process(span)) % len(COLOURS)]
        failed = span["status"]["status_code"] == "ERROR"
        yield f'<text x="{14 + depth * 14}" y="{y + 15}" fill="#111">{escape(span["name"])}'
        yield f' <tspan fill="#666" font-size="11">{escape(told(span))}</tspan></text>'
        stroke = ' stroke="#c00" stroke-width="2"' if failed else ""
        yield f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="2" fill="{colour}"{stroke}/>'
        yield small(x + width + 5, y + 15, seconds(span["end"] - span["begin"]))
    yield "</svg>"


def process(span):
    return f"{span['resource']['attributes']['service.name']}, process {span['pid']}"


if __name__ == "__main__":
    source, target, *text = sys.argv[1:]
    Path(target).write_text("\n".join(draw(read(source, *(text or [""])))) + "\n")
