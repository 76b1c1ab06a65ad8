"""What is to be told, and to whom: rows that commit together with the end of a job, and the bodies that they send."""

import logging
from contextlib import nullcontext, suppress
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import router, transaction
from django.db.models import Case, OuterRef, Subquery, When
from django_celery_results.models import TaskResult
from rest_framework.request import Request

from .. import __version__, encoding
from ..conf import conf
from ..db.errors import is_passing
from ..db.functions import DatabaseNow, from_now
from ..db.transactions import after_commit
from ..http.monitor import rfc3339, status_document
from ..jobs import results
from ..jobs.circumstances import circumstances
from ..models import Job, database, database_now
from ..states import State
from . import guard
from .models import Callback, Delivery, Endpoint
from .publishing import publish_new
from .states import OPEN, TRIED, DeliveryState

__all__ = ["PING", "TELLS_START", "body_of", "number", "ping", "tell_of_end", "tell_of_start"]

logger = logging.getLogger(__name__)

PING = "ping"
#: In ``Job.request``: the request has named a callback for the start. All other jobs start without a query for this.
TELLS_START = "tells_start"
#: The column of a callback that is told of a state.
COLUMN_OF = {State.RUNNING: "progress_url", State.SUCCEEDED: "success_url"}
#: A result that is larger is left out, and the notice says so.
MAX_RESULT_BYTES = 100_000
#: How many deliveries get their numbers in one transaction.
NUMBERED = 500
#: How long the row of a dropped delivery is kept: it has its number soon.
DROPPED_LIFETIME = timedelta(hours=1)


# --- At the end of a job ---------------------------------------------------------------------------------------


def tell_of_end(job: Job, **kwargs: Any) -> None:
    """Store a delivery for each endpoint that wants to know of this end, in the transaction that ends the job.

    One SELECT; and one INSERT if there is somebody to tell. The jobs of anonymous callers cost nothing.

    Whatever is wrong with these tables or rows keeps no job from its end: then nobody is told, and that is logged.

    Raises:
        django.db.Error: it passes by itself, so the end is stored again, with its notices.
        SoftTimeLimitExceeded: the work has met its limit just now.
    """
    if job.owner_id is None:
        return
    try:
        with transaction.atomic(
            using=database()
        ):  # a savepoint: after an error, PostgreSQL takes nothing else
            _tell(job)
    except Exception as error:
        if is_passing(error, own=True) or isinstance(error, SoftTimeLimitExceeded):
            raise
        kind = type(error).__name__  # not its message, which may hold anybody's data
        logger.error("Nobody is told of the end of job %s: %s", job.pk, kind, extra={"job_id": str(job.pk)})


def tell_of_start(job: Job, **kwargs: Any) -> None:
    """Store a delivery for the callback that the request has named for the start; once, at the first attempt.

    After the claim, not together with it: if the worker dies in between, the callback is told of the end only.
    """
    if job.owner_id is not None and job.attempt == 1 and (job.request or {}).get(TELLS_START):
        # Not its state of now: in eager mode it may have ended before the commit.
        endpoints = _endpoints(job, State.RUNNING)
        store([_told(endpoint, job, State.RUNNING) for endpoint in endpoints if endpoint.callback])


def _tell(job: Job) -> None:
    state = State(job.state)
    store([_told(endpoint, job, state) for endpoint in _endpoints(job, state) if _wants(endpoint, job)])


def _told(endpoint: Any, job: Job, state: State) -> Delivery:
    is_full = bool(endpoint.overflow)
    return _delivery(endpoint, f"job.{state}", job.pk, endpoint.callback or "", is_full=is_full)


def _endpoints(job: Job, state: State) -> Any:
    """The endpoints of the owner, with the job's callback for *state*, and ``overflow`` if too many deliveries wait."""
    column = COLUMN_OF.get(state, "failed_url")
    named = Callback.objects.filter(job_id=job.pk, endpoint=OuterRef("pk"))
    most = conf.WEBHOOK_MAX_WAITING
    waiting = Delivery.objects.filter(endpoint=OuterRef("pk")).order_by().values("pk")
    # What was held back waits for nobody once the endpoint is enabled again: it must not stop what comes now.
    overflow = Case(
        When(disabled_at=None, then=Subquery(waiting.filter(state__in=TRIED)[most - 1 : most])),
        default=Subquery(waiting.filter(state__in=OPEN)[most - 1 : most]),
    )
    columns = ("id", "url", "operations", "states", "disabled_at")
    rows = Endpoint.objects.alive().filter(owner=job.owner_id).order_by().only(*columns)
    return rows.annotate(
        callback=Subquery(named.values(column)[:1]),
        overflow=overflow,
    )


def _wants(endpoint: Any, job: Job) -> bool:
    if not endpoint.url:  # it only signs callbacks
        return bool(endpoint.callback)
    return (not endpoint.operations or job.operation in endpoint.operations) and (
        not endpoint.states or job.state in endpoint.states
    )


def ping(endpoint: Endpoint) -> Delivery:
    """Store a notice that only tests the way, and return it."""
    delivery = _delivery(endpoint, PING, None)
    store([delivery])
    return delivery


def _delivery(
    endpoint: Endpoint, event: str, job_id: UUID | None, url: str = "", *, is_full: bool = False
) -> Delivery:
    now = database_now()
    delivery = Delivery(
        endpoint=endpoint,
        url=url,
        host=guard.host_of(url or endpoint.url),
        job_id=job_id,
        event=event,
        created_at=now,
        sweep_at=now + (DROPPED_LIFETIME if is_full else conf.JOB_LIFETIME),
    )
    if is_full:
        delivery.state = DeliveryState.DROPPED
    elif endpoint.disabled_at is not None:
        delivery.state = DeliveryState.HELD
    else:
        delivery.try_at = DatabaseNow()  # by the database's clock
        delivery.publish_at = from_now(conf.REPUBLISH_AFTER)
    return delivery


def store(deliveries: list[Delivery]) -> None:
    """Insert *deliveries* by one statement, and publish those that wait after the commit."""
    if not deliveries:
        return
    using = router.db_for_write(Delivery)
    Delivery.objects.using(using).bulk_create(deliveries)
    waiting = [row.pk for row in deliveries if row.state == DeliveryState.WAITING]
    if waiting:
        after_commit(publish_new, waiting, using=using)


# --- At the first attempt --------------------------------------------------------------------------------------


def number(endpoint_id: UUID) -> int:
    """Number the deliveries of an endpoint that have none, as they were stored; return how many got one.

    Not at the end of a job: that would have to lock the endpoint's row, and all jobs of one owner would end one by one.
    """
    using = router.db_for_write(Delivery)
    with transaction.atomic(using=using):
        last = Endpoint.objects.select_for_update().filter(pk=endpoint_id).values_list("sequence", flat=True)
        found = next(iter(last), None)
        if found is None:
            return 0
        rows = list(
            Delivery.objects.filter(endpoint=endpoint_id, sequence=None).order_by("id").only("id")[:NUMBERED]
        )
        for row in rows:
            found += 1
            row.sequence = found
        Delivery.objects.using(using).bulk_update(rows, ["sequence"])
        Endpoint.objects.filter(pk=endpoint_id).update(sequence=found)
    return len(rows)


def body_of(delivery: Delivery) -> str:
    """Return what *delivery* sends; made at its first attempt, and the same at each further one."""
    while delivery.sequence is None:
        numbered = number(delivery.endpoint_id)
        delivery.sequence = Delivery.objects.values_list("sequence", flat=True).get(pk=delivery.pk)
        if delivery.sequence is None and not numbered:
            raise Endpoint.DoesNotExist
    if delivery.body is None:
        document = {
            "type": delivery.event,
            "timestamp": rfc3339(delivery.created_at),
            "sequence": delivery.sequence,
            "data": _data(delivery),
        }
        delivery.body = encoding.dumps(document)
        Delivery.objects.filter(pk=delivery.pk).update(body=delivery.body)
    return delivery.body


def _data(delivery: Delivery) -> dict[str, Any]:
    if delivery.job_id is None:
        return {"library": f"django-async-accept/{__version__}"}
    rows = Job.objects.light().defer(None).defer("input", "history", "log")
    job = rows.filter(pk=delivery.job_id).first()
    if job is None:  # its owner has deleted it since
        return {"id": str(delivery.job_id), "status": delivery.event.rpartition(".")[2]}
    data = _document(job)
    if delivery.endpoint.include_result and job.state == State.SUCCEEDED:
        data |= _result(job)
    return data


def _document(job: Job) -> dict[str, Any]:
    """Return the status document, with the URLs that the 202 had; without the request they begin with a slash."""
    stored = job.request
    with circumstances(stored) if stored else nullcontext():
        if stored:
            with suppress(DisallowedHost):  # the project has moved to another host
                return status_document(job, _request(stored))
        return status_document(job, None)


def _request(stored: dict[str, Any]) -> Request:
    environ = {
        **stored["meta"],
        "REQUEST_METHOD": "GET",
        "wsgi.url_scheme": stored["scheme"],
        "wsgi.input": BytesIO(),
    }
    return Request(WSGIRequest(environ))


def _result(job: Job) -> dict[str, Any]:
    """Return the result as a member of the notice, or why it is not in it."""
    try:
        result = None if job.is_expired else results.load(job)
    except TaskResult.DoesNotExist:
        result = None
    if result is None:
        return {"result_omitted": "expired"}
    body = result.body
    if body is None:
        return {"result": None}
    if not isinstance(body, str):
        if not isinstance(body, bytes):
            body.close()
        return {"result_omitted": "not-json"}
    if encoding.size_bytes(body) > MAX_RESULT_BYTES:
        return {"result_omitted": "too-large"}
    return {"result": encoding.loads(body)}
