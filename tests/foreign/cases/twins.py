"""One request to both twins, and what came of it."""

import base64
import json as json_library
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from async_accept.testing import run_accepted_jobs
from tests.foreign.company.authentication import make_token
from tests.foreign.company.models import User

from . import world

#: What a client reads of an answer, beside status and body. What belongs to the transfer, to caches and to cookies does
#: not: the reader's own request decides that.
HEADERS = (
    *("Content-Type", "Content-Disposition", "Content-Language", "Content-Encoding", "Content-Range"),
    *("Location", "ETag", "Last-Modified", "Link", "Deprecation", "Warning"),
    *("X-Approved-By", "X-Checked", "X-Empty", "X-Removed", "X-Rows", "X-Shelf"),
)
HOST = "shop.example"


@dataclass(frozen=True)
class Case:
    """A request that both twins get."""

    name: str
    path: str
    method: str = "POST"
    #: What is sent: JSON, a form with files (a dict), or bytes.
    json: Any = None
    form: Mapping[str, Any] | None = None
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whose request it is, and how they say so: "alice by token", "by password", "by key", "by session"; "nobody".
    caller: str = "alice by token"
    #: Further claims of the token.
    claims: Mapping[str, Any] = field(default_factory=lambda: {"scope": "orders reports"})
    #: The headers that go with the look at the result; None: as with the request.
    reader: Mapping[str, str] | None = None
    #: What happens between the request and the work; for the plain twin before the request.
    meanwhile: Callable[[], Any] | None = None
    #: Refused before anything is stored, so there is no 202.
    refused: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass
class Outcome:
    """What a client was told, and what happened."""

    status: int
    headers: dict[str, str]
    body: bytes
    rows: dict[str, list[Any]] = field(repr=False)

    def differs(self, expected: "Outcome") -> dict[str, Any]:
        """Return what is not as in the *expected* outcome: what it is here, and there."""
        parts = {"status": self.status, "body": self.body, **self.rows}
        others = {"status": expected.status, "body": expected.body, **expected.rows}
        for name in self.headers | expected.headers:
            parts[name], others[name] = self.headers.get(name), expected.headers.get(name)
        return {name: (part, others[name]) for name, part in parts.items() if part != others[name]}


def credentials(case: Case) -> dict[str, str]:
    """Return the headers by which the caller says who they are; none for a session."""
    name, _, how = case.caller.partition(" by ")
    address = f"{name}@{HOST}"
    if how == "token":
        token = make_token(User.objects.get(email=address), **case.claims)
        return {"Authorization": f"Bearer {token}"}
    if how == "password":
        pair = base64.b64encode(f"{address}:{world.PASSWORD}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {"X-Api-Key": f"key-of-{name}"} if how == "key" else {}


def content(case: Case) -> dict[str, Any]:
    """Return the body of the request, and its type, for Django's test client."""
    if case.form is not None:
        return {"data": {key: _file(value) for key, value in case.form.items()}}
    body = case.body if case.json is None else json_library.dumps(case.json).encode()
    return {"data": body, "content_type": case.content_type}


def _file(value: Any) -> Any:
    return value() if callable(value) else value  # a file is read once


def caller(case: Case) -> Client:
    """Return a client that is the case's caller."""
    client = Client(raise_request_exception=False, headers={"Host": HOST, **credentials(case)})
    if case.caller.endswith(" by session"):
        client.force_login(User.objects.get(email=f"{case.caller.partition(' ')[0]}@{HOST}"))
    return client


def send(case: Case, client: Client, **headers: str) -> Any:
    arguments = content(case)
    if case.form is not None and case.method != "POST":
        raise AssertionError("Only POST sends a form here.")
    send_it = getattr(client, case.method.lower())
    return send_it(case.path, headers={**case.headers, **headers}, **arguments)


def plain(case: Case) -> Outcome:
    """Send the request to the view without a mixin, in a world that is new."""
    if case.meanwhile:
        case.meanwhile()
    return outcome(send(case, caller(case), **{"X-Twin": "plain"}))


def accepting(case: Case) -> Outcome:
    """Send the request to the accepting view in another such world, do the work, and look at its result."""
    world.make()
    client = caller(case)
    response = send(case, client)
    assert (response.status_code != 202) == case.refused, (response.status_code, told(response))
    if case.refused:
        return outcome(response)
    if case.meanwhile:
        case.meanwhile()
    run_accepted_jobs(raises=False)
    reader = case.headers if case.reader is None else case.reader
    return outcome(client.get(response.headers["Location"], headers=dict(reader)))


def told(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def outcome(response: Any) -> Outcome:
    headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
    return Outcome(response.status_code, headers, told(response), world.rows())
