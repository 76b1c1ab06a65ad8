"""Show which functions a step calls, and what they cost.

    python -m benchmarks.profiles accept "poll, 304" --calls 500

The step is called in one process, under cProfile, which makes small functions look dearer than they are: compare a
profile with another one, not with a clock. The times are of one call, in microseconds; those of ``wait`` are the
database's. In a server, code that is called once in a request is not in the processor's caches, so the number of
different functions says as much as the number of calls.
"""

import re

from . import databases
from .options import options_parser
from .steps import Steps

STEPS = ("accept", "poll", "poll, 304", "claim and finish", "relay, 100 due")


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("steps", nargs="*", help=" | ".join(STEPS))
    parser.add_argument("--calls", type=int, default=300, help="calls of each step (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=40, help="functions to show (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="REGEX", help="show only functions whose name matches")
    given = parser.parse_args()
    databases.make("ours")
    with Steps("ours") as steps:
        steps.call("prepare")
        for name in given.steps or STEPS:
            rows = steps.call("profile", name=name, calls=given.calls)
            whole = sum(own for _, own, _, _ in rows)
            calls = sum(number for _, _, number, _ in rows)
            print(f"\n{name}: {whole * 1e6:.0f} µs, {len(rows)} functions, {calls:.0f} calls")
            print(f"{'with':>8}{'%':>5}{'own':>8}{'calls':>8}  function")
            rows = [row for row in rows if re.search(given.only, row[3])]
            for cumulative, own, number, function in sorted(rows, reverse=True)[: given.rows]:
                share = cumulative / whole
                print(f"{cumulative * 1e6:8.0f}{share:5.0%}{own * 1e6:8.0f}{number:8.4g}  {function}")
    databases.drop("ours")


if __name__ == "__main__":
    main()
