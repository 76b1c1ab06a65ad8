"""The shop's pages. They are plain forms and links, and work without JavaScript; scripts add live updates."""

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

from example_project.inbox.receiver import receive, verified

from . import notices, orders, provider
from .api_client import call_api, error_text, latest_job, result_of
from .cards import CARDS, Card, shown_columns, source
from .csp import POLICY
from .exchanges import exchanges, remember
from .inventory import OutOfStock
from .models import Order, Product
from .payment_events import PaymentEvents
from .seed import ACCOUNTS

__all__ = ["DemoLoginView", "HomeView", "NotPaidView", "ResultView", "SendView", "SimulateView"]

# Not admin: one click on a public page must not give anybody the rights of staff.
_ONE_CLICK_LOGINS = tuple(account.username for account in ACCOUNTS if not account.is_superuser)
# The session keeps the last simulation of the payment provider.
_PAYMENT_KEY = "payment"
# A card shows the visitor's latest job if it is not older than this.
_SHOWN_FOR = timedelta(hours=1)


class Page(View):
    """Base of the shop's pages."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = super().dispatch(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        # The browser's Back button must load the page again, because the job may have ended meanwhile.
        response["Cache-Control"] = "no-store"
        return response


@method_decorator(ensure_csrf_cookie, name="dispatch")
class HomeView(Page, TemplateView):
    """One card for each kind of slow request."""

    template_name = "shop/home.html"

    def get_context_data(self, problems: dict[str, str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            **kwargs,
            columns=[
                [self._entry(card, (problems or {}).get(card.name, "")) for card in column]
                for column in shown_columns()
            ],
            products=Product.objects.all(),
            payment=self._payment(),
            payment_code=source(PaymentEvents),
            is_inbox_offered=notices.is_offered(),
            inbox=notices.inbox_of(self.request),
            inbox_code=f"{source(notices.register)}\n\n{source(receive)}\n\n{source(verified)}",
            demo_logins=_ONE_CLICK_LOGINS if settings.DEMO_LOGIN else (),
            token=self._token(),
            max_bytes=settings.IMPORT_MAX_BYTES,
        )

    def _entry(self, card: Card, problem: str) -> dict[str, Any]:
        since = (timezone.now() - _SHOWN_FOR).isoformat()
        logged_in = self.request.user.is_authenticated
        job = latest_job(self.request, card.operation, since) if logged_in else None
        kept = exchanges(self.request)
        return {
            "card": card,
            "exchange": kept.get(card.name),
            "is_latest": card.name in list(kept)[-1:],
            "key": uuid4(),
            "problem": problem,
            "typed": self.request.POST if problem else {},
            **_job_and_result(self.request, card, job),
        }

    def _payment(self) -> dict[str, Any] | None:
        """Return the visitor's last simulation, with its order; None if there is none."""
        kept = self.request.session.get(_PAYMENT_KEY)
        user: Any = self.request.user
        if kept is None or not user.is_authenticated:
            return None
        order = Order.objects.filter(pk=kept["order"], customer=user).first()
        return order and {"order": order, "sent": kept["sent"]}

    def _token(self) -> str:
        """Return the visitor's token for the curl lines. Only the demo shows it; its tokens are no secret."""
        name = self.request.user.get_username()
        tokens = (account.token for account in ACCOUNTS if account.username == name)
        return next(tokens, "") if settings.DEMO_LOGIN else ""


class SendView(LoginRequiredMixin, HomeView):
    """Handles a card's form without JavaScript: calls the API, and redirects to the page of the job."""

    http_method_names = ["post"]
    # Fields that are no part of the API's input: `key` and `wait` become headers.
    own_fields = ("csrfmiddlewaretoken", "key", "wait")

    def handle_no_permission(self) -> HttpResponse:
        return redirect(f"{reverse(settings.LOGIN_URL)}?next={reverse('shop:home')}")

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        card = CARDS.get(name)
        if card is None:
            raise Http404
        form, headers = self._form(request), self._headers(request)
        response = call_api(request, "POST", card.api_url, form=form, headers=headers)
        remember(request, card, form, headers, response, self._token())
        monitor = response.headers.get("Operation-Location")
        if monitor:
            return HttpResponse(status=303, headers={"Location": monitor})
        context = self.get_context_data(problems={name: error_text(response.data)})
        return self.render_to_response(context, status=response.status_code)

    def _form(self, request: HttpRequest) -> QueryDict:
        form = QueryDict(mutable=True)
        for field, values in request.POST.lists():
            # A browser sends an empty field if no file was chosen.
            if field not in self.own_fields and any(values):
                # Browsers send CRLF at the ends of lines.
                form.setlist(field, [value.replace("\r\n", "\n") for value in values])
        return form

    def _headers(self, request: HttpRequest) -> dict[str, str]:
        headers = {}
        if key := request.POST.get("key"):
            headers["Idempotency-Key"] = f'"{key}"'
        if wait := request.POST.get("wait"):
            headers["Prefer"] = f"wait={wait}"
        return headers


class SimulateView(LoginRequiredMixin, HomeView):
    """Places an order, lets the simulated provider tell that it was paid, and shows the three answers."""

    http_method_names = ["post"]

    def handle_no_permission(self) -> HttpResponse:
        return redirect(f"{reverse(settings.LOGIN_URL)}?next={reverse('shop:home')}")

    def post(self, request: HttpRequest) -> HttpResponse:
        product = Product.objects.filter(stock__gt=0).first()
        try:
            if product is None:
                raise OutOfStock(Product(name="Everything"), 1)
            order = orders.place(request.user, orders.new_reference(), [(product, 1)])
        except OutOfStock as error:
            return self.render_to_response(self.get_context_data(payment_problem=str(error)), status=409)
        request.session[_PAYMENT_KEY] = {"order": order.pk, "sent": provider.simulate(request, order)}
        return redirect(f"{reverse('shop:home')}#payment")


class ResultView(LoginRequiredMixin, Page, TemplateView):
    """The result of one job. A card's script copies it from this page into the card."""

    template_name = "shop/result.html"

    def get_context_data(self, pk: UUID, **kwargs: Any) -> dict[str, Any]:
        response = call_api(self.request, "GET", reverse("async_accept:job-detail", args=[pk]))
        job = response.data if response.status_code == 200 else {}
        cards = {card.operation: card for card in CARDS.values()}
        card = cards.get(job.get("operation", ""))
        if card is None:
            raise Http404
        return super().get_context_data(**kwargs, card=card, **_job_and_result(self.request, card, job))


class NotPaidView(LoginRequiredMixin, View):
    """The orders of a batch that were not paid, as a CSV file to correct and send again."""

    def get(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        result = result_of(request, pk)
        if not isinstance(result, dict) or "errors_csv" not in result:
            raise Http404
        headers = {"Content-Disposition": 'attachment; filename="not-paid.csv"'}
        return HttpResponse(result["errors_csv"], content_type="text/csv; charset=utf-8", headers=headers)


class DemoLoginView(View):
    """Logs in as alice or bob without a password. Answers 404 if the setting DEMO_LOGIN is off."""

    def post(self, request: HttpRequest) -> HttpResponse:
        username = request.POST.get("username")
        if not settings.DEMO_LOGIN or username not in _ONE_CLICK_LOGINS:
            raise Http404
        user = get_object_or_404(get_user_model(), username=username, is_active=True)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("shop:home")


def _job_and_result(request: HttpRequest, card: Card, job: dict[str, Any] | None) -> dict[str, Any]:
    has_result = job is not None and job["status"] == "succeeded" and card.has_result
    return {"job": job, "result": result_of(request, job["id"]) if job and has_result else None}
