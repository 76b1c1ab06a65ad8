"""What a view may refuse with, raised or returned."""

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ..errors import Conflict
from .registry import Work, Works

WORKS = Works()

#: What a view may raise; the company's handler tells of it in its own format.
ERRORS: dict[str, Callable[[], Exception]] = {
    "conflict": lambda: Conflict("The shelf is empty."),
    "invalid_fields": lambda: ValidationError(
        {"unit_price": ["Too low."], "lines": [{}, {"sku": ["Unknown."]}]}
    ),
    "invalid_list": lambda: ValidationError(["One thing.", "Another thing."]),
    "invalid_code": lambda: ValidationError("Sold out.", code="sold-out"),
    "malformed": exceptions.ParseError,
    "denied": lambda: exceptions.PermissionDenied("Not on a Sunday."),
    "django_denied": lambda: PermissionDenied("a secret reason"),
    "missing": exceptions.NotFound,
    "django_missing": lambda: Http404("a secret name"),
    "method": lambda: exceptions.MethodNotAllowed("POST"),
    "media_type": lambda: exceptions.UnsupportedMediaType("text/x-none"),
}


def _raising(error: Callable[[], Exception]) -> Work:
    def raises(request: Request) -> HttpResponseBase:
        raise error()

    return raises


WORKS |= {f"raise_{name}": _raising(error) for name, error in ERRORS.items()}


@WORKS.add
def return_conflict(request: Request) -> Response:
    return Response(
        {"shelf_state": "empty"}, status=409, headers={"X-Shelf": "7", "Link": "</help>; rel=help"}
    )


@WORKS.add
def return_list(request: Request) -> Response:
    return Response([{"unit_price": "too low"}], status=422)


@WORKS.add
def return_bare_status(request: Request) -> Response:
    return Response(status=410)


@WORKS.add
def return_hal_error(request: Request) -> Response:
    return Response({"message": "no"}, status=422, content_type="application/vnd.error+json")


@WORKS.add
def return_text_error(request: Request) -> HttpResponseBase:
    return HttpResponse("no such shelf\n", status=404, content_type="text/plain; charset=utf-8")


@WORKS.add
def return_large_error(request: Request) -> HttpResponseBase:
    return HttpResponse(b"\0no" * 500_000, status=422, content_type="application/octet-stream")


@WORKS.add
def return_stream_error(request: Request) -> HttpResponseBase:
    return StreamingHttpResponse(["no such ", "shelf"], status=404, content_type="text/plain")


@WORKS.add
def return_django_json_error(request: Request) -> HttpResponseBase:
    return JsonResponse({"shelf_state": "ü"}, status=409)


@WORKS.add
def return_page_error(request: Request) -> HttpResponseBase:
    return HttpResponse("<h1>Gone</h1>", status=410)
