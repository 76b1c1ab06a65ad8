"""``report()`` and ``track()``, which do nothing but remember."""

from collections.abc import Iterator

from ..results import Row
from . import Session


def progress(session: Session) -> Iterator[Row]:
    options, ours = session.options, session.steps["ours"]
    calls = int(options.seconds * 200_000)
    ours.call("progress", calls=calls // 10)
    rounds = [ours.call("progress", calls=calls) for _ in range(options.rounds)]
    state = session.steps["handwritten"].call("update_state", count=max(options.count // 4, 1))

    def micro(name: str) -> list[float]:
        return [found[name] * 1e6 for found in rounds]

    yield Row("report() | update()", "one call", "µs", micro("report"), micro("update"), "<= 1.5; <= 0.5 µs")
    yield Row("track() | tqdm()", "one step", "µs", micro("track"), micro("tqdm"))
    yield Row("report()|update_state()", "one call", "µs", micro("report"), [state * 1e6] * len(rounds))
