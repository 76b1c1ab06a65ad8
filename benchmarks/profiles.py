"""Show which functions a step calls, and what they cost.

    python -m benchmarks.profiles accept "poll, 304" --calls 500

The step is called in one process, under cProfile, which makes small functions look dearer than they are: compare a
profile with another one, not with a clock. The times are of one call, in microseconds; those of ``wait`` are the
database's. In a server, code that is called once in a request is not in the processor's caches, so the number of
different functions says as much as the number of calls.
"""

import re

from . import brokers, databases
from .options import options_parser
from .steps import Steps

#: The steps that the baseline has, too.
BY_HAND = ("accept", "poll", "claim and finish")
STEPS = ("accept", "poll", "poll, 304", "claim and finish", "relay, 100 due")


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="step", help=" | ".join(STEPS))
    parser.add_argument("--project", default="ours", choices=["ours", "handwritten"], help="whose steps")
    parser.add_argument("--calls", type=int, default=300, help="calls of each step (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=40, help="functions to show (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="REGEX", help="show only functions whose name matches")
    given = parser.parse_args()
    names = given.steps or (STEPS if given.project == "ours" else BY_HAND)
    if given.project == "handwritten" and not set(names) <= set(BY_HAND):
        parser.error(f"By hand there are: {', '.join(BY_HAND)}")
    brokers.need(brokers.url())
    with databases.made(given.project), Steps(given.project) as steps:
        steps.call("prepare")
        for name in names:
            rows = steps.call("profile", name=name, calls=given.calls)
            whole = sum(own for _, own, _, _ in rows)
            calls = sum(number for _, _, number, _ in rows)
            print(f"\n{name}: {whole * 1e6:.0f} µs, {len(rows)} functions, {calls:.0f} calls")
            print(f"{'with':>8}{'%':>5}{'own':>8}{'calls':>8}  function")
            rows = [row for row in rows if re.search(given.only, row[3])]
            for cumulative, own, number, function in sorted(rows, reverse=True)[: given.rows]:
                share = cumulative / whole
                print(f"{cumulative * 1e6:8.0f}{share:5.0%}{own * 1e6:8.0f}{number:8.4g}  {function}")


if __name__ == "__main__":
    main()
