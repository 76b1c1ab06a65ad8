"""The page of the inbox: what the shop has sent, what came in, and a switch that takes the receiver down."""

from collections import Counter
from typing import Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.generic import TemplateView

from . import notices
from .api_client import error_text
from .pages import Page

__all__ = ["InboxView"]


class InboxView(LoginRequiredMixin, Page, TemplateView):
    """Shows the notices of the visitor's jobs. A form says in `do` what to do."""

    template_name = "shop/inbox.html"

    def handle_no_permission(self) -> HttpResponse:
        return redirect(f"{reverse(settings.LOGIN_URL)}?next={reverse('shop:inbox')}")

    def get_context_data(self, problem: str = "", **kwargs: Any) -> dict[str, Any]:
        inbox = notices.inbox_of(self.request)
        told = notices.told(inbox) if inbox else []
        last = inbox and inbox.received.last()
        return super().get_context_data(
            **kwargs,
            **notices.waits(),
            inbox=inbox,
            told=told,
            count=_count(told),
            last=last,
            problem=problem,
        )

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not notices.is_offered():
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        response = self._do(request, request.POST.get("do", ""))
        if response is not None and response.status_code >= 400:
            context = self.get_context_data(problem=error_text(response.data))
            return self.render_to_response(context, status=response.status_code)
        return redirect("shop:inbox")

    def _do(self, request: HttpRequest, what: str) -> Any:
        """Do it, and return the response of the API, if that was called."""
        if what == "register":
            return notices.register(request)
        inbox = notices.inbox_of(request)
        if inbox is None or what not in {"job", "down", "up", "again"}:
            raise Http404
        if what == "job":
            return notices.start_job(request)
        if what == "again":
            return notices.send_again(request, inbox, request.POST.get("delivery", ""))
        inbox.is_down = what == "down"
        return inbox.save(update_fields=["is_down"])


def _count(told: list[notices.Told]) -> str:
    """Return how many notices are in each state: "3 notices: 2 delivered, 1 waiting"."""
    states = Counter("waiting" if one.delivery.state == "sending" else one.delivery.state for one in told)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{len(told)} notice{'' if len(told) == 1 else 's'}: {counts}" if told else "No notices"
