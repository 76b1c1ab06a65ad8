"""The shop's pages call the shop's own API, as any client does, but without the network.

So a page shows only what the API shows to this visitor, and a form is handled by the same view as a JSON request.
"""

from copy import copy
from typing import Any
from uuid import UUID

from django.http import HttpRequest, QueryDict
from django.urls import get_script_prefix, resolve, reverse
from rest_framework.response import Response

__all__ = ["call_api", "error_text", "latest_job", "result_of"]


def call_api(
    request: HttpRequest,
    method: str,
    url: str,
    *,
    query: dict[str, Any] | None = None,
    form: QueryDict | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Call the API in the name of the visitor, and return its response, which is not rendered yet.

    Args:
        request: the request for the page. The call has its user, cookies and uploaded files.
        form: the fields to send, in place of the fields of the page's form.
        headers: more headers, beside those of *request*.
    """
    fields = QueryDict(mutable=True)
    fields.update(query or {})
    inner: Any = copy(request)
    inner.method, inner.path = method, url
    inner.path_info = "/" + url.removeprefix(get_script_prefix())
    inner.GET = fields
    inner.META = {
        **request.META,
        "PATH_INFO": inner.path_info,
        "QUERY_STRING": fields.urlencode(),
        "REQUEST_METHOD": method,
        "HTTP_ACCEPT": "application/json",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()},
    }
    # Django has read the page's form from the stream already. REST framework then takes the form from `_post`.
    inner._post = form if form is not None else QueryDict()
    inner.__dict__.pop("_body", None)
    inner.resolver_match = match = resolve(inner.path_info)
    return match.func(inner, *match.args, **match.kwargs)


def latest_job(request: HttpRequest, operation: str, created_after: str) -> dict[str, Any] | None:
    """Return the status document of the visitor's newest job of this operation, or None if there is none."""
    query = {"operation": operation, "created_after": created_after, "page_size": 1}
    response = call_api(request, "GET", reverse("async_accept:job-list"), query=query)
    if response.status_code != 200:  # such as 503: show the page without the job
        return None
    return next(iter(response.data["results"]), None)


def result_of(request: HttpRequest, job: UUID | str) -> Any:
    """Return the body of a job's result, or None if the job did not succeed or its result has expired."""
    response = call_api(request, "GET", reverse("async_accept:job-result", args=[job]))
    return response.data if response.status_code in {200, 201} else None


def error_text(data: Any) -> str:
    """Return the messages of an error response as one line of text."""
    if isinstance(data, dict):
        detail = data.get("detail") or data.get("title")
        parts = [str(detail)] if detail else [f"{name}: {error_text(value)}" for name, value in data.items()]
        rows = data.get("errors")
        if isinstance(rows, list):
            parts += [f"Row {row['row']}, {row['field']}: {row['message']}" for row in rows[:5]]
        return " ".join(parts)
    return " ".join(map(error_text, data)) if isinstance(data, list | tuple) else str(data)
