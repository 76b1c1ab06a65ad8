"""Receivers with Django's client: what is verified, what is stored, and what reaches the work."""

import hmac
import json
import logging
from datetime import timedelta
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.core.management import call_command
from django.db import InterfaceError, transaction
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils import timezone, translation

from async_accept import conf, encoding, receivers, testing
from async_accept.checks.receivers import _check_secrets
from async_accept.db.compiled import insert_if_free
from async_accept.jobs import events, keys
from async_accept.jobs.retention import purge
from async_accept.models import Job, JoinedKey
from async_accept.receivers import body as bodies
from async_accept.testing import accepted_jobs, run_accepted_jobs, sign_request
from tests.testapp import receivers as hooks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db


def send(client: Client, receiver: Any, data: Any, *, query: str = "", **signed: Any) -> Any:
    path = f"/api/hooks/{receiver.__name__.lower()}/{query}"
    return client.post(path, **sign_request(receiver, data, **signed))


def is_refused(response: Any) -> bool:
    document = response.json()
    return response.status_code == 401 and document["code"] == "not-verified" and "X" not in document


# --- Senders -------------------------------------------------------------------------------------------------

#: For each sender: an event, another one, and what signs them.
FORM = "application/x-www-form-urlencoded"
EVENTS: dict[Any, tuple[Any, Any, dict[str, Any]]] = {
    hooks.Standard: ({"a": 1}, None, {"id": "msg_1"}),
    hooks.Stripe: ({"id": "evt_1", "pending": 1}, {"id": "evt_2"}, {}),
    hooks.GitHub: ({"ref": "main"}, {"ref": "other"}, {}),
    hooks.Slack: ({"event_id": "Ev1"}, {"event_id": "Ev2"}, {}),
    hooks.Shopify: ({"id": 1}, {"id": 2}, {}),
    hooks.Shared: ({"id": 1}, None, {"id": "1"}),
    hooks.Zoom: ({"event": "meeting.started", "event_ts": 1}, {"event": "meeting.ended"}, {}),
    hooks.Paddle: ({"event_id": "evt_1"}, {"event_id": "evt_2"}, {}),
    hooks.Twilio: (
        b"CallSid=1&To=%2B1",
        b"CallSid=2&To=%2B1",
        {"url": "https://shop.example/api/hooks/twilio/", "content_type": FORM},
    ),
    hooks.Meta: ({"entry": [{"time": 1}]}, {"entry": [{"time": 2}]}, {}),
}
every_sender = pytest.mark.parametrize("receiver", EVENTS, ids=[each.__name__ for each in EVENTS])


@every_sender
def test_event_is_accepted_once(client, receiver):
    """Contract 22: a repeat is acknowledged alike, with the same job."""
    event, other, signed = EVENTS[receiver]
    first = send(client, receiver, event, **signed)
    assert first.status_code == receiver.accept_status
    again = send(client, receiver, event, **signed, timestamp=timezone.now().timestamp() - 100)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert first["Location"] == again["Location"]
    assert Job.objects.count() == 1
    second = send(client, receiver, other or event, **{**signed, **({} if other else {"id": "another"})})
    assert second["Location"] != first["Location"]
    assert Job.objects.count() == 2
    assert {job.state for job in run_accepted_jobs()} == {"succeeded"}


@every_sender
def test_what_is_not_signed_is_refused_alike(client, receiver):
    """Contract 22: forged, unsigned, late and malformed requests get one and the same 401."""
    event, _, signed = EVENTS[receiver]
    good = sign_request(receiver, event, **signed)
    name = receiver.scheme.header
    path = f"/api/hooks/{receiver.__name__.lower()}/"
    values = ["", "é", "v1,é", "sha256=", "t=,v1=", "v0=\xff", "=" * 9, good["headers"][name][:-1], "\x00"]
    refused = [client.post(path, **{**good, "headers": {**good["headers"], name: value}}) for value in values]
    refused.append(client.post(path, good["data"], content_type=good["content_type"]))
    if not isinstance(receiver.scheme, receivers.SharedSecretReceiver.scheme.__class__):
        refused.append(client.post(path, **{**good, "data": good["data"] + b" "}))
    secret = "whsec_" + "a" * 32
    refused.append(client.post(path, **sign_request(receiver, event, **signed, secret=secret)))
    assert all(map(is_refused, refused)), refused
    assert len({(each.content, str(sorted(each.headers.items()))) for each in refused}) == 1
    assert not Job.objects.exists()


def test_refusal_says_nothing_of_secret_or_request(client, caplog):
    with caplog.at_level(logging.DEBUG):
        response = client.post("/api/hooks/github/", b"private", content_type="text/plain")
    assert is_refused(response)
    assert response["WWW-Authenticate"] == "Signature"
    assert response["Cache-Control"] == "no-store"
    for text in (response.content.decode(), caplog.text):
        assert "private" not in text
        assert hooks.SECRET not in text


def test_every_secret_of_a_rotation_verifies(client, settings):
    for secret in settings.HOOK_SECRETS:
        assert send(client, hooks.Rotated, {"by": secret}, secret=secret).status_code == 202
    old, settings.HOOK_SECRETS = settings.HOOK_SECRETS[0], settings.HOOK_SECRETS[1:]
    assert is_refused(send(client, hooks.Rotated, {"by": "old"}, secret=old))


@pytest.mark.parametrize("secrets", [(), "", [""], [None], None])
def test_receiver_without_secret_takes_nothing(client, settings, secrets, caplog):
    settings.HOOK_SECRETS = secrets
    response = send(client, hooks.Rotated, {}, secret="")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "Rotated has no secret" in caplog.text


def test_secret_may_depend_on_the_request(client):
    def post(tenant, of):
        request = sign_request(hooks.GitHub, {"a": 1}, secret=f"{hooks.SECRET} of {of}")
        return client.post(f"/api/hooks/asked/{tenant}/", **request)

    assert is_refused(post("one", "two"))
    assert post("one", "one").content == b"[accepted]"
    assert post("two", "two").status_code == 200
    assert Job.objects.count() == 2
    assert accepted_jobs()[0].input["event"]["path"] == {"tenant": "one"}


@pytest.mark.parametrize(("age", "status"), [(0, 202), (4, 202), (-4, 202), (7, 401), (-7, 401)])
def test_tolerance_is_the_views_own(client, age, status):
    made = timezone.now().timestamp() - age
    assert send(client, hooks.Brief, {"id": "1"}, timestamp=made).status_code == status


# --- Handshakes ----------------------------------------------------------------------------------------------


def handshakes(client):
    yield send(client, hooks.Slack, {"type": "url_verification", "challenge": "a b<c>"}), b"a b<c>"
    token = {"event": "endpoint.url_validation", "payload": {"plainToken": "a b<c>"}}
    yield send(client, hooks.Zoom, token), None
    query = {"hub.mode": "subscribe", "hub.verify_token": "told to Meta", "hub.challenge": "a b<c>"}
    yield client.get("/api/hooks/meta/", query), b"a b<c>"
    yield client.get("/api/hooks/dropbox/", {"challenge": "a b<c>"}), b"a b<c>"
    yield client.post("/api/hooks/graph/?validationToken=a%20b%3Cc%3E"), b"a b<c>"
    ping = sign_request(hooks.GitHub, {"zen": 1}, headers={"X-GitHub-Event": "ping"})
    yield client.post("/api/hooks/github/", **ping), b"pong"


def test_handshakes_make_no_job(client):
    for response, body in handshakes(client):
        assert response.status_code == 200
        assert response["X-Content-Type-Options"] == "nosniff"
        if isinstance(body, bytes):
            assert response.content == body
            assert response["Content-Type"] == "text/plain; charset=utf-8"
        else:
            document = response.json()
            assert document["plainToken"] == "a b<c>"
            digest = hmac.new(hooks.SECRET.encode(), b"a b<c>", "sha256")
            assert document["encryptedToken"] == digest.hexdigest()
    assert not Job.objects.exists()


@pytest.mark.parametrize("token", ["", "x" * 1001, "a\r\nb", "a\0", "\u202e"])
def test_token_is_bounded(client, token):
    meta = {"hub.mode": "subscribe", "hub.verify_token": "told to Meta", "hub.challenge": token}
    zoom = {"event": "endpoint.url_validation", "payload": {"plainToken": token}}
    answers = [
        client.get("/api/hooks/meta/", meta),
        client.get("/api/hooks/dropbox/", {"challenge": token}),
        client.post("/api/hooks/graph/", QUERY_STRING=urlencode({"validationToken": token})),
        send(client, hooks.Slack, {"type": "url_verification", "challenge": token}),
        send(client, hooks.Zoom, zoom),
    ]
    assert all(map(is_refused, answers))


@pytest.mark.parametrize(
    "query", [{}, {"hub.mode": "subscribe"}, {"hub.mode": "subscribe", "hub.verify_token": "guessed"}]
)
def test_handshake_of_a_stranger_is_refused(client, query):
    assert is_refused(client.get("/api/hooks/meta/", {**query, "hub.challenge": "1"}))
    unsigned = {"data": b'{"type": "url_verification", "challenge": "x"}', "content_type": "application/json"}
    assert is_refused(client.post("/api/hooks/slack/", **unsigned))


@pytest.mark.parametrize("token", [None, "", lambda self: None])
def test_handshake_without_a_token_of_ours_is_refused(client, monkeypatch, token):
    monkeypatch.setattr(hooks.Meta, "verify_token", token)
    query = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "1"}
    assert is_refused(client.get("/api/hooks/meta/", query))


def test_other_methods(client):
    for method in ("get", "put", "patch", "delete"):
        assert getattr(client, method)("/api/hooks/github/").status_code == 405
    assert client.options("/api/hooks/github/")["Allow"] == "POST, OPTIONS"


# --- The body ------------------------------------------------------------------------------------------------

BODIES = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"a\0b",
    "é\u2028".encode(),
    b'{"a": 1}\r\n',
    b"\xed\xa0\x80",
    bytes(range(256)),
    b"[" * 5000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_body_reaches_the_work_byte_for_byte(client, body):
    assert send(client, hooks.Standard, body, content_type="text/plain").status_code == 202
    [job] = run_accepted_jobs()
    assert testing.running._result(job)["body"] == body.hex()


def test_chosen_headers_reach_the_work_and_no_signature(client):
    extra = {"X-Extra": "caf\xe9", "X-Other": "no"}
    send(client, hooks.Standard, {}, id="msg_7", headers=extra)
    [job] = run_accepted_jobs()
    assert testing.running._result(job) | {"body": ""} == {
        "id": "msg_7",
        "body": "",
        "headers": {"Content-Type": "application/json", "Webhook-Id": "msg_7", "X-Extra": "caf\xe9"},
    }


def test_secret_in_a_header_is_never_stored(client, monkeypatch):
    monkeypatch.setattr(hooks.Shared, "accept_headers", ("x-webhook-secret", "X-Bad"))
    request = sign_request(hooks.Shared, {}, id="1", headers={"X-Bad": "\0"})
    assert client.post("/api/hooks/shared/", **request).status_code == 202
    assert hooks.SECRET not in json.dumps([accepted_jobs()[0].input, accepted_jobs()[0].request])
    assert list(accepted_jobs()[0].input["event"]["headers"]) == ["Content-Type", "X-Event-Id"]


def touch_post(get_response):
    def middleware(request):
        len(request.POST)
        return get_response(request)

    return middleware


def touch_stream(get_response):
    def middleware(request):
        request.read(5)
        return get_response(request)

    return middleware


MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\xff\0\r\n--x--\r\n \r\n'
)
FORMS = {"multipart/form-data; boundary=x": MULTIPART, FORM: b"a=1&b=%FF", "application/json": b"{}"}


@pytest.mark.parametrize("name", ["", "touch_post", "touch_stream"])
@pytest.mark.parametrize("kind", FORMS)
def test_forms_verify_whatever_a_middleware_has_read(client, settings, name, kind):
    """Contract 22: the bytes that were signed."""
    if name:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.{name}"]
    if name == "touch_stream" and kind != "multipart/form-data; boundary=x":
        pytest.skip("Nothing but a parser reads a stream.")
    response = send(client, hooks.Standard, FORMS[kind], content_type=kind)
    assert response.status_code == 202
    [job] = run_accepted_jobs()
    assert testing.running._result(job)["body"] == FORMS[kind].hex()
    forged = sign_request(hooks.Standard, FORMS[kind], content_type=kind, secret=hooks.STANDARD[:-3] + "AAA")
    assert is_refused(client.post("/api/hooks/standard/", **forged))


@pytest.mark.parametrize("has_length", [True, False])
def test_forms_verify_under_asgi(has_length):
    """There the body is a file, which can be read again; its length may be unknown (chunked)."""
    kind = "multipart/form-data; boundary=x"
    made = sign_request(hooks.Standard, MULTIPART, content_type=kind)["headers"]
    headers = [*made.items(), ("Content-Type", kind)]
    headers += [("Content-Length", str(len(MULTIPART)))] if has_length else []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/hooks/standard/",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    with SpooledTemporaryFile() as body:
        body.write(MULTIPART)
        body.seek(0)
        request = ASGIRequest(scope, body)
        len(request.POST)
        assert hooks.Standard.as_view()(request).status_code == 202
    [job] = run_accepted_jobs()
    assert testing.running._result(job)["body"] == MULTIPART.hex()


def test_asynchronous_client_of_django():
    request = sign_request(hooks.Standard, {})
    assert async_to_sync(AsyncClient().post)("/api/hooks/standard/", **request).status_code == 202
    assert async_to_sync(AsyncClient().post)("/api/hooks/standard/").status_code == 401


def test_lost_body_is_503(caplog):
    """A request that no handler has announced, and whose form was read."""
    request = RequestFactory().post(
        "/", **sign_request(hooks.Standard, MULTIPART, content_type="multipart/form-data; boundary=x")
    )
    len(request.POST)
    assert hooks.Standard.as_view()(request).status_code == 503
    assert "was read before" in caplog.text


def test_body_above_the_limit_is_refused_unread(client):
    """Contract 22: 413 before it is read, also if it is signed."""

    class Unread:
        def read(self, *size):
            raise AssertionError("The body was read.")

        readline = read

    request = sign_request(hooks.Brief, b"x" * 101)
    assert client.post("/api/hooks/brief/", **request).status_code == 413
    assert send(client, hooks.Brief, b"x" * 100).status_code == 202
    for length in ("101", "0" * 20 + "101"):
        announced = client.generic(
            "POST", "/api/hooks/brief/", b"", CONTENT_LENGTH=length, **{"wsgi.input": Unread()}
        )
        assert announced.status_code == 413
    chunked = client.generic("POST", "/api/hooks/brief/", b"", HTTP_TRANSFER_ENCODING="chunked")
    assert chunked.status_code == 411


def test_no_request_makes_a_stream_remember_more_than_a_receiver_takes():
    """Whatever it says of its length, and whatever its URL."""
    most = max(bodies._largest, conf.conf.MAX_INPUT_BYTES)
    lie, truth = (
        {
            "CONTENT_TYPE": "multipart/form-data",
            "CONTENT_LENGTH": length,
            "wsgi.input": BytesIO(b"x" * (most + 9)),
        }
        for length in ("0" * 20 + str(most + 9), str(most))
    )
    for environ in (lie, truth):
        bodies._on_request(None, environ)
    assert isinstance(lie["wsgi.input"], BytesIO)
    remembering = truth["wsgi.input"]
    while remembering.read(1000):
        pass
    assert sum(map(len, remembering.kept)) == most


@pytest.mark.parametrize("secrets", [123, True, object()])
def test_what_is_no_secret_is_told_and_verifies_nothing(client, settings, caplog, secrets):
    settings.HOOK_SECRET = secrets

    class Numbered(hooks.GitHub):
        secrets_setting = "HOOK_SECRET"

    request = RequestFactory().post("/", **sign_request(hooks.GitHub, {}))
    assert Numbered.as_view()(request).status_code == 503
    assert "has no secret, or one that cannot be used" in caplog.text
    assert [each.id for each in _check_secrets(Numbered())] == ["async_accept.E012"]


# --- The same signed request, written otherwise -----------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "To=%2B1&CallSid=1",
        "CallSid=%31&To=%2B1",
        "CallSid=1&To=%2b1",
        "CallSid=1&CallSid=1&To=%2B1",
        "CallSid=1&&To=%2B1",
        "CallSi=d1&To=%2B1",
    ],
)
def test_a_form_that_is_written_in_another_way_is_the_same_event(client, form):
    """Twilio signs what the fields say, so one who has seen a request could write it anew without the secret."""
    signed = {"url": "https://shop.example/api/hooks/twilio/", "content_type": FORM}
    request = sign_request(hooks.Twilio, b"CallSid=1&To=%2B1", **signed)
    assert client.post("/api/hooks/twilio/", **request).status_code == 204
    assert client.post("/api/hooks/twilio/", **{**request, "data": form.encode()}).status_code == 204
    assert len(accepted_jobs()) == 1


@pytest.mark.parametrize("kind", ["text/plain", FORM, "application/json; charset=utf-8"])
def test_a_type_that_is_not_signed_makes_no_second_event(client, kind):
    request = sign_request(hooks.Slack, {"event_id": "Ev1"})
    assert client.post("/api/hooks/slack/", **request).status_code == 202
    assert client.post("/api/hooks/slack/", **{**request, "content_type": kind}).status_code == 202
    assert len(accepted_jobs()) == 1


def test_djangos_own_limit_is_413(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert send(client, hooks.Standard, b"x" * 11).status_code == 413


# --- What cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("receiver", [hooks.Stripe, hooks.Slack, hooks.Ordered, hooks.Batch])
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000], ids=["cut", "bytes", "deep"])
def test_genuine_body_that_cannot_be_read_is_one_failed_job(client, receiver, body):
    """No 401, and no storm: the sender would repeat it for days."""
    first, again = send(client, receiver, body), send(client, receiver, body)
    assert (first.status_code, again.status_code) == (202, 202)
    [job] = run_accepted_jobs()
    assert (job.state, job.problem["code"], job.attempt) == ("failed", "event-unreadable", 1)


def test_event_of_another_form_than_expected_is_one_failed_job(client):
    assert send(client, hooks.Ordered, {"subject": 1}).status_code == 202
    [job] = run_accepted_jobs(raises=False)
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert "reference" in job.problem


@pytest.mark.parametrize("levels", range(encoding.DEPTH - 2, encoding.DEPTH + 2))
def test_order_key_of_any_depth_is_no_error_of_the_request(client, levels):
    """Where it is too deep to be hashed, the job tells: the event is genuine."""
    deep: object = 1
    for _ in range(levels):
        deep = [deep]
    assert send(client, hooks.Ordered, {"object": deep}).status_code == 202
    assert Job.objects.count() == 1


@pytest.mark.parametrize("hook", ["order_key", "sequence"])
def test_repeat_of_an_event_that_could_not_be_read_is_the_same_event(client, monkeypatch, hook):
    """The id could be read, whatever else failed: a lookup of the project's, for example."""
    with monkeypatch.context() as broken:
        broken.setattr(hooks.Standard, hook, lambda self, event: {}["gone"], raising=False)
        first = send(client, hooks.Standard, {"a": 1}, id="msg_1")
    again = send(client, hooks.Standard, {"a": 1}, id="msg_1")
    assert first["Location"] == again["Location"]
    assert Job.objects.count() == 1


@pytest.mark.parametrize("hook", ["event_id", "order_key", "sequence", "split", "handshake"])
def test_database_that_is_away_while_an_event_is_read_is_503(client, monkeypatch, hook):
    """Else the event would lose its id or its order."""

    def fail(self, event):
        raise InterfaceError("connection is closed")

    with monkeypatch.context() as broken:
        broken.setattr(hooks.Standard, hook, fail, raising=False)
        response = send(client, hooks.Standard, {"a": 1}, id="msg_1")
    assert (response.status_code, response["Retry-After"].isdecimal()) == (503, True)
    assert not Job.objects.exists()


def test_event_is_read_again_as_it_was_received(client, monkeypatch):
    """In the language and the time zone of the request, by which also its route is found."""
    seen = []

    def fail(self, event):
        seen.append((translation.get_language(), timezone.get_current_timezone_name()))
        raise KeyError("on purpose")

    monkeypatch.setattr(hooks.Ordered, "order_key", fail)
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        captured = events.capture(RequestFactory().post("/x"), atomic=True, unread=True)
    send(client, hooks.Ordered, {"object": 1})
    kept = Job.objects.get().request
    Job.objects.update(request=kept | {name: captured[name] for name in ("language", "time_zone")})
    run_accepted_jobs(raises=False)
    assert set(seen[1:]) == {("de", "Asia/Tokyo")}


@pytest.mark.parametrize("data", [{"id": 5}, {"id": None}, {"id": ""}, [], "x", {"id": "\ud800"}])
def test_strange_ids_are_no_error(client, data):
    assert send(client, hooks.Stripe, data).status_code == 202
    assert send(client, hooks.Stripe, data).status_code == 202
    assert Job.objects.count() == 1


@pytest.mark.urls("tests.receivers.test_receiving")
def test_url_that_cannot_be_stored_is_refused(client):
    request = sign_request(hooks.GitHub, {})
    request["headers"]["X-Request-Id"] = "a\0b"
    assert client.post("/tenants/a/", **request).status_code == 202
    assert is_refused(client.post("/tenants/a%00b/", **request))


urlpatterns = [path("tenants/<str:tenant>/", hooks.GitHub.as_view())]


# --- Repeats ---------------------------------------------------------------------------------------------------


def test_captured_body_with_a_new_id_makes_no_second_job(client):
    for receiver in (hooks.GitHub, hooks.Shopify):
        first = send(client, receiver, {"a": 1}, id="one")
        assert send(client, receiver, {"a": 1}, id="two").content == first.content
    assert Job.objects.count() == 2


def test_events_without_any_id_are_events_of_their_own(client):
    """Two notifications of Dropbox, or of a simple sender, have the same body."""
    for receiver in (hooks.Dropbox, hooks.Shared):
        for _ in range(2):
            send(client, receiver, {"a": 1}, id="")
    assert Job.objects.count() == 4


def test_id_is_kept_longer_than_its_job(client):
    first = send(client, hooks.Brief, {"id": "1"})
    [job] = run_accepted_jobs()
    purge([job.pk])
    again = send(client, hooks.Brief, {"id": "1"})
    assert (again.status_code, again.content) == (202, first.content)
    assert not Job.objects.exists()


def test_id_is_forgotten_after_its_time(client):
    send(client, hooks.Brief, {"id": "1"})
    [key] = JoinedKey.objects.all()
    assert timedelta(minutes=59) < key.kept_until - timezone.now() <= timedelta(hours=1)
    keys.forget_expired()
    assert JoinedKey.objects.exists()
    [job] = run_accepted_jobs()
    purge([job.pk])
    JoinedKey.objects.update(kept_until=timezone.now() - timedelta(seconds=1))
    assert send(client, hooks.Brief, {"id": "1"}).status_code == 202
    assert Job.objects.count() == 1
    JoinedKey.objects.update(kept_until=timezone.now() - timedelta(seconds=1))
    keys.forget_expired()
    assert not JoinedKey.objects.exists()


def test_id_outlives_the_lifetime_of_ordinary_keys(client):
    """A sender repeats for three days; the setting says one."""
    old = timezone.now() - 3 * conf.conf.IDEMPOTENCY_KEY_LIFETIME
    first = send(client, hooks.Standard, {})
    Job.objects.update(created_at=old)
    JoinedKey.objects.update(created_at=old)
    keys.forget_expired()
    assert send(client, hooks.Standard, {}).content == first.content
    assert Job.objects.count() == 1


def test_rollback_leaves_the_id_free(client):
    with transaction.atomic():
        assert send(client, hooks.Standard, {}).status_code == 202
        transaction.set_rollback(True)
    assert not Job.objects.exists()
    assert not JoinedKey.objects.exists()
    assert send(client, hooks.Standard, {}).status_code == 202
    assert len(accepted_jobs()) == 1


# --- Batches ---------------------------------------------------------------------------------------------------


def test_batch_makes_as_many_jobs(client):
    response = send(client, hooks.Batch, [{"id": "1"}, {"id": "2"}, {"id": "1"}])
    first, second, repeat = response.json()["jobs"]
    assert first == repeat != second
    assert [job.input["event"]["body"]["text"] for job in accepted_jobs()] == ['{"id": "1"}', '{"id": "2"}']
    more = send(client, hooks.Batch, [{"id": "2"}, {"id": "3"}])
    assert more.json()["jobs"][0] == second
    assert len(accepted_jobs()) == 3
    assert send(client, hooks.Batch, []).json() == {"jobs": []}


def test_batch_that_cannot_be_stored_whole_makes_no_job(client, monkeypatch):
    monkeypatch.setattr("async_accept.receivers.storing.MAX_BATCH", 2)
    assert send(client, hooks.Batch, [{"id": str(number)} for number in range(3)]).status_code == 413
    monkeypatch.undo()
    calls = []

    def fails(job, using):
        calls.append(job)
        if len(calls) == 2:
            raise transaction.DatabaseError("gone")
        return insert_if_free(job, using)

    monkeypatch.setattr("async_accept.jobs.accept.insert_if_free", fails)
    response = send(client, hooks.Batch, [{"id": "1"}, {"id": "2"}])
    assert (response.status_code, response["Retry-After"], len(calls)) == (503, "5", 2)
    assert not Job.objects.exists()


def test_events_of_one_batch_keep_their_order(client, monkeypatch):
    monkeypatch.setattr(hooks.Batch, "order_key", lambda self, event: "one", raising=False)
    answer = send(client, hooks.Batch, [{"id": str(number)} for number in range(9)])
    ran = run_accepted_jobs()
    assert [str(job.pk) for job in sorted(ran, key=lambda job: job.started_at)] == answer.json()["jobs"]


def test_graph_notifications_become_jobs_without_their_secret(client):
    def post(*states):
        value = [{"clientState": state, "resource": str(number)} for number, state in enumerate(states)]
        return client.post("/api/hooks/graph/", {"value": value}, content_type="application/json")

    assert post(hooks.SECRET, hooks.SECRET).status_code == 202
    assert [job.input["event"]["body"]["text"] for job in accepted_jobs()] == [
        '{"resource": "0"}',
        '{"resource": "1"}',
    ]
    for states in ([], ["wrong"], [hooks.SECRET, "wrong"], [hooks.SECRET, None], ["\ud800"]):
        assert is_refused(post(*states))
    for body in (b"", b"{", b"[]", b'{"value": 1}', b'{"value": [1]}', b"\xff", b"[" * 5000):
        assert is_refused(client.post("/api/hooks/graph/", body, content_type="application/json"))
    assert len(accepted_jobs()) == 2


# --- Following and rerunning -----------------------------------------------------------------------------------


def test_jobs_of_receivers_are_for_staff_alone(client, alices, boss):
    response = send(client, hooks.GitHub, {"a": 1})
    job = testing.assert_accepted(response, operation="hooks.github")
    assert (job.owner_id, job.anonymous) == (None, False)
    for url in (response["Location"], response["Operation-Location"]):
        assert alices.get(url).status_code == 404
        assert client.get(url).status_code == 401  # as for every id that is no anonymous caller's job
        assert boss.get(url).status_code in (200, 202)
    assert alices.delete(response["Operation-Location"]).status_code == 404


def test_rerun_by_staff_ignores_the_window_and_repeats_the_bytes(client, boss):
    send(client, hooks.Standard, b"\xff")
    [job] = run_accepted_jobs()
    Job.objects.update(created_at=timezone.now() - timedelta(days=2))
    response = boss.post(f"/api/jobs/{job.pk}/rerun/")
    assert response.status_code == 202
    assert [testing.running._result(each)["body"] for each in run_accepted_jobs()] == ["ff"]


def test_body_in_the_admin_hides_secrets(client, boss):
    send(client, hooks.GitHub, {"api_key": "s3cret", "ref": "main"})
    send(client, hooks.GitHub, b"token=s3cret&ref=main", content_type=FORM)
    send(client, hooks.GitHub, b"the s3cret", content_type="text/plain")
    send(client, hooks.GitHub, b"\xffs3cret", content_type="text/plain")
    for job in accepted_jobs():
        page = boss.get(f"/admin/async_accept/job/{job.pk}/change/").content.decode()
        assert "X-GitHub-Delivery" in page
        assert "s3cret" not in page


@pytest.mark.parametrize(
    "body",
    [b'{"a": "\\ud800"}', b'{"\\ud800": 1}', b'{"a":' * 900 + b"1" + b"}" * 900, b"[NaN]", b"9" * 5000],
    ids=["surrogate", "key", "deep", "NaN", "digits"],
)
def test_admin_shows_every_event_that_was_stored(client, boss, body):
    assert send(client, hooks.GitHub, body).status_code == 202
    [job] = accepted_jobs()
    page = boss.get(f"/admin/async_accept/job/{job.pk}/change/")
    assert page.status_code == 200
    assert f"({len(body)} bytes)" in page.content.decode()


def test_handle_and_the_end_of_its_job_commit_together(client, monkeypatch):
    send(client, hooks.GitHub, {"a": 1})

    def fails(self, event):
        Note.objects.create(slug="half")
        raise KeyError("on purpose")

    monkeypatch.setattr(hooks.GitHub, "handle", fails)
    [job] = run_accepted_jobs(raises=False)
    assert job.state == "failed"
    assert not Note.objects.exists()


def test_no_cookie_or_login_is_asked_for(settings):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    strict = Client(enforce_csrf_checks=True)
    assert send(strict, hooks.GitHub, {}).status_code == 202


def test_checks_pass_for_the_receivers():
    call_command("check", "--tag", "async_accept", fail_level="WARNING")
