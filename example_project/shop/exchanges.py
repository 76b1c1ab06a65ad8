"""What a card's form sent and how the API answered, as text, for visitors without JavaScript.

With JavaScript, `exchange.js` shows the same. The session keeps the last exchange of each card for the next page:
the job's page, or the home page.
"""

import json
import shlex
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from .cards import Card
from .templatetags.shop import size

__all__ = ["Exchange", "exchanges", "remember"]

#: The texts `request`, `response` and `curl`, and `monitor`, the path of the job's page.
Exchange = dict[str, str]

_SESSION_KEY = "exchanges"
_SHOWN_HEADERS = (
    "Location", "Operation-Location", "Content-Location", "Link", "Retry-After", "Preference-Applied",
    "Cache-Control", "Vary",
)  # fmt: skip
_SHOWN_CHARS = 700
# The curl line does not contain a longer field. It reads the field from a file.
_CURL_FIELD_CHARS = 20_000


def exchanges(request: HttpRequest) -> dict[str, Exchange]:
    """Return the last exchange of each card, by the card's name. The newest comes last."""
    kept: dict[str, Exchange] = request.session.get(_SESSION_KEY, {})
    return kept


def remember(
    request: HttpRequest, card: Card, form: QueryDict, headers: dict[str, str], response: Response, token: str
) -> None:
    """Keep what the card's form sent, and the response of the API.

    Args:
        token: the visitor's API token for the curl line, or "".
    """
    sent = {"Accept": "application/json", **headers}
    fields = [(name, value) for name, values in form.lists() for value in values]
    kept = exchanges(request)
    kept.pop(card.name, None)
    kept[card.name] = {
        "request": _request_text(request, card, sent, fields),
        "response": _response_text(response),
        "curl": _curl(request, card, sent, fields, token),
        "monitor": urlsplit(response.headers.get("Operation-Location", "")).path,
    }
    request.session[_SESSION_KEY] = kept


def _request_text(
    request: HttpRequest, card: Card, headers: dict[str, str], fields: Iterable[tuple[str, str]]
) -> str:
    head = [f"POST {card.api_url}", *_lines(headers), "Content-Type: multipart/form-data"]
    body = [f"{name}={value}" for name, value in fields]
    body += [f"{name}=(file {file.name}, {size(file.size)})" for name, file in request.FILES.items()]
    return _cut("\n".join([*head, "", *body]))


def _response_text(response: Response) -> str:
    shown = {name: response.headers[name] for name in _SHOWN_HEADERS if name in response.headers}
    # The JSON of the API, indented.
    body = json.dumps(json.loads(JSONRenderer().render(response.data)), indent=2, ensure_ascii=False)
    head = [
        f"{response.status_code} {response.reason_phrase}",
        *_lines(shown),
        "Content-Type: application/json",
    ]
    return "\n".join([*head, "", _cut(body)])


def _curl(
    request: HttpRequest,
    card: Card,
    headers: dict[str, str],
    fields: Iterable[tuple[str, str]],
    token: str,
) -> str:
    """Return a line for a shell that repeats the request. It has the same key, so its response is the same job."""
    url = request.build_absolute_uri(card.api_url)
    words = [f"curl -i {shlex.quote(url)}"]
    words += [
        f"-H {shlex.quote(line)}"
        for line in (f"Authorization: Token {token or 'YOUR_TOKEN'}", *_lines(headers))
    ]
    comments = []
    for name, value in fields:
        if len(value) > _CURL_FIELD_CHARS:
            comments.append(f"# {name}.txt: the text of the field, saved as a file")
            words.append(f"-F {shlex.quote(f'{name}=<{name}.txt')}")
        else:
            words.append(f"--form-string {shlex.quote(f'{name}={value}')}")
    for name, file in request.FILES.items():
        comments.append(f"# run this in the folder of {file.name}, the file that you sent:")
        words.append(f"-F {shlex.quote(f'{name}=@{file.name}')}")
    return "\n".join([*comments, " \\\n  ".join(words)])


def _lines(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}\n… ({len(text)} characters)"
