"""The parts that the operations are made of: headers, parameters, components and problems."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from ...conf import conf
from ...http.monitor import JobSerializer, ProblemSerializer
from ...http.negotiation import offered
from ...states import State
from .shared import Part, component, shared

__all__ = [
    "ACCEPTED_HEADERS",
    "IF_MATCH",
    "LOCATION",
    "MONITOR_HEADERS",
    "RESULT_HEADERS",
    "accepted",
    "access_codes",
    "content",
    "document",
    "errors",
    "header_parameter",
    "id_name",
    "idempotency_key",
    "json_types",
    "prefer",
    "problems",
    "status",
]

PROBLEM_TYPE = "application/problem+json"

#: What each refusal means, whatever its format is.
DESCRIPTIONS = {
    400: "The request is not valid.",
    401: "The credentials are missing or wrong.",
    403: "The caller may not do this.",
    404: "There is no such thing, or not for the caller.",
    406: "There is no representation that the client accepts.",
    409: "The state of the job or of the object forbids it.",
    410: "What it needs is gone: the result has expired, or the input is no longer kept.",
    411: "The body has no Content-Length.",
    412: "If-Match names an older version.",
    413: "The body is larger than allowed.",
    415: "The media type of the body is not supported.",
    422: "The Idempotency-Key was used with another payload.",
    429: "Too many requests, or too many active jobs.",
    503: "Not available at the moment. Nothing is stored.",
}


# --- Headers of responses ----------------------------------------------------------------------------------------


def header(description: str, *, required: bool = False, **schema: Any) -> Part:
    """Return a header object; its schema is a string unless *schema* says otherwise."""
    return {
        "description": description,
        "schema": {"type": "string", **schema},
        **({"required": True} if required else {}),
    }


def _url(description: str, *, required: bool = False) -> Part:
    return header(description, required=required, format="uri")


def _retry_after(*, required: bool = False) -> Part:
    text = "How many seconds to wait before the next request."
    return header(text, required=required, type="integer", minimum=1)


PREFERENCE_APPLIED = header("The preferences that were honoured.")
#: Of a 202 that can be followed.
ACCEPTED_HEADERS = {
    "Location": _url("The result.", required=True),
    "Operation-Location": _url("The status monitor.", required=True),
    "Content-Location": _url("The status monitor: the body is its document.", required=True),
    "Link": header("The status monitor (rel=monitor), and the result (rel=related).", required=True),
    "Retry-After": _retry_after(required=True),
    "Preference-Applied": PREFERENCE_APPLIED,
}
#: Of the status document.
MONITOR_HEADERS = {
    "ETag": header("Changes with the document."),
    "Retry-After": _retry_after(),
    "Sunset": header("Until when the result is kept (RFC 8594)."),
}
#: Of a 201.
LOCATION = _url("What was made.")
#: Of a result.
RESULT_HEADERS = {
    "Operation-Location": _url("The status monitor."),
    "Preference-Applied": PREFERENCE_APPLIED,
    "Sunset": header("Until when the result is kept (RFC 8594)."),
}
#: Of refusals, by status.
ERROR_HEADERS: dict[int, Part] = {
    401: {"WWW-Authenticate": header("How to log in.")},
    429: {"Retry-After": _retry_after()},
    503: {"Retry-After": _retry_after()},
}


# --- Parameters --------------------------------------------------------------------------------------------------


def header_parameter(name: str, description: str, **options: Any) -> OpenApiParameter:
    """Return the parameter of a header; text unless *options* give another ``type``."""
    options.setdefault("type", str)
    return OpenApiParameter(name, location=OpenApiParameter.HEADER, description=description, **options)


IF_MATCH = header_parameter("If-Match", "Change nothing unless this is the current entity tag (412).")


def idempotency_key(policy: str) -> OpenApiParameter:
    """Return the parameter of a view whose policy is ``"required"`` or ``"optional"``."""
    hours = conf.IDEMPOTENCY_KEY_LIFETIME.total_seconds() / 3600
    return header_parameter(
        "Idempotency-Key",
        "The same key with the same payload is the same job, however often it is sent. "
        f"A key stands for its job for {hours:g} hours. The key can be in quotes, which are no part of it.",
        required=policy == "required",
        # A bare key has no comma, which would separate two; in quotes it may.
        type={
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r'^([!#-+\--~][!-+\--~]*|"[!#-\[\]-~]+")$',
        },
    )


def prefer(preferences: Iterable[str]) -> OpenApiParameter:
    """Return the parameter ``Prefer`` with these preferences."""
    return header_parameter("Prefer", f"RFC 7240: {', '.join(preferences)}.")


def id_name() -> str:
    """Return the name of the path parameter of our URLs in the schema."""
    return "id" if api_settings.SCHEMA_COERCE_PATH_PK else "pk"


# --- Documents ---------------------------------------------------------------------------------------------------


def json_types() -> list[str]:
    """Return the media types of our documents, without pages and streams."""
    return list(dict.fromkeys(each.media_type for each in offered() if each.media_type != "text/html"))


def content(schema: Part, media_types: Iterable[str]) -> Part:
    """Return *schema* as the content of a response, in each of these types."""
    return {"content": {media_type: {"schema": schema} for media_type in media_types}}


def status(auto: AutoSchema) -> Part:
    """Return the component of a job's status, without drf-spectacular's names for enums: others have a ``status``."""
    return component(
        auto.registry,
        "AcceptedJobStatus",
        {"type": "string", "enum": list(State.values), "description": "The last three are final."},
    )


def document(auto: AutoSchema, description: str, headers: Part) -> Part:
    """Return a response with the status document."""
    schema = auto.resolve_serializer(JobSerializer, "response").ref
    return {"description": description, "headers": dict(headers), **content(schema, json_types())}


def accepted(auto: AutoSchema) -> Part:
    """Return the 202, with links to whatever of the job is in the schema."""
    return {
        **document(auto, "Accepted: follow the job to its result.", ACCEPTED_HEADERS),
        "links": shared(auto.registry).links,
    }


# --- Refusals ----------------------------------------------------------------------------------------------------


def access_codes(auto: AutoSchema) -> set[int]:
    """Return those of 401 and 403 that the classes of the view answer."""
    view, codes = auto.view, set()
    authenticators, permissions = view.get_authenticators(), [type(each) for each in view.get_permissions()]
    if authenticators:
        codes.add(401 if authenticators[0].authenticate_header(view.request) else 403)
        if auto.method not in SAFE_METHODS and any(
            isinstance(each, SessionAuthentication) for each in authenticators
        ):
            codes.add(403)  # CSRF
    elif IsAuthenticated in permissions:
        codes.add(403)
    if set(permissions) - {AllowAny, IsAuthenticated}:
        codes.add(403)
    return codes


def problems(auto: AutoSchema, codes: Iterable[int]) -> Part:
    """Return our own refusals: problem documents."""
    schema = auto.resolve_serializer(ProblemSerializer, "response").ref
    return {str(code): _refusal(code, schema, [PROBLEM_TYPE]) for code in codes}


def errors(auto: AutoSchema, codes: Iterable[int]) -> Part:
    """Return the refusals of the project's own view, in its format: that of its exception handler."""
    media_types = auto.map_renderers("media_type")
    return {str(code): _refusal(code, _error_schema(auto, code), media_types) for code in codes}


def _error_schema(auto: AutoSchema, code: int) -> Part:
    if auto.view.settings.EXCEPTION_HANDLER is not exception_handler:
        return {}
    if code == 400:
        any_errors = [{"type": "object", "additionalProperties": {}}, {"type": "array", "items": {}}]
        text = "Errors by the name of the field, or `detail`."
        return component(auto.registry, "AcceptInputErrors", {"description": text, "anyOf": any_errors})
    return component(
        auto.registry,
        "AcceptError",
        {
            "type": "object",
            "properties": {
                "detail": {"type": "string"},
                "code": {"type": "string", "description": "Names the problem, if it is one of accepting."},
            },
            "required": ["detail"],
        },
    )


def _refusal(code: int, schema: Part, media_types: Iterable[str]) -> Part:
    headers = {"headers": dict(ERROR_HEADERS[code])} if code in ERROR_HEADERS else {}
    return {"description": DESCRIPTIONS[code], **headers, **content(schema, media_types)}
