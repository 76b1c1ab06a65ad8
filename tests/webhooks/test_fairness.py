"""An old state, a stray message and somebody's dead host do nothing to notices that have nothing to do with them."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from async_accept.jobs import relay
from async_accept.jobs.broker import Broker
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.webhooks import circuits, delivering, keeping, publishing
from async_accept.webhooks.delivering import CALLBACK_LIFETIME, deliver
from async_accept.webhooks.guard import host_of
from async_accept.webhooks.models import Callback, Delivery, Endpoint, Host
from async_accept.webhooks.sender import Answer
from async_accept.webhooks.states import DisabledBy
from tests.webhooks.conftest import past

pytestmark = pytest.mark.django_db


@pytest.fixture
def elsewhere(alice):
    """An endpoint to which nothing is really sent."""
    return Endpoint.objects.create(owner=alice, url="https://hooks.example/x")


@pytest.fixture
def answers(monkeypatch):
    """What the next attempts are answered; how many attempts there were."""
    made = []

    def post(*args):
        made.append(args)
        return answers[min(len(made), len(answers)) - 1]

    answers = [Answer("2xx", 200)]
    monkeypatch.setattr(delivering, "post", post)
    return answers, made


def states():
    return list(Delivery.objects.order_by("id").values_list("state", flat=True))


def test_what_was_held_back_stops_nothing_once_the_endpoint_is_enabled(alice, alices, settings, elsewhere):
    settings.ASYNC_ACCEPT = {"WEBHOOK_MAX_WAITING": 2}
    elsewhere.disable(DisabledBy.FAILING)
    for _ in range(3):
        make_job(owner=alice, state="succeeded")
    assert states() == ["held", "held", "dropped"]
    assert alices.patch(f"/api/webhooks/{elsewhere.pk}/", {"enabled": True}, format="json").status_code == 200
    make_job(owner=alice, state="succeeded")
    assert states()[3:] == ["waiting"]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_message_that_comes_early_changes_nothing(alice, elsewhere, answers, is_closed):
    """Neither the time that Retry-After asked for, nor the one attempt that finds out whether a host is back."""
    make_job(owner=alice, state="succeeded")
    later = timezone.now() + timedelta(hours=5)
    Delivery.objects.update(try_at=later, publish_at=later, attempt=1)
    closed_until = later if is_closed else past()
    Host.objects.create(name="hooks.example", failures=circuits.TOLERATED, closed_until=closed_until)
    deliver(Delivery.objects.get().pk)
    assert (answers[1], Delivery.objects.get().try_at, Host.objects.get().closed_until) == (
        [],
        later,
        closed_until,
    )


def test_callbacks_to_a_dead_host_are_given_up(alice, elsewhere, answers):
    make_job(owner=alice, state="succeeded")
    far = timezone.now() + timedelta(minutes=10)
    Host.objects.create(name="dead.example", failures=9, closed_until=far)
    rows = Delivery.objects.all()
    rows.update(url="https://dead.example/", host="dead.example", try_at=past())
    deliver(rows.get().pk)
    assert states() == ["waiting"]
    rows.update(created_at=timezone.now() - CALLBACK_LIFETIME - timedelta(minutes=1), try_at=past())
    deliver(rows.get().pk)
    assert (states(), rows.get().outcome, answers[1]) == (["failed"], "unreachable", [])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example/", "hooks.example"),
        ("https://hooks.example:443/", "hooks.example"),
        ("https://hooks.example:8443/", "hooks.example:8443"),
        ("http://hooks.example:80/", "hooks.example"),
        ("http://hooks.example:443/", "hooks.example:443"),
        ("https://[2001:db8::1]:8443/", "2001:db8::1:8443"),
    ],
)
def test_each_port_has_a_circuit_of_its_own(url, host):
    """Else whoever names a dead port of a host would stop what others send to its living one."""
    assert host_of(url) == host


@pytest.mark.parametrize(("state", "left"), [("running", 1), ("accepted", 1), ("succeeded", 0)])
def test_a_callback_lives_as_long_as_its_job_runs(alice, settings, state, left):
    settings.ASYNC_ACCEPT = {
        "JOB_LIFETIME": timedelta(hours=1),
        "IDEMPOTENCY_KEY_LIFETIME": timedelta(hours=1),
    }
    endpoint = Endpoint.objects.create(owner=alice)
    job = make_job(owner=alice, state=state)
    long_ago = timezone.now() - timedelta(hours=2)
    Callback.objects.create(
        job_id=job.pk, endpoint=endpoint, success_url="https://a.example/", created_at=long_ago
    )
    Callback.objects.create(
        job_id=Job().pk, endpoint=endpoint, created_at=long_ago
    )  # its job was never stored
    Delivery.objects.create(endpoint=endpoint, host="x", event="ping", state="delivered", sweep_at=past())
    keeping.sweep()
    assert Callback.objects.count() == left


def test_the_end_of_an_old_url_says_nothing_of_the_new_one(alice, elsewhere, monkeypatch):
    def post(*args):
        Endpoint.objects.update(url="https://new.example/x")  # while the attempt is under way
        return Answer("4xx", 410)

    monkeypatch.setattr(delivering, "post", post)
    make_job(owner=alice, state="succeeded")
    Delivery.objects.update(try_at=past())
    deliver(Delivery.objects.get().pk)
    elsewhere.refresh_from_db()
    assert (elsewhere.disabled_at, elsewhere.failures) == (None, 0)


def test_a_new_url_begins_without_failures(alices, elsewhere, resolver):
    resolver["new.example"] = ["93.184.215.14"]
    Endpoint.objects.update(failures=12, failing_since=timezone.now() - timedelta(days=4))
    url = f"/api/webhooks/{elsewhere.pk}/"
    assert alices.patch(url, {"url": "https://hooks.example/x"}, format="json").status_code == 200
    elsewhere.refresh_from_db()
    assert elsewhere.failures == 12  # it is the same
    assert alices.patch(url, {"url": "https://new.example/x"}, format="json").status_code == 200
    elsewhere.refresh_from_db()
    assert (elsewhere.failures, elsewhere.failing_since) == (0, None)


def test_a_relay_that_looks_once_publishes_all_that_is_due(elsewhere, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr(Broker, "use", lambda self, send: sent.extend(send.args[0]) or [])
    monkeypatch.setitem(relay.DUTIES, "notices", publishing.publish_due)
    count = publishing.BATCH + 1
    Delivery.objects.bulk_create(
        [
            Delivery(endpoint=elsewhere, host="hooks.example", event="ping", try_at=past(), publish_at=past())
            for _ in range(count)
        ]
    )
    call_command("async_accept", "relay", "--once")
    assert (len(sent), Delivery.objects.due().count()) == (count, 0)
    assert f"{count} notices" in capsys.readouterr().out
