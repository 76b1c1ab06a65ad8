"""``.. benchmark-figures:: pairs.json`` is a table of what a benchmark has measured, from ``benchmarks/results``.

No figure in it is typed by hand. The options ``:measures:`` and ``:figures:`` choose rows, separated by semicolons;
``:size:`` chooses those whose figure ends with a number of jobs. ``:other:`` and ``:ours:`` are headings.

``:measured:`pairs.json; accept; p50``` is one figure in a sentence: the median with its unit. With ``; ratio`` after
it, it is the ratio with its spread; with ``; per core``, how many of so many milliseconds of CPU fit into a second.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

RESULTS = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "results"


class BenchmarkFigures(SphinxDirective):
    """The rows of one file, and what they were measured on."""

    required_arguments = 1
    option_spec = dict.fromkeys(("measures", "figures", "size", "other", "ours"), directives.unchanged)

    def run(self) -> list[nodes.Node]:
        path = RESULTS / self.arguments[0]
        self.env.note_dependency(str(path))
        document = json.loads(path.read_text())
        rows = [row for row in document["rows"] if self._shows(row)]
        if not rows:
            raise self.error(f"{path.name} has no such figures.")
        headings = self.options.get("other", "By hand"), self.options.get("ours", "Ours")
        return self.parse_text_to_nodes("\n".join([*_table(rows, *headings), "", _facts(document)]))

    def _shows(self, row: dict[str, Any]) -> bool:
        chosen = {"measure": self.options.get("measures"), "figure": self.options.get("figures")}
        size = self.options.get("size")
        if size is not None and _step(row["figure"])[1] != size:
            return False
        return all(
            names is None or row[column] in map(str.strip, names.split(";"))
            for column, names in chosen.items()
        )


class Measured(SphinxRole):
    """One figure."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        file, figure, measure, *how = map(str.strip, self.text.split(";"))
        path = RESULTS / file
        self.env.note_dependency(str(path))
        rows = json.loads(path.read_text())["rows"]
        found = [row for row in rows if (row["figure"], row["measure"]) == (figure, measure)]
        if len(found) != 1:
            message = self.inliner.reporter.error(f"{file} has no such figure: {self.text}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(_told(found[0], *how))], []


def _told(row: dict[str, Any], how: str = "") -> str:
    match how:
        case "ratio":
            ratio = row["ratio"]
            return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        case "per core":
            return f"{1000 / row['median']:.0f}"
        case _:
            return _number(row["median"], row["unit"])


def _table(rows: list[dict[str, Any]], other: str, ours: str) -> list[str]:
    compares = any(row["other"] for row in rows)
    repeats = any(len(row["ours"]) > 1 for row in rows)
    has_goals = any(row["goal"] for row in rows)
    one_measure = len({row["measure"] for row in rows}) == 1
    sized = len({_step(row["figure"])[1] for row in rows}) == 1

    def cells(
        figure: str, measure: str, then: str, now: str, ratio: str, spread: str, goal: str
    ) -> list[str]:
        """Leave out the columns that say nothing here."""
        return [
            figure,
            *([] if one_measure else [measure]),
            *([then, now, ratio, spread] if compares else [now, spread] if repeats else [now]),
            *([goal] if has_goals else []),
        ]

    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += _line(cells("Figure", "Measure", other, ours, "Ratio", "Least to most", "Goal"))
    for row in rows:
        ratio = row.get("ratio")
        figure = _step(row["figure"])[0] if sized else row["figure"]
        lines += _line(
            cells(
                figure.replace("|", "and"),
                row["measure"],
                _number(median(row["other"]), row["unit"]) if row["other"] else "",
                _number(row["median"], row["unit"]),
                f"{ratio['median']:.2f}" if ratio else "",
                f"{ratio['least']:.2f} to {ratio['most']:.2f}" if ratio else _spread(row["ours"]),
                row["goal"],
            )
        )
    return lines


def _spread(values: list[float]) -> str:
    least, most = (_number(value, "") for value in (min(values), max(values)))
    return f"{least} to {most}" if least != most else ""


def _step(figure: str) -> tuple[str, str]:
    """Return the step and the number of jobs of a figure such as "poll, 1000"; the number is empty in others."""
    step, _, size = figure.rpartition(", ")
    return (step, size) if size.isdigit() else (figure, "")


def _line(cells: list[str]) -> list[str]:
    return [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(cells)]


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _facts(document: dict[str, Any]) -> str:
    machine, load, options = document["machine"], document["load_average"], document["options"]
    rounds = f"medians of {options['rounds']} rounds, " if "rounds" in options else ""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{document['began'][:10]}, commit ``{machine['commit']}``: "
        f"{rounds}{machine['cores']} cores ({machine['cpu']}), "
        f"load average {load[0]:.1f} before and {load[-1]:.1f} after, Python {machine['python']}, "
        f"{machine['database']}, {packages}."
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-figures", BenchmarkFigures)
    app.add_role("measured", Measured())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
