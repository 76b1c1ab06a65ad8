"""What ``report()`` and ``track()`` take, beside tqdm's ``update()`` and ``tqdm()``."""

import io
import time
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

from async_accept.jobs.attempt import Attempt, begin, end
from async_accept.models import Job
from async_accept.progress import report, track


def progress(calls: int) -> dict[str, float]:
    """Return the seconds of one call or step of each, without those of the loop itself."""
    attempt = Attempt(Job(operation="bench"))
    begin(attempt)
    nothing = io.StringIO()
    bar = tqdm(total=calls, file=nothing)
    try:
        bare = _time(lambda n: _loop(range(n)), calls)
        return {
            "update": _time(lambda n: _update(bar, n), calls) - bare,
            "report": _time(_report, calls) - bare,
            "tqdm": _time(lambda n: _loop(tqdm(range(n), file=nothing)), calls) - bare,
            "track": _time(lambda n: _loop(track(range(n))), calls) - bare,
        }
    finally:
        bar.close()
        end(attempt)


def _time(run: Callable[[int], Any], calls: int) -> float:
    began = time.perf_counter()
    run(calls)
    return (time.perf_counter() - began) / calls


def _loop(items: Iterable[int]) -> None:
    for _ in items:
        pass


def _update(bar: Any, calls: int) -> None:
    for _ in range(calls):
        bar.update()


def _report(calls: int) -> None:
    for n in range(calls):
        report(n, calls)
