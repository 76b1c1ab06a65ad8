"""Tasks of the contract tests: one that stands still until it may go on, and some that answer oddly."""

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

#: More than any sound test needs; a test that forgot its gate ends all the same.
SECONDS = 60

_gates: dict[str, threading.Event] = {}
_lock = threading.Lock()


def gate(name: str) -> threading.Event:
    """Return the gate of that name; it is closed at first."""
    with _lock:
        return _gates.setdefault(name, threading.Event())


#: Set at the end of a test: whoever comes now finds every gate open.
everywhere = threading.Event()


def close_all() -> None:
    """Forget the gates of the test before."""
    with _lock:
        _gates.clear()
    everywhere.clear()


@shared_task(base=JobTask)
def stand(name: str = "gate", refuse: bool = False, **more: Any) -> dict[str, Any]:
    """Wait at the gate, ready to be canceled; report when there."""
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


#: Results that have a JSON form, and what a client reads.
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
#: Results that have none.
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
    """Leave a note, and return what JSON may not be able to say."""
    if slug:
        Note.objects.create(slug=slug, title=slug)
    if kind == "large":
        return "x" * 2_000_000
    return (ODD[kind][0] if kind in ODD else UNENCODABLE[kind])()


@shared_task(base=JobTask, retry_after=9)
def bare(name: str = "gate") -> str:
    """Say how often a client should ask, by its own attribute."""
    return name
