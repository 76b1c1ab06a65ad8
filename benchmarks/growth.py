"""Measure each step with tables of different sizes.

    python -m benchmarks.growth --sizes 1000 100000 1000000

Each size has a database of its own, filled with finished jobs as ``benchmarks.make_jobs`` does it; PostgreSQL copies
them. A round calls each step in each of them, so a ratio compares times of the same minute. "Other" is the smallest
table. For MariaDB let ``DATABASE_URL`` name one.
"""

from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from . import brokers, databases
from .options import options_parser
from .results import Report, Row
from .steps import Steps

#: What is measured of a step: its name, its unit, and how many of that unit are a second.
MEASURES = {
    "statements": ("statements", "", 1),
    "whole": ("whole time", "ms", 1000),
    "sql": ("SQL", "ms", 1000),
    "cpu": ("CPU of this process", "ms", 1000),
}
#: By size, step and measure: one figure of each round.
Found = dict[int, dict[str, dict[str, list[float]]]]


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000], help="jobs in the tables"
    )
    parser.add_argument(
        "--made", type=int, default=100_000, help="jobs that are no copies (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--calls", type=int, default=20, help="of each step (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in benchmarks/results")
    given = parser.parse_args()
    sizes = sorted(given.sizes)
    environments = {size: {"BENCH_SUFFIX": f"growth_{size}"} for size in sizes}
    brokers.need(brokers.url())
    with databases.made(*(f"growth_{size}" for size in sizes)), ExitStack() as stack:
        for size, environment in environments.items():
            with Steps("ours", environment) as steps:
                steps.call("prepare")
                steps.call("grow", count=size, made=given.made)
        # New processes: one that has made a million rows has another heap.
        tables = {
            size: stack.enter_context(Steps("ours", environment))
            for size, environment in environments.items()
        }
        report = Report("growth", sizes=sizes, rounds=given.rounds, calls=given.calls)
        found = measure(tables, given.rounds, given.calls)
        for size in sizes:
            for step in found[size]:
                add(report, found, step, size, sizes[0])
        report.write(given.output)


def measure(tables: dict[int, Steps], rounds: int, calls: int) -> Found:
    found: Found = {size: defaultdict(lambda: defaultdict(list)) for size in tables}
    for _ in range(rounds):
        for size, steps in tables.items():
            for step, figures in steps.call("measure", calls=calls).items():
                for name, value in figures.items():
                    found[size][step][name].append(value)
    return found


def add(report: Report, found: Found, step: str, size: int, smallest: int) -> None:
    for name, (measure, unit, factor) in MEASURES.items():
        ours, other = ([value * factor for value in found[count][step][name]] for count in (size, smallest))
        report.add(Row(f"{step}, {size}", measure, unit, ours, other, goal(step, name, size)))


def goal(step: str, measure: str, size: int) -> str:
    match step, measure:
        case (("accept" | "poll"), "whole"):
            return "<= 1.2 (1.05)" if size >= 10_000_000 else ""
        case _ if step.startswith("admin") and "dashboard" not in step:
            return {"whole": "<= 300 ms itself", "statements": "<= 6 itself"}.get(measure, "")
        case _:
            return ""


if __name__ == "__main__":
    main()
