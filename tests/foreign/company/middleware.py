"""What every request of the company's project goes through."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation

from . import tenancy

Next = Callable[[HttpRequest], HttpResponse]


def twin(get_response: Next) -> Next:
    """Serve a request with ``X-Twin: plain`` by the views without a mixin; for the comparison only."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Twin") == "plain":
            request.urlconf = "tests.foreign.plain_urls"  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def tenant(get_response: Next) -> Next:
    """``X-Tenant`` names the tenant; views find it on the request, and managers in a context variable."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.tenant = request.headers.get("X-Tenant", tenancy.PUBLIC)  # type: ignore[attr-defined]
        token = tenancy.tenant.set(request.tenant)  # type: ignore[attr-defined]
        try:
            return get_response(request)
        finally:
            tenancy.tenant.reset(token)

    return middleware


def time_zone(get_response: Next) -> Next:
    """``X-Time-Zone`` names the time zone of the client."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with timezone.override(ZoneInfo(request.headers.get("X-Time-Zone", "UTC"))):
            return get_response(request)

    return middleware


class LanguageMiddleware(LocaleMiddleware):
    """As Django's; ``X-Language`` beats what the browser says."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if language := request.headers.get("X-Language"):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
