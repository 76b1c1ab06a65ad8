"""Measure how quickly old jobs are removed from a large table, and how long the longest transaction takes.

    python -m benchmarks.purge --jobs 1000000

A part of the jobs is made older than its lifetime, and swept as the relay does it, but without its pauses: first rows,
then results.
"""

from pathlib import Path

from . import databases
from .options import options_parser
from .results import Report, Row
from .steps import Steps

SUFFIX = "purge"


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="in the table (default: %(default)s)")
    parser.add_argument(
        "--count", type=int, default=25_000, help="to purge in a round (default: %(default)s)"
    )
    parser.add_argument(
        "--results", type=int, default=4_000, help="to expire in a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in benchmarks/results")
    given = parser.parse_args()
    with databases.made(SUFFIX), Steps("ours", {"BENCH_SUFFIX": SUFFIX}) as steps:
        steps.call("prepare")
        report = Report("purge", jobs=steps.call("grow", count=given.jobs), rounds=given.rounds)
        for name, count in (("purge_rows", given.count), ("expire", given.results)):
            add(report, name, [steps.call(name, count=count) for _ in range(given.rounds)])
        report.write(given.output)


def add(report: Report, name: str, found: list[dict[str, float]]) -> None:
    figure = {"purge_rows": "purge of rows", "expire": "expiry of results"}[name]
    report.add(Row(figure, "rows/s", "1/s", [each["count"] / each["seconds"] for each in found]))
    report.add(Row(figure, "CPU a row", "µs", [each["cpu"] / each["count"] * 1e6 for each in found]))
    longest = max(each["longest"] * 1000 for each in found)
    report.add(Row(figure, "longest transaction", "ms", [longest], goal="<= 100"))


if __name__ == "__main__":
    main()
