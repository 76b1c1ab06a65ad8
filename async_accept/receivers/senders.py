"""The receivers for well-known senders: how each signs, names its events, and shakes hands."""

import hmac
import json
from hashlib import sha256
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from ..exceptions import AcceptRefused, NotVerified
from ..jobs.events import ReceivedEvent
from . import answers
from .base import Receiver
from .schemes import (
    BodyScheme,
    PairsScheme,
    PlainScheme,
    Scheme,
    StandardScheme,
    TimestampScheme,
    TwilioScheme,
)

__all__ = [
    "DropboxReceiver",
    "GitHubReceiver",
    "MetaReceiver",
    "MicrosoftGraphReceiver",
    "PaddleReceiver",
    "SharedSecretReceiver",
    "ShopifyReceiver",
    "SlackReceiver",
    "StandardWebhooksReceiver",
    "StripeReceiver",
    "TwilioReceiver",
    "ZoomReceiver",
]


def _member(data: Any, *names: str) -> str | None:
    """Return the text in *data* under these names, one inside the other; None if there is none."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, str) and data else None


class StandardWebhooksReceiver(Receiver):
    """For senders that follow Standard Webhooks: https://www.standardwebhooks.com."""

    scheme = StandardScheme()
    id_header = "Webhook-Id"
    id_is_signed = True


class StripeReceiver(Receiver):
    """For Stripe, and for senders that sign alike: https://docs.stripe.com/webhooks#verify-manually.

    The id of an event is the member ``id`` of its body.
    """

    scheme: ClassVar[Scheme] = PairsScheme("Stripe-Signature")

    def event_id(self, event: ReceivedEvent) -> str | None:
        return _member(event.data, "id")


class PaddleReceiver(StripeReceiver):
    """For Paddle: https://developer.paddle.com/webhooks/signature-verification."""

    scheme = PairsScheme("Paddle-Signature", time="ts", signature="h1", separator=";", joint=":")

    def event_id(self, event: ReceivedEvent) -> str | None:
        return _member(event.data, "event_id")


class GitHubReceiver(Receiver):
    """For GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.

    GitHub does not sign the id of a delivery, so the body tells a repeat. A ``ping`` is acknowledged and makes no job.
    """

    scheme = BodyScheme("X-Hub-Signature-256", "sha256=")
    id_header = "X-GitHub-Delivery"
    sender_headers = ("X-GitHub-Event",)

    def handshake(self, event: ReceivedEvent) -> HttpResponse | None:
        if event.headers.get("X-GitHub-Event") != "ping":
            return None
        return answers.acknowledged(200, "pong", {})


class ShopifyReceiver(Receiver):
    """For Shopify: https://shopify.dev/docs/apps/build/webhooks/subscribe/https.

    Shopify signs neither the id nor the topic, so the body tells a repeat. Two topics may have one body: give each its
    own URL, with an ``accept_operation`` of its own.
    """

    scheme = BodyScheme("X-Shopify-Hmac-Sha256", is_base64=True)
    id_header = "X-Shopify-Event-Id"
    sender_headers = ("X-Shopify-Topic", "X-Shopify-Shop-Domain", "X-Shopify-Triggered-At")


class SlackReceiver(Receiver):
    """For Slack's events, commands and interactions: https://api.slack.com/authentication/verifying-requests-from-slack.

    Slack wants an answer within three seconds, and shakes hands once (``url_verification``).
    """

    scheme = TimestampScheme("X-Slack-Signature", "X-Slack-Request-Timestamp")
    sender_headers = ("X-Slack-Retry-Num", "X-Slack-Retry-Reason")

    def event_id(self, event: ReceivedEvent) -> str | None:
        return _member(event.data, "event_id") if self._is_json(event) else None

    @staticmethod
    def _is_json(event: ReceivedEvent) -> bool:
        """Whether the body is JSON; else a form. Its type is not signed, so it alone does not decide."""
        return event.content_type == "application/json" or event.body.lstrip()[:1] == b"{"

    def handshake(self, event: ReceivedEvent) -> HttpResponse | None:
        if not self._is_json(event) or _member(event.data, "type") != "url_verification":
            return None
        return answers.echoed(_member(event.data, "challenge"))


class ZoomReceiver(Receiver):
    """For Zoom: https://developers.zoom.us/docs/api/webhooks/#verify-with-zooms-header.

    Zoom shakes hands every 72 hours (``endpoint.url_validation``), which is answered with the first of the secrets.
    """

    scheme = TimestampScheme("X-Zm-Signature", "X-Zm-Request-Timestamp")

    @method_decorator(sensitive_variables())
    def handshake(self, event: ReceivedEvent) -> HttpResponse | None:
        if _member(event.data, "event") != "endpoint.url_validation":
            return None
        token = _member(event.data, "payload", "plainToken")
        answers.echoed(token)  # refuses one that is malformed
        assert token is not None
        encrypted = hmac.new(self.get_secrets()[0].encode(), token.encode(), sha256).hexdigest()
        body = {"plainToken": token, "encryptedToken": encrypted}
        return answers.acknowledged(200, body, {})


class SharedSecretReceiver(Receiver):
    """For senders that put the secret itself into a header, as GitLab and Telegram do.

    Neither the body nor its time is signed, so https alone protects them. Each request is an event of its own, unless
    ``id_header`` names a header with its id, or ``event_id()`` finds it in the body.
    """

    scheme: ClassVar[Scheme] = PlainScheme("X-Webhook-Secret")
    id_is_signed = True
    same_body_is_repeat = False


class TwilioReceiver(Receiver):
    """For Twilio: https://www.twilio.com/docs/usage/webhooks/webhooks-security.

    Twilio signs the URL, so ``public_url`` says what that is. It wants TwiML or an empty body as answer.
    """

    scheme = TwilioScheme()
    accept_status = 204
    public_url: str | None = ""


class MetaReceiver(Receiver):
    """For Meta (Facebook, Instagram, WhatsApp): https://developers.facebook.com/docs/graph-api/webhooks/getting-started.

    Meta shakes hands by a GET that has ``verify_token``, which you choose.
    """

    http_method_names = ["get", "post", "options"]

    scheme = BodyScheme("X-Hub-Signature-256", "sha256=")
    #: What you have told Meta, to know its GET; a string, or a method that returns one.
    verify_token: Any = ""

    @method_decorator(sensitive_variables())
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send the challenge back, if Meta's token is ours."""
        ours = (self.verify_token() if callable(self.verify_token) else self.verify_token) or ""
        theirs = request.GET.get("hub.verify_token", "")
        known = hmac.compare_digest(sha256(_bytes(ours)).digest(), sha256(_bytes(theirs)).digest())
        if not (ours and known and request.GET.get("hub.mode") == "subscribe"):
            return answers.refused(NotVerified())
        return _echo(request.GET.get("hub.challenge"))


class DropboxReceiver(Receiver):
    """For Dropbox: https://www.dropbox.com/developers/reference/webhooks.

    Its notifications only say whose files have changed, so each has the body of the one before, and is an event of its
    own. Dropbox shakes hands by a GET.
    """

    http_method_names = ["get", "post", "options"]

    scheme = BodyScheme("X-Dropbox-Signature")
    same_body_is_repeat = False

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send the challenge back."""
        return _echo(request.GET.get("challenge"))


class MicrosoftGraphReceiver(Receiver):
    """For Microsoft Graph: https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks.

    The secret is the ``clientState`` of the subscription, which each notification in the body repeats. They become as
    many jobs. Graph shakes hands by a POST with ``?validationToken``.
    """

    scheme = PlainScheme("")
    same_body_is_repeat = False

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send the token back, or receive the notifications."""
        token = request.GET.get("validationToken")
        return super().post(request, *args, **kwargs) if token is None else _echo(token)

    @method_decorator(sensitive_variables())
    def verify(self, request: HttpRequest, body: bytes) -> bool:
        """Tell whether every notification has one of the secrets."""
        secrets = [sha256(_bytes(secret)).digest() for secret in self.get_secrets()]
        try:
            told = [_member(each, "clientState") for each in json.loads(body)["value"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            return False  # what has no secret in it is not genuine
        theirs = [sha256(_bytes(state or "")).digest() for state in told]
        # sum() and not any(), which would stop early: the time shall not tell which secret is the right one.
        return bool(theirs) and all(sum(hmac.compare_digest(a, b) for a in secrets) for b in theirs)

    def split(self, event: ReceivedEvent) -> list[ReceivedEvent] | None:
        return [
            ReceivedEvent("", json.dumps(_without_state(each)).encode(), event.headers, event.path_kwargs)
            for each in event.data["value"]
        ]

    def event_id(self, event: ReceivedEvent) -> str | None:
        return _member(event.data, "id")


def _without_state(notification: dict[str, Any]) -> dict[str, Any]:
    """Return *notification* without the secret, which is not stored."""
    return {name: value for name, value in notification.items() if name != "clientState"}


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _echo(token: str | None) -> HttpResponse:
    try:
        return answers.echoed(token)
    except AcceptRefused as refusal:
        return answers.refused(refusal)
