"""What a card's form has sent and what was answered, in words, for visitors without JavaScript.

`exchange.js` tells the same of the requests that the scripts send. It waits in the session for the page that comes
next: the status page of the job, and the shop's home page. One exchange for each card is kept.
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

#: What is shown of each, and kept in the session.
Exchange = dict[str, str]

_SESSION_KEY = "exchanges"
_SHOWN_HEADERS = (
    "Location", "Operation-Location", "Content-Location", "Link", "Retry-After", "Preference-Applied",
    "Cache-Control", "Vary",
)  # fmt: skip
_SHOWN_CHARS = 700
# A longer text is not repeated in a line for the shell, nor kept in the session.
_TYPED_CHARS = 20_000


def exchanges(request: HttpRequest) -> dict[str, Exchange]:
    """The last exchange of each card that has sent something, the latest last."""
    kept: dict[str, Exchange] = request.session.get(_SESSION_KEY, {})
    return kept


def remember(
    request: HttpRequest, card: Card, form: QueryDict, headers: dict[str, str], answer: Response, token: str
) -> None:
    """Keep what was sent by the card's form and what the API has answered."""
    sent = {"Accept": "application/json", **headers}
    fields = [(name, value) for name, values in form.lists() for value in values]
    kept = exchanges(request)
    kept.pop(card.name, None)
    kept[card.name] = {
        "request": _request_in_words(request, card, sent, fields),
        "answer": _answer_in_words(answer),
        "curl": _curl(request, card, sent, fields, token),
        "monitor": urlsplit(answer.headers.get("Operation-Location", "")).path,
    }
    request.session[_SESSION_KEY] = kept


def _request_in_words(
    request: HttpRequest, card: Card, headers: dict[str, str], fields: Iterable[tuple[str, str]]
) -> str:
    head = [f"POST {card.api_url}", *_lines(headers), "Content-Type: multipart/form-data"]
    body = [f"{name}={value}" for name, value in fields]
    body += [f"{name}=(file {file.name}, {size(file.size)})" for name, file in request.FILES.items()]
    return _cut("\n".join([*head, "", *body]))


def _answer_in_words(answer: Response) -> str:
    shown = {name: answer.headers[name] for name in _SHOWN_HEADERS if name in answer.headers}
    # As the API writes it, and with line breaks.
    body = json.dumps(json.loads(JSONRenderer().render(answer.data)), indent=2, ensure_ascii=False)
    head = [f"{answer.status_code} {answer.reason_phrase}", *_lines(shown), "Content-Type: application/json"]
    return "\n".join([*head, "", _cut(body)])


def _curl(
    request: HttpRequest,
    card: Card,
    headers: dict[str, str],
    fields: Iterable[tuple[str, str]],
    token: str,
) -> str:
    """A line for a shell that asks for the same, under the same key, and so gets the same job."""
    url = request.build_absolute_uri(card.api_url)
    words = [f"curl -i {shlex.quote(url)}"]
    words += [
        f"-H {shlex.quote(line)}"
        for line in (f"Authorization: Token {token or 'YOUR_TOKEN'}", *_lines(headers))
    ]
    advice = []
    for name, value in fields:
        if len(value) > _TYPED_CHARS:
            advice.append(f"# {name}.txt: the text of the field, saved as a file")
            words.append(f"-F {shlex.quote(f'{name}=<{name}.txt')}")
        else:
            words.append(f"--form-string {shlex.quote(f'{name}={value}')}")
    for name, file in request.FILES.items():
        advice.append(f"# in the folder of {file.name}, the file that you have sent:")
        words.append(f"-F {shlex.quote(f'{name}=@{file.name}')}")
    return "\n".join([*advice, " \\\n  ".join(words)])


def _lines(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}\n… ({len(text)} characters)"
