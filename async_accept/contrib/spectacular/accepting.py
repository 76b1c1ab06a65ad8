"""Accepting operations: 202 with the job, what a repeat and a preference need, the refusals, and the result.

What the view answers when it has done its work is a result: the result URL answers that. It is also an answer of this
operation if the mode allows that, or if the client can wait for the job.
"""

import inspect
import re
from collections.abc import Mapping
from functools import cached_property
from itertools import takewhile
from typing import Any

from django.apps import apps
from django.db import connections
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import (
    ResolvedComponent,
    UnableToProceedError,
    get_type_hints,
    resolve_type_hint,
)
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiCallback

from ...conf import conf
from ...http.accept import Acceptance
from ...http.generic import VERBS
from ...http.metadata import mode_of, options_for
from ...http.options import AcceptOptions
from ...mixins import AcceptingView
from ...models import database
from . import notices, parts
from .shared import Part, component, shared

__all__ = ["Accepting"]

BODY_METHODS = ("POST", "PUT", "PATCH")


class Guess(dict[Any, Any]):
    """Responses by status that are found out here, and not said by the user."""


class Accepting(AutoSchema):
    """The schema of a view that accepts; below whatever the project says of the view."""

    @cached_property
    def terms(self) -> "Terms | None":
        """On which terms the operation is accepted; None if it never is."""
        options = options_for(self.view, self.method) if self.method in VERBS else None
        terms = None if options is None else Terms(self.view, options)
        return None if terms is None or terms.mode == "never" else terms

    # --- What drf-spectacular asks for -----------------------------------------------------------------------------

    def get_description(self) -> str:  # type: ignore[override]
        found = super().get_description()
        kinds = type(self.view).__mro__
        if not any(_is_ours(each) and inspect.cleandoc(each.__doc__ or "") == found for each in kinds):
            return found
        # drf-spectacular stops at REST framework's classes, and so at what is below our mixins.
        theirs = takewhile(lambda each: each not in spectacular_settings.GET_LIB_DOC_EXCLUDES(), kinds)
        texts = (each.__doc__ for each in theirs if each.__doc__ and not _is_ours(each))
        return inspect.cleandoc(next(texts, ""))

    def get_override_parameters(self) -> list[Any]:
        theirs = super().get_override_parameters()
        return [*self.terms.parameters(), *theirs] if self.terms else theirs

    def get_response_serializers(self) -> Any:
        if self.terms is None or self.terms.task is None:
            return super().get_response_serializers()
        return Guess(self._named(_results_of(self.terms.task)))

    def _named(self, results: dict[int, Any]) -> dict[int, Any]:
        """Give an object with members a name by its operation, for the clients that are generated."""
        schema = results.get(200)
        if self.terms is None or not schema or "properties" not in schema:
            return results
        name = "".join(word.title() for word in re.split(r"[\W_]+", f"{self.terms.operation}_result"))
        ref = component(self.registry, name, schema)
        is_ours = self.registry[name, ResolvedComponent.SCHEMA].schema == schema
        return {**results, 200: ref} if is_ours else results

    def get_callbacks(self) -> list[OpenApiCallback]:
        theirs = super().get_callbacks()
        return [*notices.callbacks(), *theirs] if self._has_callbacks else theirs

    def _get_serializer(self) -> Any:
        own = (options_for(self.view, self.method) or {}).get("serializer_class")
        return super()._get_serializer() if own is None else own

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> Any:
        schema, required = super()._get_request_for_media_type(serializer, direction)
        if schema and self._has_callbacks:
            schema = {"allOf": [schema, notices.subscriber(self.registry)]}
        return schema, required

    def _get_response_bodies(self, direction: Any = "response") -> Part:
        theirs: Part = super()._get_response_bodies(direction)
        if self.terms is None:
            return theirs
        for code, response in theirs.items():
            if code.startswith("2") and code != "202":
                location = {"Location": parts.LOCATION} if code == "201" else {}
                response["headers"] = {**location, **parts.RESULT_HEADERS, **response.get("headers", {})}
                shared(self.registry).add_result(code, response)
        told = self.get_response_serializers()
        if not self.terms.may_answer_now and not (isinstance(told, dict) and not isinstance(told, Guess)):
            theirs = {code: each for code, each in theirs.items() if not code.startswith("2")}
        return dict(sorted({**self._refusals(), "202": parts.accepted(self), **theirs}.items()))

    # --- Refusals --------------------------------------------------------------------------------------------------

    def _refusals(self) -> Part:
        terms = self.terms
        assert terms is not None
        possible = {
            400: True,
            404: "{" in self.path,
            406: True,
            409: terms.refuses_second,
            411: self.method in BODY_METHODS,
            412: terms.has_tag,
            413: self.method in BODY_METHODS and terms.has_limit,
            415: self.method in BODY_METHODS,
            422: terms.idempotency != "ignored",
            429: terms.has_caps or self._has_callbacks,
            503: True,
        }
        codes = {code for code, is_possible in possible.items() if is_possible} | parts.access_codes(self)
        refusals = parts.errors(self, sorted(codes))
        if terms.can_wait:
            # What the result URL would answer, if the job failed or was canceled while the client waited.
            ended: Part = parts.problems(self, [409])["409"]
            refusal: Part = refusals.setdefault("409", ended)
            refusal["content"] |= ended["content"]
        return refusals

    @property
    def _has_callbacks(self) -> bool:
        is_installed = apps.is_installed("async_accept.webhooks")
        return is_installed and self.terms is not None and bool(self.terms.option("callbacks"))


class Terms:
    """On which terms a view accepts, as far as that can be told without a request."""

    def __init__(self, view: Any, options: Mapping[str, Any]) -> None:
        self.view = view
        acceptance = Acceptance(view, view.request, options)
        self.option = acceptance.option
        self.operation = acceptance.operation
        self.task = self.option("task")
        self.mode = mode_of(acceptance)
        self._caps = acceptance.terms.has_caps
        self.idempotency = self.option("idempotency", conf.IDEMPOTENCY)
        own = getattr(type(view), "get_accept_etag", AcceptOptions.get_accept_etag)
        verb = getattr(view, "action", None) or VERBS.get(view.request.method)
        self.has_tag = own is not AcceptOptions.get_accept_etag and verb not in ("create", None)

    def parameters(self) -> list[Any]:
        """Return the headers that a request may have."""
        wait = [f"wait=N (seconds, at most {conf.MAX_WAIT_SECONDS})"] if self.can_wait else []
        now = ["respond-async"] if self.mode in ("prefer", "depends") else []
        found = [parts.prefer([*now, *wait, "return=minimal"])]
        if self.idempotency != "ignored":
            found.append(parts.idempotency_key(self.idempotency))
        return [*found, parts.IF_MATCH] if self.has_tag else found

    @property
    def can_wait(self) -> bool:
        """Whether a client can wait for the job: see ``http.transactions.can_wait()``."""
        is_ours = isinstance(self.view, AcceptingView)
        return bool(conf.MAX_WAIT_SECONDS) and (
            is_ours or not connections[database()].settings_dict["ATOMIC_REQUESTS"]
        )

    @property
    def may_answer_now(self) -> bool:
        return self.can_wait or self.mode != "always"

    @property
    def refuses_second(self) -> bool:
        return self.option("active_key") is not None and self.option("when_active") == "refuse"

    @property
    def has_limit(self) -> bool:
        limits = {
            self.option(
                "max_bytes",
                conf.MAX_UPLOAD_BYTES if each.media_type.startswith("multipart/") else conf.MAX_INPUT_BYTES,
            )
            for each in self.view.get_parsers()
        }
        return limits != {None}

    @property
    def has_caps(self) -> bool:
        return self._caps or bool(self.view.get_throttles())


def _results_of(task: Any) -> dict[int, Any]:
    """Return the results of *task* by their status, by the return type of its function; 204 is None."""
    hint = get_type_hints(getattr(task, "run", task)).get("return", Any)
    if hint is type(None):
        return {204: None}
    if hint is Any:
        return {200: ANY, 204: None}
    try:
        schema = resolve_type_hint(hint)
    except UnableToProceedError:
        return {200: ANY}
    may_be_none = schema.pop("nullable", False)
    return {200: schema, 204: None} if may_be_none else {200: schema}


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("async_accept.")


#: Any JSON; an empty dict would stand for no body.
ANY: Part = {"description": "Whatever the task returns."}
