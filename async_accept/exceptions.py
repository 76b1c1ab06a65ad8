"""Every error that this library raises, with one base class.

Errors that a client gets in place of a 202 also inherit REST framework's ``APIException``, and have an HTTP status.
"""

import logging
import re
from collections.abc import Mapping
from operator import index
from traceback import format_exception
from typing import Any, SupportsIndex
from uuid import UUID, uuid4

from rest_framework.exceptions import APIException

from .redaction import redact_text
from .words import words

__all__ = [
    "AcceptRefused",
    "AsyncAcceptError",
    "AttemptLost",
    "BrokerUnavailable",
    "EventSuperseded",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyMissing",
    "IdempotencyKeyReused",
    "InputGone",
    "InputTooLarge",
    "JobActive",
    "JobCanceled",
    "JobFailed",
    "JobPurged",
    "LengthRequired",
    "NotInJob",
    "NotKept",
    "NotVerified",
    "PreconditionFailed",
    "ResultNotFinal",
    "ResultTooLarge",
    "TooManyJobs",
    "Unavailable",
    "Unencodable",
    "ViewFailed",
    "ViewGone",
    "WorkEnded",
    "WorkFailed",
]

logger = logging.getLogger(__name__)

#: The members of a problem document that a task cannot add as ``extra``.
RESERVED = frozenset({"type", "title", "status", "detail", "code", "message", "reference"})
#: An absolute URI (RFC 3986, section 4.3), with or without a fragment.
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~]+")


def new_reference() -> str:
    """Return a random id that is shown to the client and logged with the traceback."""
    return uuid4().hex[:12]


#: After these statuses, clients repeat the request or log in again. A job never ends with one: nothing would change.
NOT_FINAL = frozenset({401, 407, 408, 421, 425, 429})


class AsyncAcceptError(Exception):
    """Base of every error of this library."""


class Unencodable(AsyncAcceptError, ValueError):
    """A value has no form in strict JSON.

    If it is a task's result, the job fails (problem ``result-unencodable``, HTTP 409).
    """


class ResultNotFinal(AsyncAcceptError, ValueError):
    """The work answered with a status that ends nothing, such as 103 or 304: the job fails (HTTP 409).

    The problem is ``result-not-final``. A job ends with a final answer, and the work got no condition
    that a 304 could answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"The work answered {status}, which is no final answer.")
        self.status = status


class ResultTooLarge(AsyncAcceptError, ValueError):
    """The job fails (problem ``result-too-large``, HTTP 409): its result is JSON above ``MAX_RESULT_BYTES``, or
    anything else above ``MAX_RESULT_FILE_BYTES``.

    Put a large result into a file storage, and return a reference to it.
    """


class NotKept(AsyncAcceptError):
    """A replayed view reads something of its request that is not kept for the worker: the job fails (409).

    ``name`` is what it reads, such as ``tenant`` or ``session``; of a context variable it is the full name. Return what
    the view needs of it in ``get_accept_context()``, and put it back in ``restore_accept_context()``. It is no
    AttributeError, so no default of ``getattr()`` hides it.
    """

    def __init__(self, name: str) -> None:
        what = "messages" if name == "_messages" else name if "." in name else f"request.{name}"
        super().__init__(
            f"The view reads {what}, which is not kept for the worker. Return what it needs in "
            "get_accept_context(request), and put it back in restore_accept_context(request, context)."
        )
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name,)


class NotInJob(AsyncAcceptError, RuntimeError):
    """The task does what a job cannot do, such as ``self.replace()`` or ``raise Ignore``: the job fails (409).

    The text names it, and no value; the log and the problem show it.
    """


class JobCanceled(AsyncAcceptError):
    """Raised by ``checkpoint()`` if the job was asked to stop.

    Catch it to tidy up, then raise it again: the job ends as ``canceled``.
    """

    #: The code of the job's problem.
    code = "canceled"


class EventSuperseded(JobCanceled):
    """A later event of the same object has been worked off: the job ends as ``canceled``, without its work."""

    code = "superseded"


class AttemptLost(AsyncAcceptError):
    """Raised by ``checkpoint()`` if this attempt was declared lost: the job no longer takes anything from it."""


class JobPurged(AsyncAcceptError):
    """A repeated event stands for a job whose row is purged: nothing is to be done again.

    ``job_id`` is the id that the job had.
    """

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"Job {job_id} is purged.")
        self.job_id = job_id


class BrokerUnavailable(AsyncAcceptError):
    """The broker did not take a message in time. The job is stored, and the relay publishes it later."""


class WorkFailed(AsyncAcceptError):
    """Raised to Celery in place of the error that failed a job. It names that error's class, place and reference only.

    So the message of an unknown exception reaches no log line, no event and no other process. In its own process the
    exception is at hand: as ``__cause__`` for what wraps the task's call, such as an error tracker, and as ``error``
    for Celery's ``on_failure`` and ``task_failure``. The log also has its traceback, without messages.
    """

    #: The exception that the work raised; None in any other process.
    error: BaseException | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class WorkEnded(WorkFailed):
    """As ``WorkFailed``, for an end that was intended: by a ``JobFailed``, an HTTP error or a cancel."""


class JobFailed(AsyncAcceptError):
    """Raise it in a task to fail the job with a text for the client.

    A text may be anything that ``str()`` takes, such as a lazy translation, or an exception; the client reads its
    message.

    Args:
        detail: one sentence for the client; by default what is said of ``rejected``.
        code: a stable name for programs, such as ``"card-declined"``.
        status: the HTTP status of the result URL: 4xx, but not 401, 407, 408, 421, 425 or 429, after which clients
            repeat the request or log in again.
        title: a short title, the same for each problem of this code; by default the phrase of *status* if the type is
            ``"about:blank"``.
        type: an absolute URI for this kind of problem, best the one of its documentation (RFC 9457, section 3.1.1); by
            default ``OWN_PROBLEM_TYPE_BASE`` and the code, or ``"about:blank"``.
        extra: further members of the problem document (RFC 9457, section 3.2). It cannot set ``type``, ``title``,
            ``status``, ``detail``, ``code``, ``message`` or ``reference``.

    Raises:
        TypeError: *status* is no whole number, or *extra* is no mapping.
        ValueError: *status* or *type* is none of these, or *extra* names a reserved member.

    Such an error of the call fails the job, as any other bug of the task.
    """

    def __init__(
        self,
        detail: object,
        *,
        code: object = "failed",
        status: int = 409,
        title: object = "",
        type: object = "",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(status, SupportsIndex):
            raise TypeError(f"status is {status!r}; it is a whole number, such as 402.")
        if not (extra is None or isinstance(extra, Mapping)):
            raise TypeError(f"extra is {extra!r}; it is a mapping of names to values.")
        status, type = index(status), words(type)
        members = {words(name): value for name, value in ({} if extra is None else extra).items()}
        if type and not URI.fullmatch(type):
            raise ValueError(
                f"{type!r} is no absolute URI, such as https://shop.example/problems/card-declined."
            )
        if not 400 <= status < 500 or status in NOT_FINAL:
            wrong = ", ".join(map(str, sorted(NOT_FINAL)))
            raise ValueError(
                f"A failed job has a status of 4xx, but not {wrong}: clients would repeat the request."
            )
        if taken := RESERVED & set(members):
            raise ValueError(f"extra cannot set {', '.join(sorted(taken))}.")
        self.detail = words(detail)
        super().__init__(self.detail)
        self.code = words(code) or "failed"
        self.status = status
        self.title = words(title)
        self.type = type
        self.extra = members


class ViewFailed(AsyncAcceptError):
    """A replayed view responded with an error (4xx or 5xx): its status and body become the job's problem.

    Args:
        data: what the error says; None if it is no JSON.
        answer: what the result URL answers (``jobs.results.Result``); None if a problem tells of the error.
    """

    def __init__(self, status: int, data: Any, answer: Any = None) -> None:
        super().__init__(f"The view answered {status}.")
        self.status = status
        self.data = data
        self.answer = answer


class AcceptRefused(AsyncAcceptError, APIException):
    """Base of the errors that an accepting view answers in place of a 202; no job is stored.

    The project's exception handler renders them. ``wait``, in seconds, becomes ``Retry-After``.
    """


class IdempotencyKeyMissing(AcceptRefused):
    """The view requires an ``Idempotency-Key`` (400): send one. The problem's documentation tells how."""

    status_code = 400
    default_code = "idempotency-key-missing"
    default_detail = (
        "This request needs an Idempotency-Key header. "
        "See https://django-async-accept.readthedocs.io/en/stable/problems.html#idempotency-key-missing"
    )


class IdempotencyKeyInvalid(AcceptRefused):
    """The ``Idempotency-Key`` is malformed (400): send 1 to 255 visible ASCII characters."""

    status_code = 400
    default_code = "idempotency-key-invalid"
    default_detail = "The Idempotency-Key must have 1 to 255 visible ASCII characters."


class IdempotencyKeyReused(AcceptRefused):
    """The key came with another payload before (422): use a new key for a new request."""

    status_code = 422
    default_code = "idempotency-key-reused"
    default_detail = "This Idempotency-Key was used with another payload."


class JobActive(AcceptRefused):
    """Such a job is active already (409): follow that job, or repeat the request when it has ended."""

    status_code = 409
    default_code = "already-active"
    default_detail = "Such a job is active already."


class InputGone(AcceptRefused):
    """The job cannot be rerun, because its input is no longer kept (410): send the request again."""

    status_code = 410
    default_code = "input-gone"
    default_detail = "The job's input is no longer kept."


class ViewGone(AcceptRefused):
    """The job cannot be rerun, because its URL leads to no view that accepts (410): nothing decides about it."""

    status_code = 410
    default_code = "view-gone"
    default_detail = "Nothing accepts this request any more."


class InputTooLarge(AcceptRefused):
    """The payload is above the limit (413): send less, or upload a file."""

    status_code = 413
    default_code = "input-too-large"
    default_detail = "The request is larger than allowed."


class NotVerified(AcceptRefused):
    """What a receiver got does not prove that it comes from the sender (401).

    It is the same answer whatever is wrong, so that nobody can try out what is missing: the signature, its time, or the
    form of a header. Check the secret and the clocks of both sides.
    """

    status_code = 401
    default_code = "not-verified"
    default_detail = "The request could not be verified."


class LengthRequired(AcceptRefused):
    """A body without ``Content-Length``, which a WSGI server cannot hand over (411): send it with its length."""

    status_code = 411
    default_code = "length-required"
    default_detail = "The request needs a Content-Length header; a chunked body cannot be read here."


class TooManyJobs(AcceptRefused):
    """Too many jobs are active (429): repeat the request after ``Retry-After`` seconds."""

    status_code = 429
    default_code = "too-many-jobs"
    default_detail = "Too many jobs are active."
    wait = 5


class Unavailable(AcceptRefused):
    """The database is away, or the broker if the view insists on it, or an upload cannot be stored (503).

    Repeat after ``Retry-After`` seconds.
    """

    status_code = 503
    default_code = "unavailable"
    default_detail = "The service is not available at the moment."
    wait = 5
    #: The id by which the error is found in the log; None if nothing was logged.
    reference: str | None = None

    @classmethod
    def because(cls, error: Exception) -> "Unavailable":
        """Log the error of a database or a storage, and return the refusal that names it by its reference only.

        The traceback is logged as text, without the passwords that a driver's message may repeat.
        """
        refusal = cls()
        refusal.reference = new_reference()
        refusal.__cause__ = error
        traceback = redact_text("".join(format_exception(error)))
        logger.error(
            "The database or the storage failed: a request is refused with 503 (reference %s)\n%s",
            refusal.reference,
            traceback,
        )
        return refusal


class PreconditionFailed(AcceptRefused):
    """``If-Match`` names an older version (412): fetch the object again, then decide."""

    status_code = 412
    default_code = "precondition-failed"
    default_detail = "It has changed since you have seen it."
