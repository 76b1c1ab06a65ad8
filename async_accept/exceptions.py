"""Everything this library raises, under one base.

What can reach a client also inherits the REST framework's class for its HTTP status.
"""

import logging
import re
from collections.abc import Mapping
from traceback import format_exception
from typing import Any
from uuid import uuid4

from rest_framework.exceptions import APIException

from .redaction import redact_text

__all__ = [
    "AcceptRefused",
    "AsyncAcceptError",
    "AttemptLost",
    "BrokerUnavailable",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyMissing",
    "IdempotencyKeyReused",
    "InputGone",
    "InputTooLarge",
    "JobActive",
    "JobCanceled",
    "JobFailed",
    "LengthRequired",
    "PreconditionFailed",
    "ResultTooLarge",
    "TooManyJobs",
    "Unavailable",
    "Unencodable",
    "ViewFailed",
    "WorkEnded",
    "WorkFailed",
]

logger = logging.getLogger(__name__)

#: The members of a problem document that are not a task's to add.
RESERVED = frozenset({"type", "title", "status", "detail", "code", "message", "reference"})
#: An absolute URI (RFC 3986, section 4.3), with a fragment where there is one.
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~]+")


def new_reference() -> str:
    """Return what a client may be told of an error whose story stays in the log, so that it is found there."""
    return uuid4().hex[:12]


#: After these, clients repeat a request, or log in anew: no job ends with one, because nothing would change.
NOT_FINAL = frozenset({401, 407, 408, 421, 425, 429})


class AsyncAcceptError(Exception):
    """Base of every error of this library."""


class Unencodable(AsyncAcceptError, ValueError):
    """A value that strict JSON cannot say.

    As a task's result it ends the job as failed (problem ``result-unencodable``, HTTP 409).
    """


class ResultTooLarge(AsyncAcceptError, ValueError):
    """A result above ``MAX_RESULT_BYTES``: the job fails (problem ``result-too-large``, HTTP 409).

    Put large results into a file storage and return a reference to it.
    """


class JobCanceled(AsyncAcceptError):
    """Raised by ``checkpoint()`` in a job that was asked to stop.

    Catch it to tidy up, then raise it again: the job ends as ``canceled``.
    """


class AttemptLost(AsyncAcceptError):
    """Raised by ``checkpoint()`` where this attempt was given up for lost: nothing it does counts any more."""


class BrokerUnavailable(AsyncAcceptError):
    """The broker did not take a message in time; the job waits in its row."""


class WorkFailed(AsyncAcceptError):
    """What Celery is told of a job that failed: the kind of its error and a reference, never its message.

    So the message of an unknown exception reaches no log line, no event and no other process. Where it was raised it is
    at hand: ``__cause__`` for what wraps the task's call, such as an error tracker; ``error`` for Celery's
    ``on_failure`` and ``task_failure``.
    """

    #: The exception that the work raised; None in any other process.
    error: BaseException | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class WorkEnded(WorkFailed):
    """As ``WorkFailed``, for an end that the work or its owner wanted: ``JobFailed``, an HTTP error, a cancellation."""


class JobFailed(AsyncAcceptError):
    """Raise it in a task to fail the job with words that a client may read.

    Args:
        detail: one sentence for the client.
        code: a stable name for programs, such as ``"card-declined"``.
        status: the status that the result URL answers: 4xx, but not 401, 407, 408, 421, 425 or 429, after which clients
            repeat the request or log in anew.
        title: a short title, constant for the code.
        type: the URI that names the kind of problem, best one where it is documented (RFC 9457, section 3.1.1); by
            default the code, below ``PROBLEM_TYPE_BASE``.
        extra: further members of the problem document (RFC 9457, section 3.2); not its own six, and not ``reference``,
            by which the log is searched for what nobody expected.

    Raises:
        ValueError: another status, a *type* that is no absolute URI, or *extra* names a reserved member.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str = "failed",
        status: int = 409,
        title: str = "",
        type: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if type and not URI.fullmatch(type):
            raise ValueError(
                f"{type!r} is no absolute URI, such as https://shop.example/problems/card-declined."
            )
        if not 400 <= status < 500 or status in NOT_FINAL:
            wrong = ", ".join(map(str, sorted(NOT_FINAL)))
            raise ValueError(
                f"A failed job answers 4xx, but none of {wrong}: clients would repeat the request."
            )
        if taken := RESERVED & set(extra or {}):
            raise ValueError(f"extra cannot set {', '.join(sorted(taken))}.")
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.title = title
        self.type = type
        self.extra = dict(extra or {})


class ViewFailed(AsyncAcceptError):
    """A replayed view answered with an error: its status and body become the job's problem."""

    def __init__(self, status: int, data: Any) -> None:
        super().__init__(f"The view answered {status}.")
        self.status = status
        self.data = data


class AcceptRefused(AsyncAcceptError, APIException):
    """Base of what an accepting view answers instead of a 202; nothing is stored.

    The view's own exception handler gives it its form. ``wait`` becomes ``Retry-After``.
    """


class IdempotencyKeyMissing(AcceptRefused):
    """The view requires an ``Idempotency-Key`` (400): send one, see the documentation of the problem."""

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
    """Such a job is active already (409): follow that one, or come back when it has ended."""

    status_code = 409
    default_code = "already-active"
    default_detail = "Such a job is active already."


class InputGone(AcceptRefused):
    """The job cannot be run again, because its input is no longer kept (410): send the request anew."""

    status_code = 410
    default_code = "input-gone"
    default_detail = "The job's input is no longer kept."


class InputTooLarge(AcceptRefused):
    """The payload is above the limit (413): send less, or upload a file."""

    status_code = 413
    default_code = "input-too-large"
    default_detail = "The request is larger than allowed."


class LengthRequired(AcceptRefused):
    """A body without ``Content-Length``, which a WSGI server cannot hand over (411): send it with its length."""

    status_code = 411
    default_code = "length-required"
    default_detail = "The request needs a Content-Length header; a chunked body cannot be read here."


class TooManyJobs(AcceptRefused):
    """Too many jobs are open (429): come back after ``Retry-After`` seconds."""

    status_code = 429
    default_code = "too-many-jobs"
    default_detail = "Too many jobs are open."
    wait = 5


class Unavailable(AcceptRefused):
    """The database, or a broker that the view insists on, is away (503): come back after ``Retry-After`` seconds."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "The service is not available at the moment."
    wait = 5
    #: What is found in the log; None where there is nothing to be told.
    reference: str | None = None

    @classmethod
    def because(cls, error: Exception) -> "Unavailable":
        """Return the refusal for a database that failed; what failed is for the log, not for the client.

        The log gets the traceback as text, without the passwords that a driver's message may repeat.
        """
        refusal = cls()
        refusal.reference = new_reference()
        refusal.__cause__ = error
        story = redact_text("".join(format_exception(error)))
        what = "The database failed, and a request is answered 503 (reference %s)\n%s"
        logger.error(what, refusal.reference, story)
        return refusal


class PreconditionFailed(AcceptRefused):
    """``If-Match`` names an older version (412): fetch it again, then decide."""

    status_code = 412
    default_code = "precondition-failed"
    default_detail = "It has changed since you have seen it."
