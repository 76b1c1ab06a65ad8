"""The pages ask the shop's API as any client does, only without the network.

So they see what the API shows to this visitor and nothing else, and a form without JavaScript is accepted by
the very view that takes the JSON.
"""

from copy import copy
from typing import Any
from uuid import UUID

from django.http import HttpRequest, QueryDict
from django.urls import get_script_prefix, resolve, reverse
from rest_framework.response import Response

__all__ = ["ask", "latest_job", "result_of", "sentence"]


def ask(
    request: HttpRequest,
    method: str,
    url: str,
    *,
    query: dict[str, Any] | None = None,
    form: QueryDict | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The API's answer, not rendered, to `request` with another method, URL and body.

    Args:
        form: what is sent in place of the page's own fields; the files that came with them go along.
        headers: beside those of `request`.
    """
    told = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()}
    asked = QueryDict(mutable=True)
    asked.update(query or {})
    inner: Any = copy(request)
    inner.method, inner.path = method, url
    inner.path_info = "/" + url.removeprefix(get_script_prefix())
    inner.GET = asked
    inner.META = {
        **request.META,
        "PATH_INFO": inner.path_info,
        "QUERY_STRING": asked.urlencode(),
        "REQUEST_METHOD": method,
        "HTTP_ACCEPT": "application/json",
        **told,
    }
    # The page's own form was read by now: REST framework then takes it from here, not from the stream.
    inner._post = form if form is not None else QueryDict()
    inner.__dict__.pop("_body", None)
    inner.resolver_match = match = resolve(inner.path_info)
    return match.func(inner, *match.args, **match.kwargs)


def latest_job(request: HttpRequest, operation: str, created_after: str) -> dict[str, Any] | None:
    """The visitor's newest job of this operation, as its status document."""
    query = {"operation": operation, "created_after": created_after, "page_size": 1}
    answer = ask(request, "GET", reverse("async_accept:job-list"), query=query)
    jobs = answer.data["results"] if answer.status_code == 200 else None  # a page does without
    return jobs[0] if jobs else None


def result_of(request: HttpRequest, job: UUID | str) -> Any:
    """What a succeeded job of the visitor has answered; None where there is no such answer (any more)."""
    answer = ask(request, "GET", reverse("async_accept:job-result", args=[job]))
    return answer.data if answer.status_code in {200, 201} else None


def sentence(data: Any) -> str:
    """What an error answer says, on one line, in its own words."""
    if isinstance(data, dict):
        named = data.get("detail") or data.get("title")
        parts = [str(named)] if named else [f"{name}: {sentence(value)}" for name, value in data.items()]
        rows = data.get("errors")
        if isinstance(rows, list):
            parts += [f"Row {row['row']}, {row['field']}: {row['message']}" for row in rows[:5]]
        return " ".join(parts)
    return " ".join(map(sentence, data)) if isinstance(data, list | tuple) else str(data)
