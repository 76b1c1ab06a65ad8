"""What staff can do with endpoints and deliveries. Each has a limit, and is written to the admin's log."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from ..admin.actions import Outcome, PerJobAction
from .models import Delivery, Endpoint
from .resending import LIMIT, resend
from .states import DeliveryState, DisabledBy

__all__ = ["DISABLE", "ENABLE", "RESEND"]


class WebhookAction(PerJobAction):
    """An action on endpoints or deliveries."""

    limit = LIMIT
    limited = gettext_lazy(
        "One go takes at most %(number)s of them, the oldest first. Repeat it for the rest."
    )

    def applies(self, job: Any) -> bool:
        return False  # the list offers it


class Resend(WebhookAction):
    name, button, yes = "resend", gettext_lazy("Send again"), pgettext_lazy("answer", "Yes, send again")
    condition = Q(
        state__in=[DeliveryState.FAILED, DeliveryState.HELD],
        endpoint__disabled_at=None,
        endpoint__deleted_at=None,
    )
    excuse = gettext_lazy("Left alone, because they did not fail or their endpoint is disabled")
    entry = gettext_lazy("Sent again.")

    def question(self, count: int) -> str:
        return ngettext("Send %(count)s delivery again?", "Send %(count)s deliveries again?", count)

    def done(self, count: int) -> str:
        return ngettext("%(count)s delivery is sent again.", "%(count)s deliveries are sent again.", count)

    def perform(self, request: HttpRequest, rows: Sequence[Any]) -> Outcome:
        chosen = set(resend(Delivery.objects.filter(pk__in=[row.pk for row in rows])))
        return Outcome([row for row in rows if row.pk in chosen])


class Disable(WebhookAction):
    name, button, yes = "disable", gettext_lazy("Disable"), pgettext_lazy("answer", "Yes, disable")
    condition = Q(disabled_at=None)
    entry = gettext_lazy("Disabled.")

    def question(self, count: int) -> str:
        return ngettext("Disable %(count)s endpoint?", "Disable %(count)s endpoints?", count)

    def done(self, count: int) -> str:
        return ngettext("%(count)s endpoint was disabled.", "%(count)s endpoints were disabled.", count)

    def do(self, request: HttpRequest, endpoint: Any) -> bool:
        return bool(endpoint.disable(DisabledBy.STAFF))


class Enable(WebhookAction):
    name, button, yes = "enable", gettext_lazy("Enable"), pgettext_lazy("answer", "Yes, enable")
    condition = Q(disabled_at__isnull=False)
    entry = gettext_lazy("Enabled.")

    def question(self, count: int) -> str:
        return ngettext("Enable %(count)s endpoint?", "Enable %(count)s endpoints?", count)

    def done(self, count: int) -> str:
        return ngettext("%(count)s endpoint was enabled.", "%(count)s endpoints were enabled.", count)

    def perform(self, request: HttpRequest, rows: Sequence[Any]) -> Outcome:
        Endpoint.objects.filter(pk__in=[endpoint.pk for endpoint in rows]).enable()
        return Outcome(rows)


RESEND, DISABLE, ENABLE = Resend(), Disable(), Enable()
