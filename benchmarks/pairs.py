"""Compare this package with what people write by hand, in pairs: A B A B …

    DATABASE_URL=postgres://postgres@127.0.0.1/bench CELERY_BROKER_URL=redis://127.0.0.1/0 python -m benchmarks.pairs

Figures are measured that are named, else all. A ratio is that of ours to the other of the same round; the table has the
median of all rounds, the least and the most. ``--noise`` compares the baseline with itself: what its ratios show is
noise. The method is in benchmarks/README.rst.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from . import brokers, databases
from .figures import Options, Session, micro, web, work
from .options import options_parser
from .results import Report, Row, quiet
from .steps import Steps

FIGURES: dict[str, Callable[[Session], Iterator[Row]]] = {
    "accept": web.accept,
    "accept-relay": web.accept_relay,
    "accept-key": web.accept_key,
    "accept-repeat": web.accept_repeat,
    "poll": web.poll,
    "poll-304": web.poll_known,
    "poll-304-too-soon": web.poll_too_soon,
    "jobs": work.jobs,
    "jobs-kept": work.jobs_kept,
    "relay-redis": work.relay_redis,
    "relay-rabbitmq": work.relay_rabbitmq,
    "progress": micro.progress,
    "idle": work.idle,
}
PROJECTS = ("handwritten", "ours")
#: Figures that have no other side.
ALONE = {"progress", "idle"}


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument(
        "figures", nargs="*", choices=[*FIGURES, []], metavar="figure", help=", ".join(FIGURES)
    )
    parser.add_argument("--rounds", type=int, default=7, help="pairs (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="of requests on each side (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, default=400, help="jobs on each side (default: %(default)s)")
    parser.add_argument("--noise", action="store_true", help="compare the baseline with itself")
    parser.add_argument(
        "--quiet", type=float, default=0, metavar="SECONDS", help="wait that long for a quiet machine"
    )
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in benchmarks/results")
    given = parser.parse_args()
    options = Options(given.rounds, given.seconds, given.count, given.noise)
    if given.noise and ALONE.intersection(given.figures):
        parser.error(f"These have no other side: {', '.join(sorted(ALONE))}")
    names = given.figures or [name for name in FIGURES if not (given.noise and name in ALONE)]
    urls = {brokers.url(), *([brokers.RABBITMQ] if "relay-rabbitmq" in names else [])}
    brokers.need(*urls)
    with databases.made(*PROJECTS), ExitStack() as stack:
        for url in urls:
            stack.callback(brokers.drop_queues, url, *map(databases.name_of, PROJECTS))
        steps = {project: stack.enter_context(Steps(project)) for project in PROJECTS}
        for each in steps.values():
            each.call("prepare")
        report = Report("noise" if given.noise else "pairs", **options._asdict())
        for name in names:
            quiet(given.quiet)
            for row in FIGURES[name](Session(options, steps)):
                # With --noise, what is no ratio says nothing, and no goal is for it.
                if not given.noise:
                    report.add(row)
                elif row.other and row.measure not in web.COUNTED:
                    report.add(row._replace(goal=""))
        report.write(given.output)


if __name__ == "__main__":
    main()
