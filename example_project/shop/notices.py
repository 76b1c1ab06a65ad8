"""The other half of webhooks: the shop tells a customer's inbox when a job has ended.

A customer registers the URL of the inbox in the shop's API, as any client would. From then on, the end of each of the
customer's jobs is one delivery, with its attempts.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from rest_framework.response import Response

from async_accept.conf import DEFAULTS, conf
from async_accept.models import Job
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.states import DeliveryState
from example_project.inbox.models import Inbox, Received

from .api_client import call_api

__all__ = ["Told", "inbox_of", "is_offered", "register", "send_again", "start_job", "told", "waits"]

_SHOWN = 20
# A report of this size takes about a second.
_SMALL_REPORT = {"rows": "20000", "days": "7"}


@dataclass
class Told:
    """One delivery, as the shop's staff see it, and what of it came in."""

    delivery: Delivery
    operation: str
    received: list[Received] = field(default_factory=list)

    @property
    def is_dead(self) -> bool:
        return self.delivery.state in {DeliveryState.FAILED, DeliveryState.HELD}


def is_offered() -> bool:
    """Whether webhooks may go to this machine, where the inbox is. The demo allows it, for its own port only."""
    return bool(conf.WEBHOOK_ALLOW_LOOPBACK)


def waits() -> dict[str, Any]:
    """Return how long the shop waits after each attempt that fails, and whether that is the default."""
    chosen = list(conf.WEBHOOK_RETRY_DELAYS)
    return {"waits": chosen, "are_default": chosen == list(DEFAULTS["WEBHOOK_RETRY_DELAYS"])}


def inbox_of(request: HttpRequest) -> Inbox | None:
    """Return the visitor's inbox, if it is registered at the shop's present URL."""
    if not request.user.is_authenticated:
        return None
    inbox = Inbox.objects.filter(owner=request.user).first()
    if inbox is None:
        return None
    endpoints = Endpoint.objects.alive().filter(pk=inbox.endpoint, url=_url(request, inbox), disabled_at=None)
    return inbox if endpoints.exists() else None


def register(request: HttpRequest) -> Response:
    """Register the visitor's inbox, and let it keep the secret, which the API shows once. Return the response."""
    inbox, _ = Inbox.objects.get_or_create(owner=request.user)
    if inbox.endpoint is not None:  # such as one for another port
        call_api(request, "DELETE", reverse("async_accept_webhooks:endpoint-detail", args=[inbox.endpoint]))
    form = QueryDict(mutable=True)
    form["url"] = _url(request, inbox)
    response = call_api(request, "POST", reverse("async_accept_webhooks:endpoint-list"), form=form)
    if response.status_code == 201:
        inbox.endpoint, inbox.secret = UUID(response.data["id"]), response.data["secret"]
        inbox.save(update_fields=["endpoint", "secret"])
    return response


def send_again(request: HttpRequest, inbox: Inbox, delivery: str) -> Response:
    """Send a notice again that was not delivered. It keeps its id."""
    url = reverse("async_accept_webhooks:delivery-resend", args=[inbox.endpoint, delivery])
    return call_api(request, "POST", url)


def start_job(request: HttpRequest) -> Response:
    """Start a short job of the visitor's, to be told of."""
    form = QueryDict(mutable=True)
    form.update(_SMALL_REPORT)
    return call_api(request, "POST", reverse("report"), form=form)


def told(inbox: Inbox) -> list[Told]:
    """Return the newest deliveries to the inbox, the newest first."""
    deliveries = Delivery.objects.filter(endpoint=inbox.endpoint).defer("body").order_by("-id")[:_SHOWN]
    operations = dict(
        Job.objects.filter(pk__in=[each.job_id for each in deliveries]).values_list("pk", "operation")
    )
    received = defaultdict(list)
    for each in inbox.received.filter(webhook_id__in=[each.webhook_id for each in deliveries]):
        received[each.webhook_id].append(each)
    return [Told(each, operations.get(each.job_id, ""), received[each.webhook_id]) for each in deliveries]


def _url(request: HttpRequest, inbox: Inbox) -> str:
    # Not the host of the request, which the client names: the inbox is a part of this very server.
    return f"http://127.0.0.1:{request.META['SERVER_PORT']}{reverse('inbox:receive', args=[inbox.pk])}"
