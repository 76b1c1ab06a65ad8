"""One line in the log for each transition of a job, after its commit, with its facts as fields of the record.

A line has nothing of what the client sent or gets. No statement is made for it: what the instance does not know,
because it was loaded without these columns, is left out.
"""

import logging
import re
from typing import Any

from django.dispatch import Signal

from .. import signals
from ..models import Job
from ..states import State

__all__ = ["connect", "was_lost"]

logger = logging.getLogger(__name__)

#: The state that a signal tells of. Several may be sent at one commit, so ``job.state`` may be a later one.
AFTER: dict[Signal, State] = {
    signals.job_accepted: State.ACCEPTED,
    signals.job_started: State.RUNNING,
    signals.job_given_back: State.ACCEPTED,
    signals.job_canceling: State.CANCELING,
    signals.job_succeeded: State.SUCCEEDED,
    signals.job_failed: State.FAILED,
    signals.job_canceled: State.CANCELED,
}
#: An id of a request is the client's word: it is logged only if it looks like one.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
#: The trace id of a ``traceparent`` (https://www.w3.org/TR/trace-context/#traceparent-header).
TRACE_ID = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")


def connect() -> None:
    """Log the transitions of this process from now on."""
    for signal in AFTER:
        signal.connect(_log, sender=Job, dispatch_uid="async_accept.transitions")


def _log(signal: Signal, job: Job, before: str | None, **kwargs: Any) -> None:
    after = AFTER[signal]
    if before == after or not logger.isEnabledFor(logging.INFO):
        return
    known = vars(job)  # a deferred column would cost a statement
    fields = {
        "job_id": str(job.pk),
        "operation": known.get("operation"),
        "attempt": known.get("attempt"),
        "request_id": _request_id(known.get("request")),
        "state_from": None if before is None else str(before),
        "state_to": str(after),
        "reason": _reason(signal, job),
    }
    logger.info(
        "Job %(job_id)s (%(operation)s): %(state_from)s -> %(state_to)s, attempt %(attempt)s",
        fields,
        extra=fields,
    )


def _request_id(request: Any) -> str | None:
    """Return the id of the request that was accepted: its ``X-Request-ID``, or the id of its trace."""
    meta = request.get("meta") if isinstance(request, dict) else None
    if not isinstance(meta, dict):
        return None
    named = str(meta.get("HTTP_X_REQUEST_ID", ""))
    if REQUEST_ID.fullmatch(named):
        return named
    traced = TRACE_ID.match(str(meta.get("HTTP_TRACEPARENT", "")))
    return traced and traced[1]


def _reason(signal: Signal, job: Job) -> str | None:
    """Return why: ``lost``, ``retry``, or the code of the problem."""
    if signal is signals.job_given_back:
        return "lost" if was_lost(signal, job) else "retry"
    return _problem_code(job) if signal in (signals.job_failed, signals.job_canceled) else None


def _problem_code(job: Job) -> str | None:
    code = (vars(job).get("problem") or {}).get("code")
    return None if code is None else str(code)


def was_lost(signal: Signal, job: Job) -> bool:
    """Tell whether the attempt that *signal* tells of was lost with its worker or its database."""
    if signal is signals.job_given_back:
        return bool(job.history) and not str(job.history[-1]["reason"]).startswith("retry")
    return signal is signals.job_failed and _problem_code(job) == "lost"
