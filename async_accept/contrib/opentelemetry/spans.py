"""The spans of a job's steps, as OpenTelemetry's conventions for messaging name them.

They tell what, where and how it ended, and nothing of what a job was given or has returned: no payload, no message of
an exception. See https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import time_ns
from typing import Any, TypeVar

from celery.exceptions import Retry
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from ... import __version__
from ...exceptions import JobCanceled
from ...jobs.publish import Waiting, queue_of
from ...models import Job
from ...states import State
from ...steps import Step, surround
from ...worker.errors import Failure
from .context import Place, creation_of, headers_of, is_instrumented

__all__ = ["connect"]

T = TypeVar("T")

# Not bound to a provider: the project sets one up later, in each process after its fork.
tracer = trace.get_tracer("async_accept", __version__, schema_url="https://opentelemetry.io/schemas/1.40.0")

#: What a step is for the conventions: the type of its operation, and the kind of its span.
KINDS = {
    Step.ACCEPT: ("create", SpanKind.PRODUCER),
    Step.PUBLISH: ("send", SpanKind.CLIENT),
    Step.CLAIM: ("receive", SpanKind.CLIENT),
    Step.WORK: ("process", SpanKind.CONSUMER),
    Step.FINISH: ("settle", SpanKind.CLIENT),
}

#: The columns that spans tell of.
TOLD = {"attempt", "message_options", "operation", "queue", "worker"}


def connect() -> None:
    """Let spans surround every step in this process."""
    surround(around)


def around(step: Step, subject: Any, do: Callable[[], Any]) -> Any:
    return STEPS[step](subject, do)


# --- The steps ----------------------------------------------------------------------------------------------------


def accept(job: Job, do: Callable[[], Job]) -> Job:
    """A rerun has the context of the first job already, and keeps it."""
    place = Place(None)
    creation = creation_of(job.message_options)
    links = [] if creation is None else [Link(creation)]
    queue = queue_of(job.task, job.message_options)
    with _span(Step.ACCEPT, place, links, queue, _told(job)) as span:
        if creation is None and (headers := headers_of(span)):
            options = job.message_options or {}
            job.message_options = {**options, "headers": {**options.get("headers", {}), **headers}}
        stored = do()
        if stored is not job and (earlier := creation_of(stored.message_options)):
            span.set_attribute("messaging.message.id", str(stored.pk))
            span.add_link(earlier)
        return stored


def publish(job: Waiting, do: Callable[[], T]) -> T:
    """In the context of this job: the others of its chunk have contexts of their own."""
    place = Place(job.options)
    if is_instrumented("celery"):
        with place.attached():
            return do()
    about = {"messaging.message.id": str(job.pk)}
    with _span(Step.PUBLISH, place, place.links, queue_of(job.task, job.options), about):
        return do()


def move(step: Step, job: Job, do: Callable[[], bool]) -> bool:
    """A claim or an end. If it comes too late, it leaves no span."""
    if job.get_deferred_fields() & TOLD:  # a row that cannot be read; to ask for more would be a query, too
        return do()
    place = Place(job.message_options)
    began = time_ns()
    with place.attached():
        moved = do()
    if moved:
        name, kind, about = _described(step, job.queue)
        about |= _told(job) | {"async_accept.state": str(job.state)}
        span = tracer.start_span(name, place.context, kind, about, place.links, began)
        if job.state == State.FAILED:
            _fail(span, str((job.problem or {}).get("code") or "failed"))
        span.end()
    return moved


def work(job: Job, do: Callable[[], T]) -> T:
    place = Place(job.message_options)
    here = trace.get_current_span()
    if is_instrumented("celery") and here.get_span_context().is_valid:
        here.set_attributes(_told(job))
        if place.creation is not None:
            here.add_link(place.creation)
        return do()
    with _span(Step.WORK, place, place.links, job.queue, _told(job)):
        return do()


def claim(job: Job, do: Callable[[], bool]) -> bool:
    return move(Step.CLAIM, job, do)


def finish(job: Job, do: Callable[[], bool]) -> bool:
    return move(Step.FINISH, job, do)


def deliver(sending: tuple[Any, dict[str, str]], do: Callable[[], Any]) -> Any:
    """A request by HTTP, so it is named as such; the receiver gets ``traceparent``."""
    delivery, headers = sending
    place = Place(_options_of(delivery.job_id))
    if place.creation is None:
        return do()
    if is_instrumented("requests"):
        with place.attached():
            return do()
    about = {
        "http.request.method": "POST",
        "server.address": delivery.host,
        "messaging.message.id": str(delivery.job_id),
    }
    with tracer.start_as_current_span(
        "POST", place.context, SpanKind.CLIENT, about, place.links, record_exception=False
    ) as span:
        headers |= {"traceparent": headers_of(span)["traceparent"]}  # tracestate is nobody else's business
        answer = do()
        if answer.status is not None:
            span.set_attribute("http.response.status_code", answer.status)
        if not answer.delivered:
            _fail(span, answer.outcome)
        return answer


def _options_of(job_id: Any) -> Any:
    """Return how the messages of a job are sent; None if the row is gone, or holds what is no JSON."""
    rows = Job.objects.filter(pk=job_id).values_list("message_options", flat=True)
    with suppress(ValueError):
        return rows.first()
    return None


STEPS: dict[Step, Callable[[Any, Any], Any]] = {
    Step.ACCEPT: accept,
    Step.PUBLISH: publish,
    Step.CLAIM: claim,
    Step.WORK: work,
    Step.FINISH: finish,
    Step.DELIVER: deliver,
}


# --- Their spans --------------------------------------------------------------------------------------------------


@contextmanager
def _span(
    step: Step, place: Place, links: list[Link], queue: str | None, about: dict[str, Any]
) -> Iterator[Span]:
    name, kind, described = _described(step, queue)
    with tracer.start_as_current_span(
        name,
        place.context,
        kind,
        described | about,
        links,
        record_exception=False,  # its message may hold anybody's data
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            if not isinstance(error, Retry | JobCanceled):
                raised = error.error if isinstance(error, Failure) else error
                _fail(span, type(raised).__qualname__)
            raise


def _described(step: Step, queue: str | None) -> tuple[str, SpanKind, dict[str, Any]]:
    """Return the name of a step's span, its kind, and the attributes that the conventions require."""
    operation, kind = KINDS[step]
    about = {
        "messaging.system": "celery",
        "messaging.operation.name": str(step),
        "messaging.operation.type": operation,
    }
    if queue:
        about["messaging.destination.name"] = queue
    return f"{step} {queue}" if queue else str(step), kind, about


def _told(job: Job) -> dict[str, Any]:
    """Return the attributes that tell of *job*."""
    about: dict[str, Any] = {"messaging.message.id": str(job.pk), "async_accept.operation": job.operation}
    if job.attempt:
        about["async_accept.attempt"] = job.attempt
    if job.worker:
        about["messaging.client.id"] = job.worker
    return about


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
