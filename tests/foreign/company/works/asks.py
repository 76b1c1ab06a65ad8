"""What a view may ask of its request."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.utils import timezone
from django.utils.translation import get_language, gettext
from rest_framework.request import Request
from rest_framework.response import Response

from .. import tenancy
from ..models import Customer
from .registry import Work, Works

WORKS = Works()


def _telling(ask: Callable[[Request], Any]) -> Work:
    return lambda request: Response({"told": ask(request)})


ASKS: dict[str, Callable[[Request], Any]] = {
    "method": lambda request: request.method,
    "version": lambda request: request.version,
    "scheme": lambda request: request.scheme,
    "absolute_uri": lambda request: request.build_absolute_uri("/x/?y=1"),
    "own_uri": lambda request: request.build_absolute_uri(),
    "full_path": lambda request: request.get_full_path(),
    "query_string": lambda request: request.META["QUERY_STRING"],
    "query": lambda request: dict(request.query_params.lists()),
    "view_name": lambda request: request.resolver_match.view_name,
    "kwargs": lambda request: request.parser_context["kwargs"],
    "content_type": lambda request: request.content_type,
    "address": lambda request: request.META["REMOTE_ADDR"],
    "agent": lambda request: request.headers.get("User-Agent"),
    "accepts": lambda request: request.headers.get("Accept"),
    "renderer": lambda request: [request.accepted_renderer.format, request.accepted_media_type],
    "user": lambda request: [str(request.user), str(request.user.pk), request._request.user.is_authenticated],
    "data": lambda request: request.data,
    "data_kind": lambda request: type(request.data).__name__,
    "form": lambda request: dict(request.data.lists()),
    "post": lambda request: dict(request.POST.lists()),
    "numbers": lambda request: {key: repr(value) for key, value in request.data.items()},
    "raw": lambda request: request.data.hex(),
    "zone": lambda request: [
        timezone.get_current_timezone_name(),
        timezone.localtime().utcoffset().total_seconds(),
    ],
    "language": lambda request: [get_language(), gettext("January")],
    # What only middleware or authentication can have put there:
    "language_code": lambda request: request.LANGUAGE_CODE,
    "authenticator": lambda request: type(request.successful_authenticator).__name__,
    "claims": lambda request: request.auth["scope"],
    "tenant": lambda request: request.tenant,
    "tenant_or_public": lambda request: getattr(request, "tenant", "public"),
    "current_tenant": lambda request: tenancy.current(),
    "trace": lambda request: request.headers["X-Trace"],
    "trace_or_none": lambda request: request.headers.get("X-Trace"),
    "session": lambda request: request.session.get("basket", "empty"),
    "cookies": lambda request: request.COOKIES.get("theme"),
    "body": lambda request: request.body.decode(),
}

WORKS |= {f"ask_{name}": _telling(ask) for name, ask in ASKS.items()}


@WORKS.add
def say(request: Request) -> Response:
    messages.success(request, "Done.")
    return Response({"said": True})


@WORKS.add
def new_customer(request: Request) -> Response:
    """Whose it is, a context variable knows."""
    customer = Customer.objects.create(name=request.data["name"])
    return Response({"tenant": customer.tenant}, status=201)
