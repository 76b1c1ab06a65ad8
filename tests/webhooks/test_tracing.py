import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from async_accept import steps
from async_accept.contrib.opentelemetry import spans
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def _traced():
    spans.connect()
    yield
    steps.surround(None)


@pytest.mark.usefixtures("_traced")
def test_a_notice_carries_the_trace_of_its_job(webhook_inbox, alice):
    webhook_inbox.endpoint(alice)
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    make_job(owner=alice, state="succeeded", message_options={"headers": headers})
    with trace.use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True))):  # of the task that delivers
        [notice] = webhook_inbox.deliver()
    assert notice.headers["traceparent"].split("-")[1] == TRACE


@pytest.mark.usefixtures("_traced")
def test_a_notice_of_a_job_without_a_trace_carries_none(webhook_inbox, alice):
    webhook_inbox.endpoint(alice)
    make_job(owner=alice, state="succeeded")
    [notice] = webhook_inbox.deliver()
    assert "traceparent" not in notice.headers
