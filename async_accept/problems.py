"""Problem documents (RFC 9457): each code has a type, a constant title, and documentation at the type's URI.

A problem that is stored with a job has the ``status`` of the job's result URL: a 4xx. It is never a 5xx, 408, 421, 425
or 429, because clients repeat those requests, and nothing would change; nor 401 or 407, after which they log in again.
"""

from collections.abc import Mapping
from http.client import responses
from operator import index
from typing import Any, NamedTuple
from urllib.parse import quote

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _
from rest_framework import exceptions as drf

from . import encoding
from .conf import DEFAULTS, conf
from .exceptions import (
    NOT_FINAL,
    AcceptRefused,
    JobCanceled,
    JobFailed,
    NotInJob,
    NotKept,
    ResultNotFinal,
    ResultTooLarge,
    Unencodable,
    ViewFailed,
    new_reference,
)

__all__ = [
    "TYPES",
    "Problem",
    "ProblemType",
    "from_exception",
    "is_unexpected",
    "problem",
    "translated",
    "type_of",
]

Problem = dict[str, Any]

#: The members of every problem document, in this order.
MEMBERS = ("type", "title", "status", "detail", "code", "message")
#: If a document is too large, each of its texts is cut to this length.
DETAIL_CHARS = 1_000


class ProblemType(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str
    detail: str


#: Every problem type of this library by its code: HTTP status, title, default detail.
TYPES: dict[str, ProblemType] = {
    # of a job
    "failed": ProblemType(409, _("The job failed"), _("The work ended with an unexpected error.")),
    "lost": ProblemType(
        409, _("The job was lost"), _("The worker stopped, and the work cannot be repeated safely.")
    ),
    "canceled": ProblemType(409, _("The job was canceled"), _("The job was canceled before it ended.")),
    "superseded": ProblemType(
        409, _("A later event came first"), _("A later event of the same object has been worked off already.")
    ),
    "time-limit": ProblemType(409, _("The job took too long"), _("The work exceeded its time limit.")),
    "rejected": ProblemType(409, _("The request was rejected"), _("The work could not be done as asked.")),
    "result-unencodable": ProblemType(
        409, _("The result has no JSON form"), _("The work ended, but its result cannot be written as JSON.")
    ),
    "result-too-large": ProblemType(
        409, _("The result is too large"), _("The work ended, but its result is larger than allowed.")
    ),
    "result-not-final": ProblemType(
        409, _("The result is no answer"), _("The work ended with a status that is no final answer.")
    ),
    # of a request to the job's URLs
    "not-found": ProblemType(404, _("No such job"), _("There is no such job.")),
    "already-ended": ProblemType(409, _("The job has ended"), _("The job has already ended.")),
    "not-ended": ProblemType(409, _("The job has not ended"), _("The job has not ended yet.")),
    "result-expired": ProblemType(
        410, _("The result has expired"), _("The result was kept for a while and is gone.")
    ),
    "input-gone": ProblemType(410, _("The input is gone"), _("The job's input is no longer kept.")),
}

#: The codes of REST framework's errors that the URLs of jobs can answer.
FRAMEWORK_CODES = (
    "authentication-failed",
    "error",
    "invalid",
    "method-not-allowed",
    "not-acceptable",
    "not-authenticated",
    "parse-error",
    "permission-denied",
    "throttled",
    "unknown-format",
    "unsupported-media-type",
)
#: The codes of received events, and of the endpoints of webhooks.
WEBHOOK_CODES = ("event-unreadable", "webhook-not-found", "endpoint-disabled", "endpoint-without-url")
#: Every code that our page of problems documents. All others are the project's own, as are its own refusals.
DOCUMENTED = frozenset(TYPES).union(
    FRAMEWORK_CODES,
    WEBHOOK_CODES,
    (
        str(refusal.default_code)
        for refusal in AcceptRefused.__subclasses__()
        if refusal.__module__ == AcceptRefused.__module__
    ),
)
#: The type of a problem that is documented nowhere (RFC 9457, section 4.2.1).
UNDOCUMENTED = "about:blank"

#: Details that say more than the default of their type.
INVALID = _("The input is not valid.")
LOST_AT_EVERY_ATTEMPT = _("The worker stopped at every attempt.")

#: Those of these sentences that may be stored in a job.
OF_JOBS = (
    *(
        text
        for code in (
            "failed",
            "lost",
            "superseded",
            "time-limit",
            "rejected",
            "result-unencodable",
            "result-too-large",
            "result-not-final",
        )
        for text in TYPES[code][1:]
    ),
    INVALID,
    LOST_AT_EVERY_ATTEMPT,
)
#: All titles and details of this library.
OWN = frozenset(text for known in TYPES.values() for text in known[1:]).union(OF_JOBS)


def translated(text: str) -> str:
    """Return a title or detail in the reader's language, if it is one of this library's; others stay as they are.

    For pages only. The documents stay English, so that a stored document and its ETag are the same for everybody.
    """
    return gettext(text) if text in OWN else text


def problem(
    code: str, detail: str = "", *, status: int | None = None, title: str = "", **members: Any
) -> Problem:
    """Return a problem document for *code*.

    Args:
        code: a key of ``TYPES``, or a code of a task's own.
        detail: one sentence for the client; by default the type's.
        status: by default the type's; 409 for an unknown code.
        title: by default the type's; the phrase of the status if the type is ``about:blank``.
        members: further members of the document.
    """
    known = TYPES.get(code, TYPES["rejected"])
    kind = members.pop("type", None) or type_of(code)
    detail, status = detail or known.detail, status or known.status
    if kind == UNDOCUMENTED:
        title = title or responses.get(status, "")
    return {
        "type": kind,
        "title": title or known.title,
        "status": status,
        "detail": detail,
        "code": code,
        "message": detail,
        **members,
    }


def type_of(code: str) -> str:
    """Return the URI that documents *code*: ours for our codes, the project's for its own, else ``about:blank``."""
    base = conf.PROBLEM_TYPE_BASE
    if code not in DOCUMENTED:
        base = conf.OWN_PROBLEM_TYPE_BASE or (base if base != DEFAULTS["PROBLEM_TYPE_BASE"] else None)
    return UNDOCUMENTED if base is None else f"{base}{quote(code, errors='replace')}"


def from_exception(error: BaseException) -> Problem:
    """Return the problem of a job that ended with *error*.

    A client may read what was raised for clients: a ``JobFailed``, or an HTTP error of Django or REST framework. Any
    other error becomes one fixed sentence and a ``reference``, by which it is found in the log. The document can
    always be stored, whatever the error holds.
    """
    try:
        return _storable(_document_of(error))
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # its own attributes are not what they should be: then it is told as an unknown one
        return problem("failed", reference=new_reference())


def _document_of(error: BaseException) -> Problem:
    match error:
        case JobFailed():
            return _refused(error)
        case ViewFailed():
            return _rejected(error.status, error.data)
        case Http404():
            return _rejected(404, {"detail": drf.NotFound.default_detail})
        case PermissionDenied():
            return _rejected(403, {"detail": drf.PermissionDenied.default_detail})
        case drf.APIException():
            data = error.detail if isinstance(error.detail, list | dict) else {"detail": error.detail}
            return _rejected(error.status_code, data)
        case JobCanceled():
            return problem(error.code)
        case SoftTimeLimitExceeded() | TimeLimitExceeded():
            return problem("time-limit")
        case Unencodable():
            return problem("result-unencodable")
        case ResultTooLarge():
            return problem("result-too-large")
        case NotKept() | NotInJob():
            # A bug of the view or the task, so it is logged; but its text names an attribute, and no value.
            return problem("failed", str(error), reference=new_reference())
        case ResultNotFinal():
            return problem("result-not-final", original_status=error.status)
    return problem("failed", reference=new_reference())


def _refused(error: JobFailed) -> Problem:
    """Return the problem of a task's own words. Its attributes are checked again: they may have been set since."""
    names = ("code", "status", "title", "type", "extra")
    told = JobFailed(error.detail, **{name: getattr(error, name) for name in names})
    own = {"type": told.type} if told.type else {}
    detail = told.detail or TYPES["rejected"].detail
    return problem(told.code, detail, status=told.status, title=told.title, **own, **told.extra)


def _storable(document: Problem) -> Problem:
    """Return *document*, or its standard members alone if it has no JSON form or is too large."""
    try:
        if encoding.size_bytes(encoding.dumps(document)) <= conf.MAX_RESULT_BYTES:
            return document
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: S110 or whatever the code of one of its values does
        pass
    core = {name: document[name] for name in MEMBERS}
    return {
        name: encoding.text(value, DETAIL_CHARS) if isinstance(value, str) else value
        for name, value in core.items()
    }


def is_unexpected(document: Problem) -> bool:
    """Whether *document* stands for an error that clients may not read, so that the log must have it."""
    return "reference" in document


def _rejected(status: int, data: Any) -> Problem:
    """Return the problem for an HTTP error of a view.

    A 4xx keeps its status. After a status that makes clients repeat their request, the problem has 409, and the view's
    status as ``original_status``.
    """
    status = index(status)  # of an APIException it may be anything
    final = 400 <= status < 500 and status not in NOT_FINAL
    detail = str(data["detail"]) if isinstance(data, Mapping) and set(data) == {"detail"} else ""
    members = {} if detail or data is None else {"errors": data}
    if status == 400 and members:
        detail = INVALID
    if not final:
        members["original_status"] = status
    return problem("rejected", detail, status=status if final else 409, **members)
