"""``If-None-Match`` on the status monitor: 304 if the client has the document, and without a query if possible.

The cache of 304s holds what this process sent a moment ago. A worker writes progress once a ``HEARTBEAT``. So a poll
that comes within one heartbeat after the last look at the row would learn nothing from another look. The price: a 304
may be one heartbeat behind a change that came another way than by a request to this process that cancels, reruns or
deletes the job: from another process, or from code of the project's that calls ``job.cancel()``.
"""

from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from ..conf import conf
from ..models import Job
from ..querysets import acting
from .conditional import is_unchanged
from .monitor import etag, monitor, monitor_headers, representation

__all__ = [
    "Moment",
    "NotModifiedCache",
    "document_or_304",
    "has_older_document",
    "not_modified",
    "remembered_304",
]

#: How many documents one process remembers.
SIZE = 4096


class Moment(NamedTuple):
    """A moment before a row is read."""

    #: How many changes of jobs this process had answered by then.
    changes: int
    #: Seconds of the clock.
    at: float


class Sent(NamedTuple):
    """A status document that was sent."""

    #: The headers of a 304 for it; ``ETag`` is among them.
    headers: dict[str, str]
    owner_id: Any
    anonymous: bool
    #: When its row was read, in seconds of the clock.
    at: float

    def is_for(self, user: Any) -> bool:
        pk = acting(user)
        return self.anonymous or (pk is not None and pk == self.owner_id)


class NotModifiedCache:
    """The status documents that this process sent last.

    Args:
        clock: returns monotonic seconds; tests replace it.
    """

    def __init__(self, clock: Any = monotonic) -> None:
        self.clock = clock
        self.sent: OrderedDict[tuple[UUID, str], Sent] = OrderedDict()
        self.lock = Lock()
        self.changes = 0

    def now(self) -> Moment:
        """Return this moment; ``remember()`` wants one from before the row was read."""
        return Moment(self.changes, self.clock())

    def remember(self, job: Job, representation: str, headers: dict[str, str], since: Moment) -> None:
        """Keep what was sent, unless this process has changed a job since the row was read.

        Args:
            representation: the job has one document for each, see ``monitor.representation()``.
            headers: the headers of a 304, with ``ETag``.
            since: a moment before the row was read.
        """
        key = job.pk, representation
        with self.lock:
            if since.changes != self.changes:
                return
            self.sent[key] = Sent(headers, job.owner_id, job.anonymous, since.at)
            self.sent.move_to_end(key)
            while len(self.sent) > SIZE:
                self.sent.popitem(last=False)

    def recall(self, pk: UUID, representation: str | None, user: Any) -> dict[str, str] | None:
        """Return the headers of a 304 if the row was read less than one heartbeat ago, for its owner only.

        Args:
            representation: None for a page, of which none is kept.
        """
        sent = None if representation is None else self.sent.get((pk, representation))
        if sent is None or self.clock() - sent.at >= conf.HEARTBEAT.total_seconds():
            return None
        return sent.headers if sent.is_for(user) else None

    def forget(self, pk: UUID) -> None:
        """Drop what was sent of a job. Call it after the commit that changed the job."""
        with self.lock:
            self.changes += 1
            for key in [key for key in self.sent if key[0] == pk]:
                del self.sent[key]


#: The cache of this process.
not_modified = NotModifiedCache()


def remembered_304(request: Request, pk: UUID) -> Response | None:
    """Return a 304 from memory if the client has what this process sent a moment ago; no query."""
    header = request.META.get("HTTP_IF_NONE_MATCH")
    headers = not_modified.recall(pk, representation(request), request.user) if header else None
    is_known = headers is not None and is_unchanged(header, headers["ETag"])
    return Response(status=304, headers=headers) if is_known else None


def document_or_304(job: Job, request: Request, since: Moment) -> Response:
    """Return the status document of *job*, or a 304 if the client has it already; remember it for the next poll.

    A page has no entity tag, and is always sent.

    Args:
        since: a moment before the row was read.
    """
    shown = representation(request)
    headers = monitor_headers(job, shown)
    if shown is not None:
        not_modified.remember(job, shown, headers, since)
        if is_unchanged(request.META.get("HTTP_IF_NONE_MATCH"), headers["ETag"]):
            return Response(status=304, headers=headers)
    return monitor(job, request, headers=headers)


def has_older_document(request: Request, job: Job) -> bool:
    """Tell whether ``If-None-Match`` shows that the client has another document than the present one."""
    header = request.META.get("HTTP_IF_NONE_MATCH")
    return bool(header) and not is_unchanged(header, etag(job, representation(request) or "page"))
