"""Contract 22: receivers over the live server, many at once, and with any headers."""

from collections import Counter
from io import BytesIO
from itertools import pairwise
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client as DjangoClient
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from async_accept.models import Job, JoinedKey
from async_accept.testing import run_accepted_jobs, sign_request
from tests.contract.conftest import Client, eventually, together
from tests.testapp import receivers as hooks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def post(caller, receiver, data, path=None, **signed):
    request = sign_request(receiver, data, **signed)
    headers = {**request["headers"], "Content-Type": request["content_type"]}
    url = f"/api/hooks/{path or receiver.__name__.lower()}/"
    return caller.post(url, data=request["data"], headers=headers)


@pytest.fixture
def sender(live_server):
    return Client(live_server.url)


@pytest.mark.parametrize("receiver", [hooks.Standard, hooks.GitHub])
def test_sixty_four_repeats_at_once(sender, receiver):
    """One job, and the same acknowledgement for all."""
    callers = [sender.again() for _ in range(64)]
    answers = together(64, lambda n: post(callers[n], receiver, {"id": "evt_1"}), threads=64)
    assert Counter(getattr(answer, "status_code", answer) for answer in answers) == {202: 64}
    assert len({answer.content for answer in answers}) == 1
    assert Job.objects.count() == JoinedKey.objects.count() == 1


def test_batches_with_the_same_events_at_once(sender):
    def batch(number):
        return [{"id": str((number + step) % 4)} for step in range(4)]

    callers = [sender.again() for _ in range(8)]
    answers = together(16, lambda n: post(callers[n % 8], hooks.Batch, batch(n)), threads=8)
    counted = Counter(getattr(answer, "status_code", answer) for answer in answers)
    assert set(counted) <= {202, 503}
    assert counted[202] > 0
    for number in range(4):
        assert post(sender, hooks.Batch, batch(number)).status_code == 202
    assert Job.objects.count() == 4


def test_events_of_one_object_run_in_order(sender, worker):
    """Each waits for the one before, also for one that fails; those of other objects do not wait."""
    events = [{"object": n % 2, "n": n, "fail": n == 2} for n in range(10)]
    for event in events:
        assert post(sender, hooks.Ordered, event).status_code == 202
    eventually(lambda: not Job.objects.active().exists(), "all ended")
    for parity in (0, 1):
        jobs = [
            job
            for job in Job.objects.order_by("created_at")
            if f'"object": {parity}' in job.input["event"]["body"]["text"]
        ]
        for before, after in pairwise(jobs):
            assert before.finished_at <= after.started_at
    assert Counter(Job.objects.values_list("state", flat=True)) == {"succeeded": 9, "failed": 1}


def test_older_event_is_superseded(sender):
    """Order of arrival is not order of events."""
    for number in (2, 1, 2, 3):
        post(sender, hooks.Ordered, {"object": "a", "number": number, "try": Job.objects.count()})
    post(sender, hooks.Ordered, {"object": "b", "number": 1})
    jobs = run_accepted_jobs()
    assert [job.state for job in jobs] == ["succeeded", "canceled", "succeeded", "succeeded", "succeeded"]
    assert jobs[1].problem["code"] == "superseded"
    assert Note.objects.count() == 4


def test_failed_event_supersedes_nothing(sender):
    post(sender, hooks.Ordered, {"object": "a", "number": 2, "fail": True})
    post(sender, hooks.Ordered, {"object": "a", "number": 1})
    assert [job.state for job in run_accepted_jobs(raises=False)] == ["failed", "succeeded"]


@pytest.mark.parametrize("receiver", [hooks.GitHub, hooks.Batch])
def test_503_while_it_cannot_be_stored(receiver, client):
    """The sender tries again, and then it is no repeat."""
    request = sign_request(receiver, [{"id": "1"}])
    url = f"/api/hooks/{receiver.__name__.lower()}/"
    with patch("async_accept.jobs.accept.insert_if_free", side_effect=OperationalError("password=s3cret")):
        refused = client.post(url, **request)
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert b"s3cret" not in refused.content
    assert not Job.objects.exists()
    assert not JoinedKey.objects.exists()
    assert client.post(url, **request).status_code == 202


def statements(do):
    with CaptureQueriesContext(connection) as queries:
        response = do()
    assert response.status_code == 202
    told = [query["sql"] for query in queries.captured_queries]
    return len([sql for sql in told if not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT"))])


def test_statements_of_an_event(client):
    """Look for the id, insert the job, insert the id, look who holds it; a repeat looks twice."""

    def event(receiver, data):
        return statements(lambda: client.post(
            f"/api/hooks/{receiver.__name__.lower()}/", **sign_request(receiver, data)
        ))  # fmt: skip

    assert event(hooks.GitHub, {"a": 1}) == 4
    assert event(hooks.GitHub, {"a": 1}) == 2
    assert event(hooks.Ordered, {"object": 1}) == 5  # is anybody before it?
    assert event(hooks.Ordered, {"object": 1, "again": 1}) == 6  # and after the commit: has that ended?


def test_acknowledged_under_atomic_requests(client):
    """The event commits by itself, before the answer."""
    sent = []

    def acknowledged(status, body, headers):
        sent.append((connection.in_atomic_block, Job.objects.count()))
        return HttpResponse(status=status)

    with (
        patch.dict(connection.settings_dict, {"ATOMIC_REQUESTS": True}),
        patch("async_accept.receivers.answers.acknowledged", acknowledged),
    ):
        assert client.post("/api/hooks/github/", **sign_request(hooks.GitHub, {})).status_code == 202
    assert sent == [(False, 1)]


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Content-Length",
            "Content-Encoding",
            "Transfer-Encoding",
            "Webhook-Id",
            "Webhook-Timestamp",
            "Webhook-Signature",
            "Stripe-Signature",
            "X-Hub-Signature-256",
            "X-Slack-Signature",
            "X-Slack-Request-Timestamp",
            "X-Twilio-Signature",
            "X-Webhook-Secret",
            "X-GitHub-Event",
        ]
    ),
    st.text(st.characters(codec="latin-1"), max_size=30)
    | st.sampled_from(["multipart/form-data", "multipart/form-data; boundary=x", "-1", "9" * 30, "chunked"]),
    max_size=6,
)


@settings(max_examples=30)
@given(headers=HEADERS, body=st.binary(max_size=60), index=st.integers(0, 10))
def test_no_header_and_no_body_is_an_error(headers, body, index):
    """Whatever a stranger sends, the answer is 401, 411 or 413."""
    receiver = hooks.ALL[index]
    meta = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if f"HTTP_{name}" in meta:
            meta[name] = meta.pop(f"HTTP_{name}")
    client = DjangoClient(raise_request_exception=False)
    meta["wsgi.input"] = BytesIO(body)  # the stream of Django's client wants honest lengths
    response = client.generic("POST", f"/api/hooks/{receiver.__name__.lower()}/", body, **meta)
    assert response.status_code in (401, 411, 413)
    assert response["Content-Type"] == "application/problem+json"
