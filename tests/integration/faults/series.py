"""Many storms, one after the other, and the rows of the table in docs/explanation/reliability.rst.

    python -m tests.integration.faults.series --seeds 10 --jobs 200 --seconds 60

The seeds take turns with the combinations of database and broker; with --all, each seed meets each of them. A row is
printed after each storm, and the whole account is added to the file --log as a line of JSON.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from .account import broken_promises, table
from .storm import run

__all__ = ["row"]

COMBINATIONS = (("postgres", "redis"), ("postgres", "rabbitmq"), ("mariadb", "rabbitmq"))
#: The columns that count broken promises; a column sums up these lines of the account.
BROKEN = {
    "Lost": ("accepted without a final status", "sound jobs failed because of faults"),
    "Flipped": (
        "final statuses that changed",
        "cancellations that were not kept",
        "deleted jobs that are still there",
    ),
    "Doubled": (
        "effects committed twice",
        "one key, two URLs",
        "reruns that are not linked, or not new",
    ),
    "Lies": (
        "success without its effect, failure with it",
        "responses that cannot be true",
        "results that are not the genuine ones",
    ),
    "Notices": (
        "ended jobs without their notice",
        "ends with more than one notice",
        "deliveries that did not end as delivered",
        "notices that are forged, or not true",
        "notices that changed between their tries",
        "notices sent again after their 2xx was stored",
        "notices sent again after a 2xx that no fault hid",
        "more tries of a notice than attempts",
        "gaps in the numbers of notices",
        "redirects that were followed",
    ),
}
#: The other columns: lines of the account.
SHOWN = {
    "Faults": ("faults",),
    "Accepted; attempts": ("accepted", "attempts"),
    "Canceled; rerun; deleted": ("canceled, run again, deleted",),
    "Notices; tries; again after a lost 2xx": (
        "notices; tries",
        "tries again after a 2xx that a fault hid",
    ),
    "Slowest accept; p99 (s)": ("slowest accept, s", "p99 of accepts, s"),
    "Killed worker; child noticed (s)": (
        "slowest notice of a killed worker, s",
        "slowest notice of a killed child, s",
    ),
    "Slowest end (s)": ("slowest end after all parts were back, s",),
}


def row(seed: int, combination: str, found: dict[str, Any]) -> list[str]:
    """Return the cells of one storm."""
    counts = [str(sum(len(found[name]) for name in names)) for names in BROKEN.values()]
    named = {name for names in BROKEN.values() for name in names}
    others = sum(len(found[name]) for name in broken_promises(found) if name not in named)
    shown = ["; ".join(str(found[name]) for name in names) for names in SHOWN.values()]
    return [str(seed), combination, *counts, str(others), *shown]


def as_list_table(cells: list[str]) -> Iterator[str]:
    """Yield the lines of a row of a list-table."""
    for number, cell in enumerate(cells):
        yield f"   {'*' if not number else ' '} - {cell}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="go on with this seed")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--all", action="store_true", help="each seed with each combination")
    parser.add_argument("--quick", action="store_true", help="short times, such as a lease of 3 s")
    parser.add_argument("--log", type=Path, default=Path("storms.jsonl"))
    chosen = parser.parse_args()
    logging.captureWarnings(True)
    seeds = range(1, chosen.seeds + 1)
    turns = (
        product(seeds, COMBINATIONS) if chosen.all else zip(seeds, COMBINATIONS * len(seeds), strict=False)
    )
    turns = ((seed, combination) for seed, combination in turns if seed >= chosen.first)
    _print(as_list_table(["Seed", "Database, broker", *BROKEN, "Other", *SHOWN]))
    broken = False
    for seed, (database, broker) in turns:
        found, late = run(seed, chosen.seconds, chosen.jobs, database, broker, _say, quick=chosen.quick)
        _print(as_list_table(row(seed, f"{database}, {broker}", found)))
        storm = {"seed": seed, "database": database, "broker": broker, "too slow": late, **found}
        with chosen.log.open("a") as log:
            log.write(json.dumps(storm) + "\n")
        if broken_promises(found):
            broken = True
            for line in table(found):
                _say(line)
    return 1 if broken else 0


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
