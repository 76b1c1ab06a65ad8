"""One receiver for each sender, and one for each option."""

import json
from datetime import timedelta
from uuid import uuid4

from celery import shared_task
from django.urls import path

from async_accept import receivers
from async_accept.tasks import JobTask

from .models import Note

SECRET = "a secret that is long enough"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@shared_task(base=JobTask)
def note_event(event):
    """Return what the work got."""
    return {"id": event.id, "body": event.body.hex(), "headers": dict(event.headers.items())}


class Noted:
    """The work of a receiver: it writes down what it got, and returns that."""

    secrets = SECRET

    def handle(self, event):
        Note.objects.create(slug=uuid4().hex, title=event.id[:50])
        return {"id": event.id, "size": len(event.body)}


class Standard(receivers.StandardWebhooksReceiver):
    secrets = STANDARD
    accept_operation = "hooks.standard"
    accept_task = note_event
    accept_headers = ("X-Extra",)


class Stripe(Noted, receivers.StripeReceiver):
    accept_operation = "hooks.stripe"


class GitHub(Noted, receivers.GitHubReceiver):
    accept_operation = "hooks.github"


class Slack(Noted, receivers.SlackReceiver):
    accept_operation = "hooks.slack"


class Shopify(Noted, receivers.ShopifyReceiver):
    accept_operation = "hooks.shopify"


class Shared(Noted, receivers.SharedSecretReceiver):
    accept_operation = "hooks.shared"
    id_header = "X-Event-Id"


class Zoom(Noted, receivers.ZoomReceiver):
    accept_operation = "hooks.zoom"


class Paddle(Noted, receivers.PaddleReceiver):
    accept_operation = "hooks.paddle"


class Twilio(Noted, receivers.TwilioReceiver):
    accept_operation = "hooks.twilio"
    public_url = "https://shop.example"


class Meta(Noted, receivers.MetaReceiver):
    accept_operation = "hooks.meta"
    verify_token = "told to Meta"


class Dropbox(Noted, receivers.DropboxReceiver):
    accept_operation = "hooks.dropbox"


class Graph(Noted, receivers.MicrosoftGraphReceiver):
    accept_operation = "hooks.graph"


class Ordered(receivers.GitHubReceiver):
    """Events of one object in order; ``{"object": 1, "number": 2, "fail": true}``."""

    secrets = SECRET
    accept_operation = "hooks.ordered"

    def order_key(self, event):
        return event.data["object"]

    def sequence(self, event):
        return event.data.get("number")

    def handle(self, event):
        if event.data.get("fail"):
            raise KeyError("on purpose")
        Note.objects.create(slug=uuid4().hex, title=event.body.decode()[:50])


class Rotated(Noted, receivers.GitHubReceiver):
    """Two secrets, from a setting."""

    secrets_setting = "HOOK_SECRETS"
    accept_operation = "hooks.rotated"


class Asked(Noted, receivers.GitHubReceiver):
    """A secret for each tenant, from a method; an exact 200 as acknowledgement."""

    accept_operation = "hooks.asked"
    accept_status = 200
    accept_body = "[accepted]"

    def secrets(self):
        return [f"{SECRET} of {self.kwargs['tenant']}"]


class Brief(Noted, receivers.StripeReceiver):
    """A small body, a short window, ids that are kept for an hour."""

    accept_operation = "hooks.brief"
    accept_max_bytes = 100
    tolerance = timedelta(seconds=5)
    keep_ids = timedelta(hours=1)


class Batch(receivers.GitHubReceiver):
    """A list of events."""

    secrets = SECRET
    accept_operation = "hooks.batch"
    accept_task = note_event

    def split(self, event):
        return [receivers.ReceivedEvent("", json.dumps(each).encode(), event.headers) for each in event.data]

    def event_id(self, event):
        return event.data["id"]


ALL = [
    Standard, Stripe, GitHub, Slack, Shopify, Shared, Zoom, Paddle, Twilio, Meta, Dropbox, Graph,
    Ordered, Rotated, Brief, Batch,
]  # fmt: skip

urlpatterns = [
    *(path(f"{receiver.__name__.lower()}/", receiver.as_view()) for receiver in ALL),
    path("asked/<slug:tenant>/", Asked.as_view()),
]
