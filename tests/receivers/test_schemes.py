"""Contract 22: what senders have published verifies, and nothing else does."""

import hmac
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from async_accept.receivers import schemes, senders
from async_accept.receivers.schemes import Message

NOW = 1_614_265_330
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET = "It's a Secret to Everybody"

SCHEMES = {
    name: getattr(senders, name).scheme for name in senders.__all__ if name not in ("MicrosoftGraphReceiver",)
}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


def secret_of(scheme):
    return STANDARD_SECRET if isinstance(scheme, schemes.StandardScheme) else SECRET


def verified(scheme, headers, message, secrets=None, *, now=NOW, tolerance=timedelta(minutes=5)):
    return scheme.verify(headers, message, secrets or [secret_of(scheme)], now=now, tolerance=tolerance)


PUBLISHED = {
    "Standard Webhooks": (
        senders.StandardWebhooksReceiver.scheme,
        {
            "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "Webhook-Timestamp": "1614265330",
            "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        Message(b'{"test": 2432232314}'),
        STANDARD_SECRET,
    ),
    "GitHub": (
        senders.GitHubReceiver.scheme,
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        Message(b"Hello, World!"),
        SECRET,
    ),
    "Twilio": (
        senders.TwilioReceiver.scheme,
        {"X-Twilio-Signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ="},
        Message(
            b"Digits=1234&To=%2B18005551212&From=%2B12349013030&Caller=%2B12349013030&CallSid=CA1234567890ABCDE",
            url="https://mycompany.com/myapp.php?foo=1&bar=2",
            content_type="application/x-www-form-urlencoded",
        ),
        "12345",
    ),
}


@pytest.mark.parametrize(("scheme", "headers", "message", "secret"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_vector_verifies_and_changed_ones_do_not(scheme, headers, message, secret):
    assert verified(scheme, headers, message, [secret])
    assert verified(scheme, headers, message, ["another secret1"[:16], secret])
    assert not verified(scheme, headers, message, [secret[:-1] + "x"])
    assert not verified(scheme, headers, message._replace(body=message.body + b" "), [secret])
    if message.url:
        assert not verified(scheme, headers, message._replace(url=message.url + "3"), [secret])


def test_stripe_package_signs_what_is_taken():
    body = b'{"id": "evt_1", "object": "event"}'
    made = stripe.WebhookSignature._compute_signature(f"{NOW}.{body.decode()}", "whsec_stripe")
    header = {"Stripe-Signature": f"t={NOW},v1={'0' * 64},v1={made},v0=ignored"}
    assert verified(senders.StripeReceiver.scheme, header, Message(body), ["whsec_stripe"])
    ours = senders.StripeReceiver.scheme.sign(Message(body, str(NOW)), ["whsec_stripe", "whsec_new"])
    for secret in ("whsec_stripe", "whsec_new"):
        value = ours["Stripe-Signature"]
        assert stripe.WebhookSignature.verify_header(body.decode(), value, secret, tolerance=None)


def test_standardwebhooks_package_signs_what_is_taken_and_takes_what_is_signed():
    body, now = b'{"a": 1}', datetime.now(UTC)
    theirs = standardwebhooks.Webhook(STANDARD_SECRET)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": theirs.sign("msg_1", now, body.decode()),
    }
    scheme = senders.StandardWebhooksReceiver.scheme
    assert verified(scheme, headers, Message(body), now=now.timestamp())
    ours = scheme.sign(Message(body, headers["Webhook-Timestamp"], "msg_1"), [STANDARD_SECRET])
    assert theirs.verify(body, {name.lower(): value for name, value in ours.items()}) == {"a": 1}


@every_scheme
def test_signed_message_verifies_in_its_window_only(scheme):
    message = Message(b'{"a": 1}', str(NOW), "msg_1", "https://shop.example/?bodySHA256=")
    if isinstance(scheme, schemes.TwilioScheme):
        message = message._replace(
            body=b"a=1", url="https://x/", content_type="application/x-www-form-urlencoded"
        )
    headers = scheme.sign(message, [secret_of(scheme)])
    assert verified(scheme, headers, message)
    has_time = bool(scheme.read(headers).timestamp)
    for seconds in (301, -301):
        assert verified(scheme, headers, message, now=NOW + seconds) is not has_time
        assert verified(scheme, headers, message, now=NOW + seconds, tolerance=None)


BAD_TIMES = ["", " ", "-1", "+1", "1.0", "1e9", "٣", "1_0", "0x10", "9" * 13, "nan", "1 ", "\n1"]


@pytest.mark.parametrize("time", BAD_TIMES)
def test_malformed_time_is_refused_however_it_is_signed(time):
    timed = [each for each in SCHEMES.values() if hasattr(each, "timestamp_header") or hasattr(each, "time")]
    assert len(timed) == 4
    for scheme in [*timed, senders.StandardWebhooksReceiver.scheme]:
        headers = scheme.sign(Message(b"{}", time, "msg_1"), [secret_of(scheme)])
        assert not verified(scheme, headers, Message(b"{}"), tolerance=None)


@pytest.mark.parametrize("id", ["", "a b", "a\n", "é", "a.1", "x" * 256])
def test_id_that_could_be_read_in_two_ways_is_refused(id):
    scheme = senders.StandardWebhooksReceiver.scheme
    headers = scheme.sign(Message(b"{}", str(NOW), id), [STANDARD_SECRET])
    assert not verified(scheme, headers, Message(b"{}"))


def test_twilio_body_that_the_url_does_not_name_is_refused():
    scheme = senders.TwilioReceiver.scheme
    named = f"https://shop.example/?bodySHA256={schemes.sha256(b'{}').hexdigest()}"
    message = Message(b"{}", url=named, content_type="application/json")
    headers = scheme.sign(message, [SECRET])
    assert verified(scheme, headers, message)
    form = "application/x-www-form-urlencoded"
    for body, kind, url in [
        (b"{ }", "application/json", named),
        (b"&&&", form, named),
        (b"", "", named),
        (b"{}", "application/json", "https://shop.example/"),
    ]:
        other = Message(body, url=url, content_type=kind)
        made = hmac.new(SECRET.encode(), url.encode(), "sha1").digest()
        theirs = {"X-Twilio-Signature": schemes.b64encode(made).decode()}
        assert not verified(scheme, theirs, other)


@settings(max_examples=40)
@given(
    values=st.lists(st.text(st.characters(codec="latin-1"), max_size=40), min_size=3, max_size=3),
    body=st.binary(max_size=40),
)
def test_no_header_is_more_than_refused(values, body):
    """Malformed base64, non-ASCII and doubled fields are all False, never an error."""
    for scheme in SCHEMES.values():
        names = scheme.sign(Message(b"", str(NOW), "msg_1"), [secret_of(scheme)])
        headers = dict(zip(names, values, strict=False))
        assert not verified(scheme, headers, Message(body, content_type="application/json"))
