"""A trace that leads into a real worker, whose processes set their providers up after the fork."""

import json
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from async_accept import steps
from async_accept.contrib.opentelemetry import spans

from .conftest import Start
from .tasks import QUEUE
from .test_real_worker import accept, until, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)

#: The span of a request, as somebody else has begun it.
REQUEST = SpanContext(0xC0FFEE, 0xBEEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def _traced():
    spans.connect()
    with trace.use_span(NonRecordingSpan(REQUEST)):
        yield
    steps.surround(None)


@pytest.mark.usefixtures("_traced")
def test_the_trace_leads_into_the_worker(start_worker: Start, tmp_path: Path):
    file = tmp_path / "spans.jsonl"
    start_worker(TRACES_FILE=str(file))
    job = wait_for_end(accept())
    until(lambda: file.exists() and file.read_text().count("\n") >= 3)
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert {span["name"] for span in found} == {f"{step} {QUEUE}" for step in ("claim", "work", "finish")}
    assert {span["context"]["trace_id"] for span in found} == {f"0x{REQUEST.trace_id:032x}"}
    assert {span["attributes"]["messaging.message.id"] for span in found} == {str(job.pk)}
