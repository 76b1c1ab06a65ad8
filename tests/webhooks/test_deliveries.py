"""Contract 20: what a receiver gets, whatever it does and whatever dies."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from standardwebhooks import Webhook

from async_accept import signals
from async_accept.db import errors
from async_accept.jobs import relay
from async_accept.jobs.broker import Broker
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import follow, make_job
from async_accept.webhooks import (
    circuits,
    delivering,
    guard,
    keeping,
    notices,
    publishing,
    schedule,
)
from async_accept.webhooks import (
    signals as told,
)
from async_accept.webhooks.delivering import deliver
from async_accept.webhooks.models import Delivery, Endpoint, Host
from async_accept.webhooks.resending import resend
from async_accept.webhooks.sender import Answer
from async_accept.webhooks.signals import delivery_attempted
from tests.webhooks.conftest import age, come_back_later, past, send_due
from tests.webhooks.receiver import answer, hang_up

pytestmark = pytest.mark.django_db

ENDS = {
    "succeeded": lambda job: job.succeed({"status": 200, "headers": {}}),
    "failed": lambda job: job.fail(problem("failed")),
    "canceled": lambda job: job.end_canceled(),
    "lost": lambda job: job.lose("lease"),
}


def bodies(receiver):
    return [json.loads(body) for _, body in receiver.got]


def only():
    return Delivery.objects.get()


# --- With the end of a job -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_told(endpoint, receiver, alice, end):
    job = make_job(owner=alice, state="running")
    assert ENDS[end](job)
    assert send_due() == 1
    [notice] = bodies(receiver)
    state = "failed" if end == "lost" else end
    assert (notice["type"], notice["data"]["status"], notice["data"]["id"]) == (
        f"job.{state}",
        state,
        str(job.pk),
    )
    assert only().state == "delivered"


def test_a_job_that_waits_is_canceled_and_told(endpoint, receiver, alice):
    job = make_job(owner=alice)
    assert job.cancel()
    assert [row.event for row in Delivery.objects.all()] == ["job.canceled"]


def test_the_notice_is_the_status_document_with_the_urls_of_the_202(endpoint, receiver, alices):
    response = alices.post("/api/sums/", {"x": 1, "y": 2})
    final = follow(alices, response)
    send_due()
    [notice] = bodies(receiver)
    assert notice["data"] == alices.get(response["Operation-Location"]).json()
    assert final.json() == 3
    assert "result" not in notice["data"]
    assert (notice["sequence"], notice["type"]) == (1, "job.succeeded")


@pytest.mark.parametrize(
    ("result", "expected"),
    [({"a": [1]}, {"result": {"a": [1]}}), (None, {"result": None}), ("x" * 100_001, {"result_omitted": "too-large"})],
)  # fmt: skip
def test_the_result_comes_along_where_the_endpoint_asks(endpoint, receiver, alice, result, expected):
    Endpoint.objects.update(include_result=True)
    make_job(owner=alice, state="succeeded", result=result)
    send_due()
    [notice] = bodies(receiver)
    assert {
        key: value
        for key, value in notice["data"].items()
        if key.startswith("result") and key != "result_url"
    } == expected


def test_only_who_asked_is_told(endpoint, alice, django_user_model):
    bob = django_user_model.objects.create(username="bob")
    Endpoint.objects.update(operations=["orders.create"], states=["failed"])
    for owner, operation, state in [
        (alice, "orders.create", "failed"),
        (alice, "orders.create", "succeeded"),
        (alice, "other", "failed"),
        (bob, "orders.create", "failed"),
        (None, "orders.create", "failed"),
    ]:
        make_job(owner=owner, operation=operation, state=state)
    assert Delivery.objects.count() == 1
    assert only().event == "job.failed"


def test_two_endpoints_are_two_deliveries(endpoint, receiver, alice):
    Endpoint.objects.create(owner=alice, url=receiver.url)
    make_job(owner=alice, state="succeeded")
    assert send_due() == 2
    assert len(set(receiver.ids)) == 2


@pytest.mark.django_db(transaction=True)
def test_the_notice_commits_with_the_end_or_not_at_all(endpoint, receiver, alice):
    job = make_job(owner=alice, state="running")
    with transaction.atomic():
        assert job.succeed()
        assert Delivery.objects.count() == 1
        transaction.set_rollback(True)
    assert Job.objects.get().state == "running"
    assert Delivery.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_process_that_dies_after_the_commit_loses_nothing(endpoint, receiver, alice, monkeypatch):
    """Nothing was published: the relay does it."""
    monkeypatch.setattr(notices, "publish_new", lambda ids: None)
    make_job(owner=alice, state="succeeded")
    sent = []
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: sent.extend(ids) or [])
    assert relay.DUTIES["notices"](publishing.broker) == 0  # its message may be on the way
    Delivery.objects.update(publish_at=past())
    assert relay.DUTIES["notices"](publishing.broker) == 1
    assert sent == [only().pk]
    assert relay.DUTIES["notices"](publishing.broker) == 0  # it waits for its claim now
    deliver(sent[0])
    assert len(receiver.got) == 1


def test_a_delivery_whose_sender_died_is_sent_by_another(endpoint, receiver, alice, monkeypatch):
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])
    make_job(owner=alice, state="succeeded")
    row = only()
    assert row.claim()
    assert publishing.publish_due(publishing.broker) == 0  # its lease holds
    Delivery.objects.update(publish_at=past())
    assert publishing.publish_due(publishing.broker) == 1
    deliver(row.pk)
    assert only().state == "delivered"
    assert len(receiver.got) == 1


def test_a_broker_that_fails_halfway_ends_no_lease(endpoint, receiver, alice, monkeypatch):
    """A worker got the first message, and claimed; the relay then hears of the failure."""

    def fail(ids, producer):
        assert only().claim()
        raise OSError

    make_job(owner=alice, state="succeeded")
    Delivery.objects.update(publish_at=past())
    monkeypatch.setattr(publishing, "_send", fail)
    assert publishing.publish_due(Broker()) == 0
    deliver(only().pk)
    assert receiver.got == []


def test_a_broker_that_fails_is_asked_again_at_once(endpoint, alice, monkeypatch):
    def fail(ids, producer):
        raise OSError

    make_job(owner=alice, state="succeeded")
    Delivery.objects.update(publish_at=past())
    monkeypatch.setattr(publishing, "_send", fail)
    assert publishing.publish_due(Broker()) == 0
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])
    assert publishing.publish_due(Broker()) == 1


def test_a_queue_that_nobody_consumes_is_told(endpoint, alice, monkeypatch, caplog):
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])
    make_job(owner=alice, state="succeeded")
    for count in range(publishing.PATIENCE + 1):
        assert ("WEBHOOK_QUEUE" in caplog.text) is False, count
        Delivery.objects.update(publish_at=past())
        assert publishing.publish_due(publishing.broker) == 1
    assert "'webhooks' (WEBHOOK_QUEUE)" in caplog.text


def test_deliveries_that_the_broker_refuses_wait_for_their_next_step(endpoint, alice, monkeypatch, caplog):
    """Such as RabbitMQ, if their queue is full."""
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: ids[:1])
    for _ in range(3):
        make_job(owner=alice, state="succeeded")
    Delivery.objects.update(publish_at=past())
    assert publishing.publish_due(publishing.broker) == 2
    assert "The broker refused the messages of 1 webhook deliveries" in caplog.text
    assert not Delivery.objects.due().exists()


def test_many_due_deliveries_cost_as_many_statements_as_one(
    endpoint, alice, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])
    for _ in range(6):
        make_job(owner=alice, state="succeeded")
    for count, delivery in enumerate(Delivery.objects.all()):
        Delivery.objects.filter(pk=delivery.pk).update(publishes=count, publish_at=past())
    with django_assert_num_queries(4):  # two of them begin and end the savepoint
        assert publishing.publish_due(publishing.broker) == 6
    assert sorted(Delivery.objects.values_list("publishes", flat=True)) == [1, 2, 3, 4, 5, 6]


def ask_for_what_is_not_migrated(*args):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM not_migrated")


def no_table(monkeypatch):
    monkeypatch.setattr(notices, "_endpoints", ask_for_what_is_not_migrated)


def no_column(monkeypatch):
    monkeypatch.setattr(notices, "store", ask_for_what_is_not_migrated)


def no_json(monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Endpoint._meta.db_table} SET operations = '{{'")


def own_fault(monkeypatch):
    monkeypatch.setattr(guard, "host_of", lambda url: 1 / 0)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("fault", [no_table, no_column, no_json, own_fault])
def test_no_fault_of_notices_keeps_a_job_from_its_end(endpoint, alice, monkeypatch, caplog, fault, end):
    job = make_job(owner=alice, state="running")
    fault(monkeypatch)
    with transaction.atomic():  # as atomic work ends
        assert ENDS[end](job)
        assert Job.objects.filter(pk=job.pk, state=job.state).exists()
    monkeypatch.undo()
    assert Job.objects.get(pk=job.pk).is_final
    assert not Delivery.objects.exists()
    assert caplog.text.count(f"Nobody is told of the end of job {job.pk}: ") == 1


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), InterfaceError("connection is closed")])
def test_what_passes_by_itself_ends_no_job_without_its_notices(endpoint, alice, monkeypatch, error):
    job = make_job(owner=alice, state="running")

    def fail(job, state):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(notices, "_endpoints", fail)
        with pytest.raises(type(error)), transaction.atomic():
            job.end_canceled()
    assert not Job.objects.get(pk=job.pk).is_final
    assert job.end_canceled()
    assert Delivery.objects.count() == 1


def statements(do):
    with CaptureQueriesContext(connection) as queries:
        do()
    return [
        query["sql"]
        for query in queries
        if not query["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))
    ]


def test_the_end_costs_one_look_and_one_insert(alice, receiver, django_user_model):
    """Without an owner, or without the app, nothing."""
    job = make_job(owner=None, state="running")
    assert len(statements(job.succeed)) == 1
    job = make_job(owner=alice, state="running")
    assert len(statements(job.succeed)) == 2
    for _ in range(3):
        Endpoint.objects.create(owner=alice, url=receiver.url)
    job = make_job(owner=alice, state="running")
    assert len(statements(job.succeed)) == 3
    signals.job_ending.receivers, before = [], signals.job_ending.receivers
    try:
        job = make_job(owner=alice, state="running")
        assert len(statements(job.succeed)) == 1
    finally:
        signals.job_ending.receivers = before


def test_a_delivery_costs_few_statements(endpoint, receiver, alice):
    """Read, claim, number (4), read the job, keep the body, finish; then read, claim, finish, reset the count."""
    make_job(owner=alice, state="succeeded")
    pk = only().pk
    receiver.behave = answer(500)
    assert len(statements(lambda: deliver(pk))) <= 12
    come_back_later()
    receiver.behave = answer(200)
    assert len(statements(lambda: deliver(pk))) <= 4


# --- Attempts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behave", [answer(500), answer(404), answer(302, Location="/other"), hang_up])
def test_a_receiver_that_comes_back_gets_each_notice_by_one_id(endpoint, receiver, alice, behave):
    make_job(owner=alice, state="succeeded")
    receiver.behave = behave
    for _ in range(2):
        assert send_due() == 1
        assert send_due() == 0  # not before its time
        come_back_later()
    receiver.behave = answer(200)
    assert send_due() == 1
    come_back_later()
    assert send_due() == 0  # none after a 2xx
    assert len(receiver.got) == 3
    assert len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.got}) == 1
    row = only()
    assert (row.state, row.attempt, row.outcome) == ("delivered", 3, "2xx")
    assert Endpoint.objects.get().failures == 0


def test_each_attempt_is_told_by_a_signal(endpoint, receiver, alice, django_capture_on_commit_callbacks):
    told = []

    def listen(delivery, outcome, **kwargs):
        told.append((delivery.pk, outcome))

    make_job(owner=alice, state="succeeded")
    delivery_attempted.connect(listen, sender=Delivery)
    for behave in (answer(500), answer(200)):
        receiver.behave = behave
        with django_capture_on_commit_callbacks(execute=True):
            deliver(only().pk)
        come_back_later()
    assert told == [(only().pk, "5xx"), (only().pk, "2xx")]


def test_a_repeated_message_sends_nothing(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    row = only()
    other = only()
    assert row.claim()
    assert not other.claim()
    deliver(row.pk)
    assert receiver.got == []
    Delivery.objects.update(publish_at=past())  # its sender is gone
    deliver(row.pk)
    deliver(row.pk)
    assert len(receiver.got) == 1
    assert not row.fail("5xx")  # the one that was gone comes late
    assert only().state == "delivered"


@pytest.mark.parametrize("meanwhile", ["published", "claimed"])
def test_a_2xx_counts_though_its_attempt_was_given_up(endpoint, receiver, alice, monkeypatch, meanwhile):
    """The sender hung until its lease was over. What has arrived is not sent again."""
    make_job(owner=alice, state="succeeded")
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])

    def hang(*args):
        Delivery.objects.update(publish_at=past())
        assert publishing.publish_due(publishing.broker) == 1
        assert meanwhile == "published" or only().claim()
        return Answer("2xx", 204)

    monkeypatch.setattr(delivering, "post", hang)
    deliver(only().pk)
    assert (only().state, only().publish_at) == ("delivered", None)


@pytest.mark.django_db(transaction=True)
def test_a_2xx_is_stored_when_the_database_is_back(endpoint, receiver, alice, monkeypatch):
    make_job(owner=alice, state="succeeded")
    arrive, failures = Delivery.arrive, [OperationalError(2013, "gone"), InterfaceError("gone")]

    def away_at_first(row, outcome):
        if failures:
            raise failures.pop()
        return arrive(row, outcome)

    monkeypatch.setattr(Delivery, "arrive", away_at_first)
    monkeypatch.setattr(errors, "sleep", lambda seconds: None)
    deliver(only().pk)
    assert only().state == "delivered"
    assert failures == []


def test_each_attempt_is_signed_anew_with_the_secrets_of_its_time(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    old = endpoint.secret
    fresh = endpoint.rotate()  # it was queued before
    send_due()
    headers, body = receiver.got[0]
    for secret in (old, fresh):
        assert Webhook(secret).verify(body, headers)["type"] == "job.succeeded"
    age(previous_until=timedelta(days=1))
    make_job(owner=alice, state="succeeded")
    send_due()
    headers, body = receiver.got[1]
    Webhook(fresh).verify(body, headers)
    with pytest.raises(Exception, match="No matching"):
        Webhook(old).verify(body, headers)


def test_a_name_that_turns_inwards_after_its_registration(alice, receiver, resolver, settings):
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"WEBHOOK_ALLOW_LOOPBACK": False}
    url = f"http://hooks.example:{receiver.server.server_port}/"
    assert guard.check_url(url)
    Endpoint.objects.create(owner=alice, url=url)
    for addresses in (["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]):
        resolver["hooks.example"] = addresses
        make_job(owner=alice, state="succeeded")
        send_due()
    assert set(Delivery.objects.values_list("state", "outcome")) == {("waiting", "blocked")}
    assert receiver.got == []


def test_our_own_fault_disables_no_endpoint(endpoint, receiver, alice, monkeypatch):
    make_job(owner=alice, state="succeeded")
    monkeypatch.setattr(notices, "_document", lambda job: 1 / 0)
    for attempt in (1, 2):
        assert send_due() == 1
        assert (only().state, only().outcome, only().attempt) == ("waiting", "error", attempt)
        come_back_later()
    assert Endpoint.objects.get().failures == 0
    monkeypatch.undo()
    assert send_due() == 1
    assert only().state == "delivered"


def test_retry_after_is_honoured(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    receiver.behave = answer(429, Retry_After="7200")
    send_due()
    left = only().try_at - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_databases_clock_reads_a_date_of_retry_after(endpoint, receiver, alice, monkeypatch, hours):
    """It is right, and so is the receiver's; that of this machine is wrong by hours."""
    make_job(owner=alice, state="succeeded")
    right = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr(delivering, "database_now", lambda: right)
    receiver.behave = answer(429, Retry_After=format_datetime(right + timedelta(hours=2), True))
    send_due()
    left = only().try_at - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)


def test_the_schedule_takes_three_days_and_no_receiver_shortens_it():
    waits = [schedule.delay(n, None, lambda: 0) for n in range(1, schedule.max_attempts())]
    assert timedelta(days=3) <= sum(waits, timedelta()) < timedelta(days=4)
    assert waits == sorted(waits)
    assert schedule.delay(2, timedelta(seconds=1), lambda: 0) == timedelta(minutes=5)
    assert schedule.delay(2, timedelta(hours=1), lambda: 1) == timedelta(hours=1)
    assert schedule.delay(2, timedelta(days=400)) == timedelta(days=1)
    assert schedule.delay(2, None, lambda: 1) == timedelta(minutes=6)


def test_a_project_may_wait_less_and_give_up_sooner(endpoint, receiver, alice, settings):
    delays = [timedelta(seconds=2), timedelta(seconds=4)]
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"WEBHOOK_RETRY_DELAYS": delays}
    make_job(owner=alice, state="succeeded")
    receiver.behave = answer(500)
    for delay in delays:
        send_due()
        assert delay * 0.5 < only().try_at - datetime.now(UTC) <= delay * 1.2
        come_back_later()
    send_due()
    assert (only().state, only().attempt) == ("failed", 3)


def test_retry_after_is_seconds_or_a_date():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for header, expected in {
        "120": timedelta(minutes=2), "0" * 20 + "120": timedelta(minutes=2), "0": timedelta(), "00": timedelta(),
        "Thu, 01 Jan 2026 01:00:00 GMT": timedelta(hours=1),
        "Wed, 31 Dec 2025 00:00:00 GMT": timedelta(), "9" * 5000: timedelta(days=1),
        **dict.fromkeys([None, "", "-1", "1.5", "soon", "²", "Thu, 99 Jan 2026 01:00:00 GMT", "\x00"]),
    }.items():  # fmt: skip
        assert schedule.retry_after(header, now) == expected, header


def test_after_the_last_attempt_it_is_a_dead_letter_that_can_be_sent_again(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    receiver.behave = answer(500)
    for _ in range(schedule.max_attempts()):
        assert send_due() == 1
        come_back_later()
    assert send_due() == 0
    assert only().state == "failed"
    receiver.behave = answer(200)
    assert resend(Delivery.objects.all()) == [only().pk]
    assert send_due() == 1
    assert only().state == "delivered"
    assert len(set(receiver.ids)) == 1


def test_a_worker_that_dies_at_every_attempt_ends_too(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    for _ in range(schedule.max_attempts()):
        assert only().claim()
        come_back_later()
    deliver(only().pk)
    assert only().state == "failed"
    assert receiver.got == []


def test_a_job_that_is_gone_is_told_by_its_id(endpoint, receiver, alice):
    job = make_job(owner=alice, state="succeeded")
    Job.objects.all().delete()
    send_due()
    assert bodies(receiver)[0]["data"] == {"id": str(job.pk), "status": "succeeded"}


# --- Endpoints that fail -----------------------------------------------------------------------------------------


@pytest.fixture
def disabled():
    heard = []
    receive = lambda endpoint, **kwargs: heard.append(endpoint)  # noqa: E731
    told.endpoint_disabled.connect(receive)
    yield heard
    told.endpoint_disabled.disconnect(receive)


def test_410_disables_and_what_comes_then_is_kept(
    endpoint, receiver, alice, disabled, django_capture_on_commit_callbacks
):
    make_job(owner=alice, state="succeeded")
    receiver.behave = answer(410)
    with django_capture_on_commit_callbacks(execute=True):
        send_due()
    assert [each.pk for each in disabled] == [endpoint.pk]
    row = Endpoint.objects.get()
    assert (row.disabled_by, only().state) == ("failing", "failed")
    make_job(owner=alice, state="succeeded")
    assert Delivery.objects.filter(state="held").count() == 1
    assert send_due() == 0
    assert resend(Delivery.objects.all()) == []  # not while it is disabled
    Endpoint.objects.all().enable()
    receiver.behave = answer(200)
    assert len(resend(Delivery.objects.all())) == 2
    assert send_due() == 2
    assert Delivery.objects.filter(state="delivered").count() == 2


def test_days_of_failure_disable_and_one_success_begins_anew(endpoint, receiver, alice):
    receiver.behave = answer(500)
    make_job(owner=alice, state="succeeded")
    Endpoint.objects.update(failures=delivering.DISABLED_FAILURES)
    send_due()
    age(failing_since=timedelta(days=2))
    come_back_later()
    send_due()
    assert Endpoint.objects.get().disabled_at is None
    receiver.behave = answer(200)
    come_back_later()
    send_due()
    row = Endpoint.objects.get()
    assert (row.failures, row.failing_since) == (0, None)

    receiver.behave = answer(500)
    make_job(owner=alice, state="succeeded")
    send_due()
    age(failing_since=timedelta(days=4))
    come_back_later()
    send_due()
    assert Endpoint.objects.get().disabled_at is None  # few failures, however long ago the first was
    Endpoint.objects.update(failures=delivering.DISABLED_FAILURES)
    come_back_later()
    send_due()
    assert Endpoint.objects.get().disabled_by == "failing"
    come_back_later()
    send_due()
    assert Delivery.objects.filter(state="held").count() == 1


def test_a_full_endpoint_drops_and_the_gap_shows(endpoint, receiver, alice, settings):
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"WEBHOOK_MAX_WAITING": 2}
    for _ in range(4):
        make_job(owner=alice, state="succeeded")
    assert Delivery.objects.filter(state="dropped").count() == 2
    assert send_due() == 2
    make_job(owner=alice, state="succeeded")
    send_due()
    assert [notice["sequence"] for notice in bodies(receiver)] == [1, 2, 5]


def test_a_silent_host_is_left_alone_and_then_tried_by_one(endpoint, receiver, alice, monkeypatch):
    other = Endpoint.objects.create(owner=alice, url=receiver.url.replace("127.0.0.1", "127.0.0.2"))
    for _ in range(5):
        make_job(owner=alice, state="succeeded")
    rows = Delivery.objects.filter(endpoint=other)
    for pk in rows.values_list("pk", flat=True):
        deliver(pk)
    assert sorted(rows.values_list("attempt", flat=True)) == [0, 0, 1, 1, 1]
    assert Host.objects.get().failures == circuits.TOLERATED
    for pk in Delivery.objects.filter(endpoint=endpoint).values_list("pk", flat=True):
        deliver(pk)
    assert len(receiver.got) == 5  # another host is none the worse
    Delivery.objects.filter(publish_at__isnull=False).update(publish_at=past())
    monkeypatch.setattr(publishing, "_send", lambda ids, producer: [])
    assert publishing.publish_due(publishing.broker) == 0
    come_back_later()
    send_due()
    assert sorted(rows.values_list("attempt", flat=True)) in ([0, 0, 1, 1, 2], [0, 1, 1, 1, 1])
    monkeypatch.setattr(delivering, "post", lambda *args: Answer("2xx", 204))  # it is back
    come_back_later()
    send_due()
    assert not Host.objects.exists()


def test_an_owner_who_may_not_act_is_told_nothing(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    type(alice).objects.update(is_active=False)
    send_due()
    assert only().state == "held"
    Delivery.objects.update(state="waiting", try_at=past(), publish_at=past())
    alice.delete()
    send_due()
    assert receiver.got == []


def test_the_circuit_of_an_old_host_stops_nothing_that_goes_to_the_new_one(endpoint, receiver, alice):
    """What failed at the old URL is sent again to the new one."""
    make_job(owner=alice, state="succeeded")
    Delivery.objects.update(state="failed", host="old.example", try_at=None, publish_at=None)
    Host.objects.create(
        name="old.example", failures=9, closed_until=datetime.now(UTC) + timedelta(minutes=10)
    )
    resend(Delivery.objects.all())
    send_due()
    assert (only().state, only().host) == ("delivered", guard.host_of(receiver.url))
    assert Host.objects.get().failures == 9  # nobody has tried that one


def test_numbers_are_given_in_batches_in_the_order_of_the_ends(endpoint, receiver, alice, monkeypatch):
    monkeypatch.setattr(notices, "NUMBERED", 2)
    for _ in range(5):
        make_job(owner=alice, state="succeeded")
    last = Delivery.objects.order_by("id").last()
    deliver(last.pk)  # messages keep no order
    send_due()
    assert list(Delivery.objects.order_by("id").values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]
    assert sorted(notice["sequence"] for notice in bodies(receiver)) == [1, 2, 3, 4, 5]
    assert bodies(receiver)[0]["sequence"] == 5


def test_an_endpoint_that_vanishes_meanwhile_ends_the_attempt(endpoint, receiver, alice, monkeypatch):
    make_job(owner=alice, state="succeeded")
    claim = Delivery.claim

    def vanish(row):
        endpoint.delete()
        return claim(row)

    monkeypatch.setattr(Delivery, "claim", vanish)
    deliver(only().pk)
    assert receiver.got == []


# --- Keeping -----------------------------------------------------------------------------------------------------


def test_bodies_go_before_rows(endpoint, receiver, alice):
    make_job(owner=alice, state="succeeded")
    send_due()
    assert keeping.sweep() == 0
    Delivery.objects.update(sweep_at=past())
    assert keeping.sweep() == 1
    assert only().body is None
    assert keeping.sweep() == 0
    long_ago = datetime.now(UTC) - timedelta(days=31)
    Delivery.objects.update(created_at=long_ago, sweep_at=long_ago)
    assert keeping.sweep() == 1
    assert not Delivery.objects.exists()


def test_what_waits_outlives_a_short_life_of_jobs(endpoint, receiver, alice, settings):
    """The attempts take three days; a project may keep its jobs for less."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"JOB_LIFETIME": timedelta(hours=1)}
    job = make_job(owner=alice, state="succeeded")
    receiver.behave = answer(500)
    send_due()
    job.delete()
    long_ago = datetime.now(UTC) - timedelta(days=2)
    Delivery.objects.update(created_at=long_ago, sweep_at=long_ago)
    assert keeping.sweep() == 1
    assert keeping.sweep() == 0
    receiver.behave = answer(200)
    come_back_later()
    send_due()
    first, second = bodies(receiver)
    assert first == second
    Delivery.objects.update(sweep_at=past())
    assert keeping.sweep() == 1
    assert not Delivery.objects.exists()


def test_a_deleted_endpoint_goes_in_batches(endpoint, receiver, alice):
    for _ in range(5):
        make_job(owner=alice, state="succeeded")
    assert len(statements(endpoint.forget)) == 1
    assert send_due() == 5
    assert receiver.got == []
    assert keeping.sweep(limit=2) == 0  # a job may know it still
    Endpoint.objects.update(deleted_at=datetime.now(UTC) - timedelta(minutes=2))
    assert [keeping.sweep(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert not Endpoint.objects.exists()


def test_an_owner_who_is_deleted_takes_their_endpoints_along(endpoint, alice):
    make_job(owner=alice, state="succeeded")
    assert len(statements(alice.delete)) < 12
    assert keeping.sweep() == 1
    assert not Endpoint.objects.exists()
    assert not Delivery.objects.exists()
