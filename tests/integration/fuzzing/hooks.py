"""What schemathesis is told about the shop: files that it takes, a sender's signature, and what is no fault."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData
from standardwebhooks import Webhook

#: The shop's default for PAYMENT_WEBHOOK_SECRETS.
SECRET = "whsec_Y29ybmVyIHNob3AsIG9ubHkgZm9yIHRoZSBkZW1v"


# --- Input that a schema cannot describe ---------------------------------------------------------------------------

#: A line that both a batch of orders and a price list have columns for.
line = strategies.builds(
    "{},{},{},,Something,{}".format,
    strategies.from_regex(r"\A[A-Z][A-Z0-9-]{3,12}\Z"),
    strategies.sampled_from(["TEA-ASSAM", "BREAD-RYE", "NOPE", ""]),
    strategies.integers(-1, 1001),
    strategies.decimals(-1, 100, places=2),
)
table = strategies.lists(line, min_size=1, max_size=5).map(
    lambda lines: "\n".join(["reference,sku,quantity,code,name,price", *lines]).encode()
)
schemathesis.openapi.media_type("text/csv", table | strategies.binary(max_size=100))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Sign every second webhook of the payment provider: those whose made-up signature has an odd length."""
    made_up = (case.headers or {}).get("Webhook-Signature", "")
    if case.path == "/api/webhooks/payments/" and len(made_up) % 2:
        kwargs["auth"] = _sign


def _sign(request: Any) -> Any:
    now, body = datetime.now(UTC), request.body or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    request.headers["webhook-timestamp"] = str(int(now.timestamp()))
    request.headers["webhook-signature"] = Webhook(SECRET).sign(
        request.headers.get("webhook-id", ""), now, text
    )
    return request


# --- What is no fault ----------------------------------------------------------------------------------------------


class Exemption(NamedTuple):
    """What a check reports although it is meant so."""

    reason: str
    #: What is reported: a valid request is refused, or an invalid one is taken.
    kind: type[Failure]
    #: Whether the request and its answer are of this kind.
    covers: Callable[[Any, Any], bool]


def says(status: int, *texts: str) -> Callable[[Any, Any], bool]:
    """Whether the answer has this status, and one of these texts in its body."""
    return lambda case, response: (
        response.status_code == status and any(text in response.content.decode() for text in texts)
    )


def is_at(path: str, status: int) -> Callable[[Any, Any], bool]:
    """Whether the operation of this path has answered this status."""
    return lambda case, response: (case.path, response.status_code) == (path, status)


def has_bad(location: str, *names: str) -> Callable[[Any, Any], bool]:
    """Whether one of these parameters is what is wrong with the request."""
    return lambda case, response: (
        case.meta.phase.data.parameter in names and case.meta.phase.data.parameter_location == location
    )


def has_empty(*names: str) -> Callable[[Any, Any], bool]:
    """Whether one of these parameters of the query is wrong, and empty."""
    is_bad = has_bad("query", *names)
    return lambda case, response: (
        is_bad(case, response) and case.query.get(case.meta.phase.data.parameter) in ("", [""])
    )


EXEMPTIONS = (
    # What the state of the shop decides, and no schema can tell.
    Exemption(
        "A cursor comes from `next` or `previous`; made-up ones are refused.",
        RejectedPositiveData,
        says(400, '"Not a cursor."'),
    ),
    Exemption(
        "An entity tag comes from ETag; with another one, also an empty one, nothing is changed.",
        RejectedPositiveData,
        says(412, '"precondition-failed"'),
    ),
    Exemption(
        "A key stands for its first payload. The fuzzer sends its keys with several.",
        RejectedPositiveData,
        says(422, '"idempotency-key-reused"'),
    ),
    Exemption(
        "What was uploaded is removed when its job has ended, so it cannot be run again.",
        RejectedPositiveData,
        says(410, '"input-gone"'),
    ),
    Exemption(
        "An order needs products that exist, each once, a code that exists, and a reference that is new.",
        RejectedPositiveData,
        says(
            400,
            "Object with sku=",
            "Name each product once.",
            "There is no discount code",
            "You have used this reference before.",
            "This reference is in the batch more than once.",
        ),
    ),
    # What a file contains is not in the schema.
    Exemption(
        "A file of orders or prices is UTF-8, begins with the names of its columns, and has valid lines.",
        RejectedPositiveData,
        lambda case, response: (
            response.status_code == HTTPStatus.BAD_REQUEST
            and case.media_type in {"text/csv", "multipart/form-data"}
        ),
    ),
    Exemption(
        "NUL is refused in whatever would be stored, also in members that nobody asked for.",
        RejectedPositiveData,
        says(400, "contains a NUL character", "Null characters are not allowed."),
    ),
    Exemption(
        "An endpoint has a URL or signs callbacks; its URL is public, in this demo that of the shop itself.",
        RejectedPositiveData,
        says(
            400,
            "The URL must",
            "The host",
            "The port is not allowed.",
            "Give a URL, or callbacks: true.",
            "An endpoint for callbacks stays one",
            "You may have at most",
        ),
    ),
    Exemption(
        "The demo runs under WSGI, which cannot hold streams of events.",
        RejectedPositiveData,
        is_at("/api/jobs/{id}/events/", 406),
    ),
    # Leniency.
    Exemption(
        "`wait` is a wish: what is no number of seconds is ignored, as RFC 7240 has it for `Prefer: wait`.",
        AcceptedNegativeData,
        has_bad("query", "wait"),
    ),
    Exemption(
        "REST framework ignores a page size that is no number, and an empty page or format.",
        AcceptedNegativeData,
        has_bad("query", "page_size", "page", "format"),
    ),
    Exemption(
        "An empty filter is none, as an empty field of a form is.",
        AcceptedNegativeData,
        has_empty("status", "operation", "created_after", "created_before"),
    ),
    Exemption(
        "REST framework takes numbers for text, and text for numbers.",
        AcceptedNegativeData,
        lambda case, response: "Incorrect type" in (case.meta.phase.data.description or ""),
    ),
)


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Tell whether *failure* is none of the exemptions."""
    return not any(isinstance(failure, each.kind) and each.covers(case, response) for each in EXEMPTIONS)
