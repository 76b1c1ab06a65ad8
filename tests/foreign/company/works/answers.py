"""What a view may answer, by REST framework or by Django."""

import gzip
from decimal import Decimal
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from .registry import Works

WORKS = Works()

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
