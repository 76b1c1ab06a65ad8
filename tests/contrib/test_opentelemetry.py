"""One trace for each job, from the request that accepts it to its end."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from celery import shared_task
from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from kombu import Producer
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import async_accept
from async_accept import steps
from async_accept.contrib.opentelemetry import apps as otel_apps
from async_accept.jobs.accept import accept, rerun
from async_accept.jobs.publish import run_here
from async_accept.jobs.relay import Relay
from async_accept.models import Job
from async_accept.tasks import JobTask
from tests.testapp import tasks

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "4111-1111-1111-1111"


@pytest.fixture(scope="session")
def exporter():
    """The process's one provider; it cannot be replaced."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


@pytest.fixture(autouse=True)
def _traced(exporter):
    exporter.clear()
    AppConfig.create("async_accept.contrib.opentelemetry").ready()
    yield
    steps.surround(None)


@pytest.fixture
def found(exporter):
    """All spans that have ended, by name and in their order."""
    return lambda: [(span.name, span) for span in exporter.get_finished_spans()]


@pytest.fixture
def messages(monkeypatch):
    """The headers of the messages that are sent."""
    sent = []
    monkeypatch.setattr(Producer, "publish", lambda *args, headers, **kwargs: sent.append(headers))
    return sent


@pytest.fixture
def instrumented():
    CeleryInstrumentor().instrument()
    yield
    CeleryInstrumentor().uninstrument()


def make(task=tasks.add, **given):
    given.setdefault("input", {"x": 1, "y": 2})
    return Job(operation="sums.create", task=task.name, **given)


def in_a_request(do):
    with trace.get_tracer("tests").start_as_current_span("POST") as span:
        return do(), span.get_span_context()


def due(job):
    Job.objects.filter(pk=job.pk).update(dispatch_at=timezone.now() - timedelta(seconds=1))


def names(spans):
    return [name for name, _ in spans]


# --- One trace ------------------------------------------------------------------------------------------------


def test_the_trace_leads_from_the_request_into_the_attempt(found, messages):
    job, request = in_a_request(lambda: accept(make()))
    run_here(job)
    ended = dict(found())
    assert names(found()) == ["publish celery", "accept celery", "POST", "claim", "work", "finish"]
    assert {span.context.trace_id for span in ended.values()} == {request.trace_id}
    creation = ended["accept celery"].context
    assert ended["accept celery"].parent.span_id == request.span_id
    for name in ("publish celery", "claim", "work", "finish"):
        assert ended[name].parent.span_id == creation.span_id
        assert creation.span_id in {link.context.span_id for link in ended[name].links}
    assert messages[0]["traceparent"] == job.message_options["headers"]["traceparent"]
    assert f"{creation.span_id:016x}" in messages[0]["traceparent"]


def test_spans_are_as_the_conventions_say(found, messages):
    job = accept(make())
    run_here(job)
    ended = dict(found())
    kinds = {
        name.split()[0]: (span.attributes["messaging.operation.type"], span.kind) for name, span in found()
    }
    assert kinds == {
        "accept": ("create", SpanKind.PRODUCER),
        "publish": ("send", SpanKind.CLIENT),
        "claim": ("receive", SpanKind.CLIENT),
        "work": ("process", SpanKind.CONSUMER),
        "finish": ("settle", SpanKind.CLIENT),
    }
    assert dict(ended["accept celery"].attributes) == {
        "messaging.system": "celery",
        "messaging.operation.name": "accept",
        "messaging.operation.type": "create",
        "messaging.destination.name": "celery",
        "messaging.message.id": str(job.pk),
        "async_accept.operation": "sums.create",
    }
    assert ended["finish"].attributes["async_accept.state"] == "succeeded"
    assert ended["finish"].attributes["async_accept.attempt"] == 1


def test_every_attempt_is_in_the_one_trace(found, messages):
    job = accept(make(tasks.flaky, input={"failures": 1}, max_attempts=5))
    run_here(job)
    due(job)
    Relay().tick()
    run_here(job)
    assert {span.context.trace_id for _, span in found()} == {found()[0][1].context.trace_id}
    ended = [span.attributes for name, span in found() if name == "finish"]
    assert [(each["async_accept.attempt"], each["async_accept.state"]) for each in ended] == [
        (1, "accepted"),
        (2, "succeeded"),
    ]
    assert len({each["traceparent"] for each in messages}) == 1


def test_each_message_of_the_relay_has_its_own_context(found, messages, exporter):
    jobs = [accept(make()) for _ in range(3)]
    for job in jobs:
        due(job)
    messages.clear()
    exporter.clear()
    Relay().tick()
    traces = [each["traceparent"].split("-")[1] for each in messages]
    assert sorted(traces) == sorted(
        job.message_options["headers"]["traceparent"].split("-")[1] for job in jobs
    )
    published = [f"{span.context.trace_id:032x}" for name, span in found() if name.startswith("publish")]
    assert published == traces


def test_a_rerun_keeps_the_context_and_is_linked(found, messages, exporter):
    first, _ = in_a_request(lambda: accept(make()))
    run_here(first)
    first.refresh_from_db()
    exporter.clear()
    again, request = in_a_request(lambda: rerun(first))
    run_here(again)
    ended = dict(found())
    first_trace = int(first.message_options["headers"]["traceparent"].split("-")[1], 16)
    assert again.message_options == first.message_options
    assert ended["accept celery"].context.trace_id == request.trace_id
    assert [link.context.trace_id for link in ended["accept celery"].links] == [first_trace]
    assert ended["work"].context.trace_id == first_trace


def test_a_cancel_is_in_the_trace_of_its_job_and_linked_to_its_own(found, messages):
    job = accept(make())
    _, request = in_a_request(job.cancel)
    ended = dict(found())["finish"]
    assert ended.attributes["async_accept.state"] == "canceled"
    assert ended.parent.span_id == dict(found())["accept celery"].context.span_id
    assert request in [link.context for link in ended.links]
    assert not job.cancel()
    assert names(found()).count("finish") == 1


# --- Nothing of payloads ------------------------------------------------------------------------------------------


@shared_task(base=JobTask)
def charge(card):
    raise ValueError(f"cannot charge {card}")


def test_a_failure_is_told_without_anybodys_data(found, messages):
    run_here(accept(make(charge, input={"card": SECRET})))
    ended = dict(found())
    assert ended["work"].attributes["error.type"] == "ValueError"
    assert ended["finish"].attributes["error.type"] == "failed"
    assert {ended[name].status.status_code for name in ("work", "finish")} == {StatusCode.ERROR}
    assert not any(SECRET in span.to_json() for _, span in found())


def test_not_even_in_the_spans_of_celerys_instrumentation(found, messages, instrumented):
    run_here(accept(make(charge, input={"card": SECRET})))
    assert names(found())[-1].startswith("run/")
    assert not any(SECRET in span.to_json() for _, span in found())


# --- With Celery's instrumentation --------------------------------------------------------------------------------


def test_with_celerys_instrumentation_no_span_is_doubled(found, messages, instrumented):
    job, _ = in_a_request(lambda: accept(make()))
    run_here(job)
    name = tasks.add.name
    assert sorted(names(found())) == sorted(
        ["POST", "accept celery", f"apply_async/{name}", "claim", f"run/{name}", "finish"]
    )
    ended = dict(found())
    assert ended[f"apply_async/{name}"].parent.span_id == ended["accept celery"].context.span_id
    assert ended[f"run/{name}"].attributes["async_accept.operation"] == "sums.create"
    linked = [link.context.span_id for link in ended[f"run/{name}"].links]
    assert linked == [ended["accept celery"].context.span_id]


def test_with_celerys_instrumentation_the_relay_mixes_no_traces(found, messages, exporter, instrumented):
    """The instrumentation writes its own headers; of a task that is not known here, it leaves its span open."""
    jobs = [accept(make()) for _ in range(2)]
    Job.objects.filter(pk=jobs[0].pk).update(task="elsewhere.unknown")
    for job in jobs:
        due(job)
    messages.clear()
    Relay().tick()
    traces = [each["traceparent"].split("-")[1] for each in messages]
    assert sorted(traces) == sorted(
        job.message_options["headers"]["traceparent"].split("-")[1] for job in jobs
    )
    assert not trace.get_current_span().get_span_context().is_valid


# --- The app ------------------------------------------------------------------------------------------------------


def test_without_the_app_nothing_is_kept(messages):
    steps.surround(None)
    assert accept(make()).message_options is None


def test_nothing_else_imports_opentelemetry():
    package = Path(async_accept.__file__).parent
    importing = re.compile(r"^\s*(?:from|import) opentelemetry", re.MULTILINE)
    found = {path.parent for path in package.rglob("*.py") if importing.search(path.read_text())}
    assert found == {package / "contrib" / "opentelemetry"}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(otel_apps, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install .*\[opentelemetry\]"):
        AppConfig.create("async_accept.contrib.opentelemetry").ready()


def test_spans_cost_one_statement_at_most(messages):
    """A claim by one statement does not know the job's trace before; so it is done by two."""

    def statements():
        with CaptureQueriesContext(connection) as captured:
            run_here(accept(make()))
        return len(captured)

    traced = statements()
    steps.surround(None)
    assert traced - statements() == (1 if connection.vendor in ("postgresql", "sqlite") else 0)
