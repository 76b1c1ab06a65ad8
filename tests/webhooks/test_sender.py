"""Contract 21: one attempt reaches only what was checked, ends in time, and reads hardly anything."""

import gzip
import json
import shutil
import ssl
import subprocess
import threading
import time
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook

from async_accept.webhooks import guard, sender, signing
from async_accept.webhooks.sender import post
from tests import servers
from tests.webhooks.receiver import answer, drip, flood, hang_up, raw
from tests.webhooks.test_guard import HOSTILE

BOMB = gzip.compress(bytes(5_000_000))


def send(url, seconds=2.0):
    return post(url, b'{"a":1}', {"Content-Type": "application/json"}, seconds)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "2xx"), (204, "2xx"), (299, "2xx"), (301, "3xx"), (410, "4xx"), (503, "5xx")],
)
def test_the_class_of_the_status_is_the_outcome(receiver, status, outcome):
    receiver.behave = answer(status)
    assert send(receiver.url)[:2] == (outcome, status)
    assert len(receiver.got) == 1
    headers, body = receiver.got[0]
    assert body == b'{"a":1}'
    assert headers["host"] == receiver.url.split("/")[2]
    assert headers["user-agent"].startswith("django-async-accept/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_body_not_decoded(receiver, status, monkeypatch):
    """requests reads and unpacks the body of a redirect that it does not follow."""
    receiver.behave = answer(status, BOMB, Location=receiver.url, Content_Encoding="gzip")
    monkeypatch.setattr("requests.Response.content", property(lambda self: pytest.fail("It was decoded.")))
    assert send(receiver.url).outcome == "3xx"
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (drip, "timeout"),
        (raw(b"HTTP/1.1 200 OK\r\nX-Cut: o"), "unreachable"),
        (raw(b"HTTP/1.1 200 OK\r\nX-Cut: off\r\n"), "unreachable"),
        (lambda handler: time.sleep(0.4), "timeout"),
        (hang_up, "unreachable"),
        (flood, "2xx"),
        (raw(b"no HTTP at all\r\n\r\n"), "unreachable"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), "unreachable"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200), "unreachable"),
        (raw(b"HTTP/1.1 77 X\r\n\r\n"), "unreachable"),
        (raw(b"HTTP/1.1 999 X\r\n\r\n"), "9xx"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "2xx"),
    ],
)
def test_whatever_the_receiver_does_it_ends_in_time(receiver, behave, outcome):
    receiver.behave = behave
    began = time.monotonic()
    assert send(receiver.url, 0.2).outcome == outcome
    assert time.monotonic() - began < 1


def test_nobody_listens(receiver):
    receiver.stop()
    assert send(receiver.url).outcome == "unreachable"


def test_the_environment_has_no_say(receiver, monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    (tmp_path / ".netrc").write_text("default login alice password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert send(receiver.url).delivered
    assert "authorization" not in receiver.got[0][0]


# --- Where it goes ------------------------------------------------------------------------------------------


@pytest.fixture
def strict(receiver, settings, resolver):
    """The receiver hears what reaches this machine, and nothing may."""
    settings.ASYNC_ACCEPT = {"WEBHOOK_ALLOW_HTTP": True, "WEBHOOK_PORTS": None}
    return receiver


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://unknown.example/"])
def test_what_goes_nowhere_leaves_no_thread(strict, url):
    before = threading.active_count()
    assert send(url).outcome in ("blocked", "unreachable")
    watching = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    for each in watching:
        each.join(0.5)
    assert threading.active_count() <= before


def test_no_hostile_url_reaches_the_machine(strict, resolver):
    port = strict.server.server_port
    resolver["evil.example"] = ["127.0.0.1"]
    resolver["two.example"] = ["8.8.8.8", "127.0.0.1"]
    resolver["mapped.example"] = ["::ffff:127.0.0.1"]
    hosts = ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "[::1]", "[::ffff:7f00:1]", "evil.example",
             "two.example", "mapped.example", "0", "[64:ff9b::7f00:1]")  # fmt: skip
    for host in hosts:
        assert post(f"http://{host}:{port}/", b"{}", {}, 1.0).outcome == "blocked", host
    del resolver["hooks.example"]
    for url in HOSTILE:
        assert post(url, b"{}", {}, 1.0).outcome in ("blocked", "unreachable"), url
    assert strict.got == []


def test_a_name_that_changes_its_mind_is_asked_once(receiver, resolver, monkeypatch, settings):
    """Rebinding: the connection goes to the address that was checked."""
    asked = []
    monkeypatch.setattr(guard, "lookup", lambda host, port: asked.append(host) or ["127.0.0.1"])

    def refuse(host, *args, **kwargs):
        assert host == "127.0.0.1", f"{host} was looked up again"
        return [(2, 1, 6, "", (host, receiver.server.server_port))]

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert send(f"http://rebind.example:{receiver.server.server_port}/hook").delivered
    assert asked == ["rebind.example"]
    assert receiver.got[0][0]["host"] == f"rebind.example:{receiver.server.server_port}"


def test_the_second_address_is_tried_if_nothing_was_sent_to_the_first(receiver, resolver, monkeypatch):
    tried = []
    exchange = sender._exchange

    def count(target, address, *args):
        tried.append(str(address))
        return exchange(target, address, *args)

    monkeypatch.setattr(sender, "_exchange", count)
    resolver["two.example"] = ["127.0.0.2", "127.0.0.1"]  # the receiver listens on the second one only
    url = f"http://two.example:{receiver.server.server_port}/"
    assert send(url).delivered
    receiver.behave = hang_up
    resolver["two.example"].reverse()
    assert send(url).outcome == "unreachable"
    assert tried == ["127.0.0.2", "127.0.0.1", "127.0.0.1"]


def test_tls_asks_for_the_name_and_connects_to_the_address(monkeypatch, resolver):
    """Also through NAT64, which the package itself refuses."""
    resolver["six.example"] = ["64:ff9b::808:808"]
    seen = []

    class Pool:
        pass

    def stop(self, host, port=None, scheme="http", pool_kwargs=None):
        seen.append((host, port, scheme, pool_kwargs["server_hostname"], pool_kwargs["assert_hostname"]))
        raise OSError("enough")

    monkeypatch.setattr("urllib3.PoolManager.connection_from_host", stop)
    for name in ("hooks.example", "six.example"):
        assert post(f"https://{name}:8443/", b"", {}).outcome == "unreachable"
    assert seen == [
        ("93.184.215.14", 8443, "https", "hooks.example", "hooks.example"),
        ("[64:ff9b::808:808]", 8443, "https", "six.example", "six.example"),
    ]


@pytest.fixture
def certificate(tmp_path):
    """A certificate for hooks.example that nobody has signed."""
    if shutil.which("openssl") is None:
        servers.do_without("needs openssl")
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    options = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    names = ["-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example"]
    command = ["openssl", "req", "-x509", *options, *names, "-keyout", key, "-out", made]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


def test_the_certificate_must_be_the_names(receiver, resolver, certificate, monkeypatch):
    """The connection goes to an address; TLS must not check that in place of the name."""
    made, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    asked = []
    context.sni_callback = lambda sock, name, context: asked.append(name)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    port = receiver.server.server_port
    for name in ("hooks.example", "other.example"):
        resolver[name] = ["127.0.0.1"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made))  # the environment has no say
    assert send(f"https://hooks.example:{port}/").outcome == "unreachable"
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(made))
    assert send(f"https://hooks.example:{port}/").delivered
    assert send(f"https://other.example:{port}/").outcome == "unreachable"
    assert send(f"https://127.0.0.1:{port}/").outcome == "unreachable"
    assert asked[:3] == ["hooks.example", "hooks.example", "other.example"]
    assert len(receiver.got) == 1


# --- Signatures ---------------------------------------------------------------------------------------------


def test_standardwebhooks_verifies_each_secret_of_a_rotation():
    old, new = signing.new_secret(), signing.new_secret()
    body = json.dumps({"wörter": "ä"}, ensure_ascii=False)
    headers = signing.headers("msg_1", body, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body.encode(), headers) == {"wörter": "ä"}
    with pytest.raises(Exception, match="No matching"):
        Webhook(signing.new_secret()).verify(body, headers)


def test_the_public_vector_and_any_time_zone():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    moment = datetime.fromtimestamp(1614265330, timezone(timedelta(hours=5, minutes=30)))
    for when in (moment, moment.astimezone(UTC)):
        headers = signing.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', [secret], when)
        assert headers["webhook-timestamp"] == "1614265330"
        assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_32_random_bytes():
    made = {signing.new_secret() for _ in range(10)}
    assert len(made) == 10
    assert {len(b64decode(secret.removeprefix("whsec_"))) for secret in made} == {32}
