"""Owners and their endpoints, over HTTP."""

import json

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient
from standardwebhooks import Webhook

from async_accept.testing import make_job
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.views import ChangeThrottle
from tests.webhooks.conftest import come_back_later, send_due
from tests.webhooks.receiver import answer
from tests.webhooks.test_guard import HOSTILE

pytestmark = pytest.mark.django_db

URL = "/api/webhooks/"


@pytest.fixture(autouse=True)
def _fresh_throttle():
    cache.clear()


@pytest.fixture
def bobs(django_user_model):
    client = APIClient()
    client.force_authenticate(django_user_model.objects.create(username="bob"))
    return client


@pytest.fixture
def made(alices, receiver):
    response = alices.post(URL, {"url": receiver.url})
    assert response.status_code == 201, response.content
    return response.json()


def at(made, *rest):
    return "/".join([URL + made["id"], *rest, ""])


def test_register_and_get_a_signed_notice(alices, alice, made, receiver):
    assert made["secret"].startswith("whsec_")
    make_job(owner=alice, state="succeeded")
    send_due()
    headers, body = receiver.got[0]
    assert Webhook(made["secret"]).verify(body, headers)["type"] == "job.succeeded"


@pytest.mark.parametrize("format", ["json", "multipart"])
def test_an_endpoint_is_enabled_unless_the_request_says_otherwise(alices, receiver, format):
    for given, expected in (({}, True), ({"enabled": False}, False)):
        made = alices.post(URL, {"url": receiver.url, **given}, format=format)
        assert made.json()["enabled"] is expected


@pytest.mark.parametrize("value", ['["\\ud800"]', "[" * 100_000])
def test_what_cannot_be_quoted_or_read_is_refused(alices, made, value):
    body = f'{{"url": "{made["url"]}", "states": {value}}}'
    for response in (
        alices.post(URL, body, content_type="application/json"),
        alices.patch(at(made), body, content_type="application/json"),
    ):
        assert response.status_code == 400
        assert response.json()["status"] == 400


def test_the_secret_is_shown_once(alices, made):
    assert alices.post(URL, {"url": made["url"]})["Cache-Control"] == "no-store"
    secret = Endpoint.objects.get(pk=made["id"]).secret
    for response in (alices.get(URL), alices.get(at(made)), alices.patch(at(made), {"include_result": True})):
        assert response.status_code == 200
        assert secret not in response.content.decode()
        assert "whsec_" not in response.content.decode()


def test_another_owners_endpoint_is_as_unknown_as_none(alices, bobs, made, receiver):
    make_job(owner=Endpoint.objects.get().owner, state="succeeded")
    message = Delivery.objects.get().webhook_id
    unknown = "01980000-0000-7000-8000-000000000000"
    for method, rest in [
        ("get", ()), ("patch", ()), ("delete", ()), ("post", ("rotate",)), ("post", ("ping",)), ("post", ("resend",)),
        ("get", ("deliveries",)), ("post", ("deliveries", message, "resend")),
    ]:  # fmt: skip
        theirs, none, odd = (
            getattr(bobs, method)(at({"id": pk}, *rest)) for pk in (made["id"], unknown, "x")
        )
        assert theirs.status_code == none.status_code == odd.status_code == 404, (method, rest)
        assert theirs.content == none.content == odd.content
        assert theirs.headers == none.headers
        assert theirs["Content-Type"] == "application/problem+json"
    assert bobs.get(URL).json()["results"] == []
    assert Endpoint.objects.get().deleted_at is None
    assert APIClient().get(URL).status_code == 401
    assert bobs.post(at(made, "deliveries", "nonsense", "resend")).status_code == 404
    assert alices.post(at(made, "deliveries", "nonsense", "resend")).status_code == 404


def test_hostile_urls_are_refused_when_registered_and_when_changed(
    alices, made, resolver, settings, monkeypatch
):
    monkeypatch.setattr(ChangeThrottle, "rate", "10000/min")
    settings.ASYNC_ACCEPT = {}
    resolver["two.example"] = ["8.8.8.8", "10.0.0.1"]
    for url in [*HOSTILE[::5], "https://two.example/"]:  # test_guard.py has all
        for response in (alices.post(URL, {"url": url}), alices.patch(at(made), {"url": url})):
            assert response.status_code == 400, url
            assert list(response.json()["errors"]) == ["url"]
    assert Endpoint.objects.get().url == made["url"]
    assert (
        alices.patch(at(made), {"url": "https://hooks.example/new"}).json()["url"]
        == "https://hooks.example/new"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"states": ["running"]}, {"states": "failed"}, {"operations": ["x" * 101]}, {"include_result": "maybe"}],
)  # fmt: skip
def test_nonsense_is_refused(alices, receiver, wrong):
    assert alices.post(URL, {"url": receiver.url, **wrong}).status_code == 400


def test_an_owner_has_a_bounded_number(alices, made, settings, receiver):
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"WEBHOOK_MAX_ENDPOINTS": 1}
    assert alices.post(URL, {"url": receiver.url}).status_code == 400
    assert alices.delete(at(made)).status_code == 204
    assert alices.get(at(made)).status_code == 404
    assert alices.post(URL, {"url": receiver.url}).status_code == 201


def test_rotation(alices, made, receiver):
    fresh = alices.post(at(made, "rotate"))
    assert fresh["Cache-Control"] == "no-store"
    assert alices.post(at(made, "ping")).status_code == 202
    send_due()
    headers, body = receiver.got[0]
    for secret in (made["secret"], fresh.json()["secret"]):
        assert Webhook(secret).verify(body, headers)["type"] == "ping"


def test_disable_hold_enable_resend(alices, alice, made, receiver):
    assert alices.patch(at(made), {"enabled": False}).json()["disabled_by"] == "owner"
    make_job(owner=alice, state="succeeded")
    for rest in (("ping",), ("resend",), ("deliveries", Delivery.objects.get().webhook_id, "resend")):
        assert alices.post(at(made, *rest)).status_code == 409
    assert alices.patch(at(made), {"enabled": True}).json()["enabled"] is True
    assert send_due() == 0
    assert alices.post(at(made, "resend"), {"since": "2031-01-01T00:00:00Z"}).json() == {"resent": 0}
    assert alices.post(at(made, "resend")).json() == {"resent": 1}
    assert send_due() == 1
    assert alices.get(at(made, "deliveries")).json()["results"][0]["state"] == "delivered"


def test_an_owner_cannot_enable_what_staff_disabled(alices, made):
    Endpoint.objects.get().disable("staff")
    assert alices.patch(at(made), {"enabled": True}).status_code == 400
    assert alices.get(at(made)).json()["enabled"] is False


def test_owners_read_no_more_than_whether_it_arrived(alices, alice, made, receiver):
    """No status, no time, and no word that tells a refusal from a timeout."""
    shown = []
    for outcome in ("4xx", "timeout", "unreachable", "blocked"):
        make_job(owner=alice, state="succeeded")
        row = Delivery.objects.first()
        row.claim()
        shown.append(alices.get(at(made, "deliveries")).json()["results"][0])
        row.fail(outcome)
        shown.append(alices.get(at(made, "deliveries")).json()["results"][0])
    assert {each["state"] for each in shown} == {"waiting", "failed"}
    assert set(shown[0]) == {
        "id", "type", "job_id", "sequence", "state", "attempts", "created_at", "finished_at",
    }  # fmt: skip


def test_resend_one(alices, alice, made, receiver):
    make_job(owner=alice, state="succeeded")
    receiver.behave = answer(410)
    send_due()
    [row] = alices.get(at(made, "deliveries")).json()["results"]
    assert row["state"] == "failed"
    alices.patch(at(made), {"enabled": True})
    receiver.behave = answer(204)
    for _ in range(2):  # to ask again is harmless
        assert alices.post(at(made, "deliveries", row["id"], "resend")).json()["state"] == "waiting"
    send_due()
    come_back_later()
    send_due()
    assert receiver.ids == [row["id"]] * 2
    assert alices.post(at(made, "deliveries", row["id"], "resend")).json()["state"] == "delivered"
    assert len(receiver.got) == 2


def test_changes_are_throttled_and_reading_is_not(alices, made, monkeypatch):
    monkeypatch.setattr(ChangeThrottle, "rate", "3/min")
    codes = {alices.post(at(made, "rotate")).status_code for _ in range(4)}
    assert codes == {200, 429}
    assert alices.get(at(made)).status_code == 200


def test_pages_of_deliveries(alices, alice, made):
    for _ in range(3):
        make_job(owner=alice, state="succeeded")
    first = alices.get(at(made, "deliveries"), {"page_size": 2}).json()
    second = alices.get(first["next"]).json()
    ids = [row["id"] for row in first["results"] + second["results"]]
    assert ids == [row.webhook_id for row in Delivery.objects.all()]
    assert json.dumps(first).count("msg_") == 2
