"""What a view may answer, by REST framework or by Django."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy
from rest_framework.request import Request
from rest_framework.response import Response

from .registry import Works

WORKS = Works()
MOMENT = datetime(2025, 11, 3, 9, 30, tzinfo=UTC)

#: What REST framework's ``Response`` makes of these is the renderer's business.
DATA: dict[str, Any] = {
    "nothing": None,
    "empty_list": [],
    "empty_text": "",
    "zero": 0,
    "no": False,
    "text": "ein Wort",
    "numbers": [1.0, 0.1, 10**30, Decimal("1.10"), -0.0],
    "unordered": {"b_b": 1, "a_a": {"z_z": 2, "y_y": 3}, 1: "one"},
    "unicode": {"name": "Çay \u2028 \U0001f375 </script>"},
}

WORKS |= {f"data_{name}": lambda request, data=data: Response(data) for name, data in DATA.items()}


@WORKS.add
def headers(request: Request) -> Response:
    named = {
        "ETag": '"7"',
        "Last-Modified": "Sat, 01 Nov 2025 10:00:00 GMT",
        "Link": '</v1/orders/>; rel="collection"',
        "Content-Language": "de",
        "Content-Disposition": 'inline; filename="seven.json"',
        "X-Checked": "yes",
        "Deprecation": "@1767225600",
    }
    return Response({"seven": 7}, status=201, headers=named)


@WORKS.add
def own_media_type(request: Request) -> Response:
    return Response({"seven": 7}, content_type="application/hal+json")


@WORKS.add
def django_json(request: Request) -> HttpResponseBase:
    return JsonResponse({"b": 1, "a": "ü"})


@WORKS.add
def django_json_api(request: Request) -> HttpResponseBase:
    return JsonResponse({"data": []}, content_type="application/vnd.api+json")


@WORKS.add
def django_text(request: Request) -> HttpResponseBase:
    return HttpResponse("sku;units\r\nTEA;3\r\n", content_type="text/csv", headers={"X-Rows": "1"})


@WORKS.add
def django_page(request: Request) -> HttpResponseBase:
    return HttpResponse("<h1>Done</h1>")


@WORKS.add
def django_bytes(request: Request) -> HttpResponseBase:
    return HttpResponse(bytes(range(256)), content_type="image/x-noise")


@WORKS.add
def django_large(request: Request) -> HttpResponseBase:
    """Larger than what is kept as JSON."""
    return HttpResponse(b"0123456789abcdef" * 100_000, content_type="application/octet-stream")


@WORKS.add
def django_large_text(request: Request) -> HttpResponseBase:
    return HttpResponse("sku;ünits\r\n" * 120_000, content_type="text/csv; charset=utf-8")


@WORKS.add
def django_large_stream(request: Request) -> HttpResponseBase:
    return StreamingHttpResponse(
        (b"0123456789abcdef" * 1_000 for _ in range(100)), content_type="image/x-noise"
    )


@WORKS.add
def django_stream_of_json(request: Request) -> HttpResponseBase:
    return StreamingHttpResponse(['{"rows" : [', "1,\n2", "]}"], content_type="application/json")


@WORKS.add
def django_no_json(request: Request) -> HttpResponseBase:
    """Says so, and is none."""
    return HttpResponse(")]}'\n[1]", content_type="application/json; charset=utf-8")


@WORKS.add
def django_json_in_utf_16(request: Request) -> HttpResponseBase:
    return HttpResponse('{"name": "ü"}'.encode("utf-16"), content_type="application/json; charset=utf-16")


@WORKS.add
def django_lines(request: Request) -> HttpResponseBase:
    return HttpResponse('{"a": 1}\n{"a": 2}\n', content_type="application/x-ndjson")


@WORKS.add
def django_template(request: Request) -> HttpResponseBase:
    """Rendered after the view, as Django does it."""
    return TemplateResponse(
        request._request, "company/done.html", {"path": request.path, "when": gettext_lazy("January")}
    )


@WORKS.add
def django_no_type(request: Request) -> HttpResponseBase:
    response = HttpResponse(b"?")
    del response["Content-Type"]
    return response


@WORKS.add
def lazy(request: Request) -> Response:
    return Response({"month_name": gettext_lazy("January"), "at": timezone.localtime(MOMENT)})


@WORKS.add
def own_language(request: Request) -> Response:
    """Speaks the language of somebody else from here on."""
    translation.activate("fr")
    return Response({"month_name": gettext_lazy("January")})


@WORKS.add
def django_compressed(request: Request) -> HttpResponseBase:
    body = gzip.compress(b"sku;units\r\n" * 100, mtime=0)
    return HttpResponse(body, content_type="text/csv", headers={"Content-Encoding": "gzip"})


@WORKS.add
def django_empty(request: Request) -> HttpResponseBase:
    return HttpResponse(content_type="text/plain", headers={"X-Empty": "yes"})


@WORKS.add
def django_redirect(request: Request) -> HttpResponseBase:
    return HttpResponseRedirect("/v1/somewhere/")


@WORKS.add
def reset_content(request: Request) -> Response:
    return Response(status=205)


@WORKS.add
def partial_content(request: Request) -> HttpResponseBase:
    return HttpResponse(
        b"abc", status=206, content_type="text/plain", headers={"Content-Range": "bytes 0-2/9"}
    )


@WORKS.add
def vendor_status(request: Request) -> Response:
    return Response({"done": "mostly"}, status=299)
