"""Tasks of the contract tests: one that waits until a test lets it go on, and some with unusual results."""

import datetime
import decimal
import threading
import uuid
from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.utils.translation import gettext_lazy
from rest_framework.response import Response

from async_accept.exceptions import JobFailed
from async_accept.progress import checkpoint, report
from async_accept.tasks import JobTask

from .models import Note

#: How long a task waits at a gate. A test that forgets to open its gate ends all the same.
SECONDS = 60

_gates: dict[str, threading.Event] = {}
_lock = threading.Lock()


def gate(name: str) -> threading.Event:
    """Return the gate of that name. A new gate is closed."""
    with _lock:
        return _gates.setdefault(name, threading.Event())


#: While this is set, all gates are open. Set at the end of a test.
everywhere = threading.Event()


def close_all() -> None:
    """Forget the gates of the previous test."""
    with _lock:
        _gates.clear()
    everywhere.clear()


@shared_task(base=JobTask)
def stand(name: str = "gate", refuse: bool = False, **more: Any) -> dict[str, Any]:
    """Report progress 1 of 2, and wait until the gate is open or the job is canceled."""
    event = gate(name)
    report(1, 2, "At the gate")
    for _ in range(SECONDS * 50):
        if event.wait(0.02) or everywhere.is_set():
            break
        checkpoint()
    if refuse:
        raise JobFailed("The gate was the wrong one.", code="wrong-gate", status=422)
    return {"passed": name, **more}


@shared_task(base=JobTask)
def read_upload(file: Any, note: Any = None) -> dict[str, Any]:
    return {"name": file.name, "text": file.read().decode(), "note": note}


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


#: Results that can be encoded as JSON, each with what a client reads.
ODD: dict[str, tuple[Callable[[], Any], Any]] = {
    "decimal": (lambda: decimal.Decimal("1.50"), 1.5),
    "uuid": (lambda: uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "date": (lambda: datetime.date(2026, 5, 4), "2026-05-04"),
    "time": (lambda: datetime.datetime(2026, 5, 4, 3, 2, 1, tzinfo=datetime.UTC), "2026-05-04T03:02:01Z"),
    "duration": (lambda: datetime.timedelta(seconds=90), "90.0"),
    "lazy": (lambda: gettext_lazy("Monday"), "Monday"),
    "set": (lambda: {1}, [1]),
    "tuple": (lambda: (1, 2), [1, 2]),
    "none": (lambda: None, None),
    "created": (lambda: Response({"a": 1}, status=201, headers={"Location": "/somewhere/"}), {"a": 1}),
}
#: Results that cannot be encoded as JSON.
UNENCODABLE: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: {"a": [float("inf")]},
    "nul": lambda: "a\0b",
    "surrogate": lambda: "\ud800",
    "object": object,
    "circle": _circle,
}


@shared_task(base=JobTask, atomic=True)
def odd(kind: str, slug: str = "") -> Any:
    """Write a note if *slug* is given, and return the result of this kind."""
    if slug:
        Note.objects.create(slug=slug, title=slug)
    if kind == "large":
        return "x" * 2_000_000
    return (ODD[kind][0] if kind in ODD else UNENCODABLE[kind])()


@shared_task(base=JobTask, retry_after=9)
def bare(name: str = "gate") -> str:
    """Has its own Retry-After, by an attribute of the task."""
    return name
