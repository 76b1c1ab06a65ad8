"""The shop's pages: everything works by plain forms and links; scripts only make it livelier."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView

from .asking import ask, latest_job, result_of, sentence
from .cards import CARDS, Card, shown_columns
from .happened import exchanges, remember
from .models import Product
from .policy import POLICY
from .seed import ACCOUNTS

__all__ = ["DemoLoginView", "HomeView", "NotPaidView", "OutcomeView", "SendView"]

# Not admin: whoever clicks on a page should not become its master by that.
_CLICKABLE = tuple(account.username for account in ACCOUNTS if not account.is_superuser)
_REMEMBERED = timedelta(hours=1)
"""For how long a card shows a job to a visitor who comes back."""


class Page(View):
    """Base of the shop's pages."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = super().dispatch(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        # Going back must ask again: a job may have ended meanwhile.
        response["Cache-Control"] = "no-store"
        return response


@method_decorator(ensure_csrf_cookie, name="dispatch")
class HomeView(Page, TemplateView):
    """A card for each kind of slow request, to be clicked."""

    template_name = "shop/home.html"

    def get_context_data(self, problems: dict[str, str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            **kwargs,
            columns=[
                [self._entry(card, (problems or {}).get(card.name, "")) for card in column]
                for column in shown_columns()
            ],
            products=Product.objects.all(),
            demo_logins=_CLICKABLE if settings.DEMO_LOGIN else (),
            token=self._token(),
            max_bytes=settings.IMPORT_MAX_BYTES,
        )

    def _entry(self, card: Card, problem: str) -> dict[str, Any]:
        since = (timezone.now() - _REMEMBERED).isoformat()
        known = self.request.user.is_authenticated
        job = latest_job(self.request, card.operation, since) if known else None
        told = exchanges(self.request)
        return {
            "card": card,
            "exchange": told.get(card.name),
            "is_latest": card.name in list(told)[-1:],
            "key": uuid4(),
            "problem": problem,
            "said": self.request.POST if problem else {},
            **_outcome(self.request, card, job),
        }

    def _token(self) -> str:
        """For curl lines that can be pasted; only of the demo, where it is no secret."""
        name = self.request.user.get_username()
        tokens = (account.token for account in ACCOUNTS if account.username == name)
        return next(tokens, "") if settings.DEMO_LOGIN else ""


class SendView(LoginRequiredMixin, HomeView):
    """A card's form without JavaScript: asks the API, and leads on to the status page of the job."""

    http_method_names = ["post"]
    # What is said in headers, or only to the page.
    own_fields = ("csrfmiddlewaretoken", "key", "wait")

    def handle_no_permission(self) -> HttpResponse:
        return redirect(f"{reverse(settings.LOGIN_URL)}?next={reverse('shop:home')}")

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        card = CARDS.get(name)
        if card is None:
            raise Http404
        form, headers = self._form(request), self._headers(request)
        answer = ask(request, "POST", card.api_url, form=form, headers=headers)
        remember(request, card, form, headers, answer, self._token())
        monitor = answer.headers.get("Operation-Location")
        if monitor:
            return HttpResponse(status=303, headers={"Location": monitor})
        context = self.get_context_data(problems={name: sentence(answer.data)})
        return self.render_to_response(context, status=answer.status_code)

    def _form(self, request: HttpRequest) -> QueryDict:
        """What the card's fields say, with the line ends of everybody else: a browser sends its own."""
        form = QueryDict(mutable=True)
        for field, values in request.POST.lists():
            # A browser without a chosen file sends an empty field.
            if field not in self.own_fields and any(values):
                form.setlist(field, [value.replace("\r\n", "\n") for value in values])
        return form

    def _headers(self, request: HttpRequest) -> dict[str, str]:
        """A form cannot send headers; its fields stand for them."""
        headers = {}
        if key := request.POST.get("key"):
            headers["Idempotency-Key"] = f'"{key}"'
        if wait := request.POST.get("wait"):
            headers["Prefer"] = f"wait={wait}"
        return headers


class OutcomeView(LoginRequiredMixin, Page, TemplateView):
    """What came out of one job; a card's script takes it from here."""

    template_name = "shop/outcome.html"

    def get_context_data(self, pk: UUID, **kwargs: Any) -> dict[str, Any]:
        answer = ask(self.request, "GET", reverse("async_accept:job-detail", args=[pk]))
        cards = {card.operation: card for card in CARDS.values()}
        card = cards.get(answer.data.get("operation", "")) if answer.status_code == 200 else None
        if card is None:
            raise Http404
        return super().get_context_data(**kwargs, card=card, **_outcome(self.request, card, answer.data))


class NotPaidView(LoginRequiredMixin, View):
    """The orders of a batch that were not paid, as a CSV file to mend and send again."""

    def get(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        result = result_of(request, pk)
        if not isinstance(result, dict) or "errors_csv" not in result:
            raise Http404
        headers = {"Content-Disposition": 'attachment; filename="not-paid.csv"'}
        return HttpResponse(result["errors_csv"], content_type="text/csv; charset=utf-8", headers=headers)


class DemoLoginView(View):
    """Log in as alice or bob without a password; only where DEMO_LOGIN says so, else 404."""

    def post(self, request: HttpRequest) -> HttpResponse:
        username = request.POST.get("username")
        if not settings.DEMO_LOGIN or username not in _CLICKABLE:
            raise Http404
        user = get_object_or_404(get_user_model(), username=username, is_active=True)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("shop:home")


def _outcome(request: HttpRequest, card: Card, job: dict[str, Any] | None) -> dict[str, Any]:
    ended_well = job is not None and job["status"] == "succeeded" and card.has_outcome
    return {"job": job, "outcome": result_of(request, job["id"]) if job and ended_well else None}
