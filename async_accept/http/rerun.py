"""A rerun is a request: the view that accepted the job decides again, for the caller of today.

What is asked for is stored with the job: method, path, query, headers and data. Who asks is the request that has come
to the job's URL: user, credentials, address, and what middleware has put there. The view gets a request made of both.
Its permissions, throttles, look-ups, validation and caps decide, as for any other of its requests; its handler does no
work, because ``Acceptance.decide()`` knows a rerun.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, cast

from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest
from django.urls import Resolver404, ResolverMatch
from django.utils import translation
from rest_framework.exceptions import APIException, NotFound
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView

from ..exceptions import InputGone, NotKept, ViewGone
from ..jobs import values
from ..jobs.capture import KEPT_META
from ..jobs.circumstances import circumstances, resolved
from ..jobs.parsed import restore_data
from ..jobs.rebuilt import hand_on_forms, names_on, rebuild
from ..jobs.replay import (
    REPLAY,
    Replayed,
    alone,
    decorated,
    in_transactions,
    named_as,
    view_kwargs,
    with_class,
)
from ..jobs.variables import restore_variables
from ..models import Job

__all__ = ["Rerun", "rerun_of"]

#: The parts of a request's META that tell who asks, and not what is asked for.
OF_THE_CALLER = frozenset(
    {
        *("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_USER_AGENT"),
        *("HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE"),
    }
)
#: The parts that tell what is asked for. Those of the request to ``rerun/`` are not the view's.
OF_THE_REQUEST = frozenset(KEPT_META).difference(OF_THE_CALLER) | {
    *("HTTP_IDEMPOTENCY_KEY", "HTTP_PREFER", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"),
    *("HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH"),
}
#: What the client is told if an object of the request is gone.
GONE = "What the job is about is not there any more."
#: What Django's middleware puts on a request, and the view may read.
FROM_MIDDLEWARE = ("user", "auser", "session", "_messages", "site", "LANGUAGE_CODE")


class Rerun:
    """One request for a rerun of *job*, whose route is stored.

    Args:
        request: the request to the job's URL.
        key_columns: the columns of its ``Idempotency-Key``.
    """

    def __init__(self, job: Job, request: Request, key_columns: Mapping[str, str]) -> None:
        self.job = job
        self.request = request
        self.key_columns = key_columns
        #: The job, once the view has accepted it.
        self.stored: Job | None = None

    @property
    def data(self) -> Any:
        """The data of the request that the view gets: a copy of the input.

        Raises:
            NotFound: a row that is part of it is gone (404).
        """
        try:
            given = values.restore(self.job.input)
        except ObjectDoesNotExist as error:
            raise NotFound(GONE) from error
        return restore_data(given) if self.job.task == REPLAY else given or {}

    @property
    def has_data(self) -> bool:
        """Whether ``data`` is what the client sent, so that it can be validated again.

        A task's input is what the view's validation made. That it is the same is noted when the job is accepted.
        """
        return self.job.task == REPLAY or bool(self.job.request.get("input_is_data"))

    def decide(self) -> Job:
        """Let the view decide; return the new job, or the earlier one that stands for this request.

        Raises:
            ViewGone: the route leads to no view that accepts (410).
            InputGone: the view reads something of the request that is not kept (410).
            APIException, PermissionDenied: the view refuses it (4xx, 503).
        """
        stored = {**self.job.request, "language": translation.get_language()}

        def decide() -> Any:
            match = _route(self.job.request)
            with circumstances(stored):
                return self._ask(stored, match)

        try:
            answer = alone(decide)
        except NotKept as error:
            raise InputGone from error
        except Http404 as error:
            raise NotFound(GONE) from error
        if self.stored is None:
            raise _refusal(answer) if answer.status_code >= 400 else ViewGone
        return self.stored

    def _ask(self, stored: Mapping[str, Any], match: ResolverMatch) -> Any:
        # What the middleware of this request has set is there already.
        restore_variables({"kept": stored.get("variables", {}).get("kept", {})})
        accepting: Any = match.func
        function = with_class(accepting, _deciding(accepting.cls))
        return in_transactions(function)(self._build(stored, match), *match.args, **match.kwargs)

    def _build(self, stored: Mapping[str, Any], match: ResolverMatch) -> HttpRequest:
        """Return the request that the view gets, as Django hands it over."""
        asking: Any = self.request._request
        meta = {
            **{name: value for name, value in asking.META.items() if name not in OF_THE_REQUEST},
            **{name: value for name, value in stored["meta"].items() if name not in OF_THE_CALLER},
            "REQUEST_METHOD": stored["method"],
            "HTTP_PREFER": "respond-async",  # a rerun is always a job
            # Not empty: only then REST framework calls the parser.
            "CONTENT_LENGTH": "1",
        }
        request: Any = rebuild(stored, meta)
        there = vars(asking)
        for name in FROM_MIDDLEWARE:
            if name in there:
                setattr(request, name, there[name])
        for name in names_on(self.request):
            with suppress(AttributeError):
                setattr(request, name, getattr(self.request, name))
        request.resolver_match = match
        request.accept_rerun = self
        return cast(HttpRequest, request)


def rerun_of(request: Any) -> Rerun | None:
    """Return the rerun that *request* is; None for an ordinary request."""
    return getattr(getattr(request, "_request", request), "accept_rerun", None)


def _route(stored: Mapping[str, Any]) -> ResolverMatch:
    """Return where the path of a stored request leads to by now.

    Raises:
        ViewGone: to no view of REST framework's, or its URLconf or a class in its arguments is gone (410).
    """
    with suppress(Resolver404, ImportError, AttributeError):
        match = resolved(stored)
        if hasattr(match.func, "cls") and hasattr(match.func, "initkwargs"):
            match.kwargs = view_kwargs(match.kwargs, stored)
            return match
    raise ViewGone


def _refusal(answer: Any) -> APIException:
    """Return the error for a refusal that the view has returned and not raised."""
    refusal = APIException(getattr(answer, "data", None) or answer.reason_phrase)
    refusal.status_code = answer.status_code
    return refusal


class StoredInput(BaseParser):
    """Returns the data that the job's request had."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        rerun: Any = rerun_of((parser_context or {})["request"])
        return rerun.data


class Deciding:
    """Mixed before a view's class: the job's URL has authenticated the caller, and answers what the view raises."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        built: Any = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        hand_on_forms(built)
        rerun: Any = rerun_of(request)
        asking = rerun.request
        built.user, built.auth = asking.user, asking.auth
        built._authenticator = asking.successful_authenticator
        context = rerun.job.request.get("context")
        if context is not None:
            Replayed._restore(cast(Any, self), built, context)
        return cast(Request, built)

    def get_parsers(self) -> list[BaseParser]:
        return [StoredInput()]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check everything that REST framework checks before it calls the handler.

        Raises:
            ViewGone: there is a handler, but it does not accept. It must not run here.
        """
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if not _accepts(self, str(request.method).lower()):
            raise ViewGone

    def handle_exception(self, exc: Exception) -> Any:
        raise exc

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        return response


def _accepts(view: Any, name: str) -> bool:
    """Whether the handler that REST framework is about to call accepts: by a mixin, or by a decorator."""
    handler = getattr(view, name, None)
    if isinstance(handler, partial) and hasattr(handler.args[0], "decide"):
        return True  # AcceptingView has replaced it
    names = {name, getattr(view, "action", None) or name}
    return any(decorated(vars(base).get(each)) is not None for base in type(view).__mro__ for each in names)


@lru_cache(maxsize=1024)
def _deciding(view: type[APIView]) -> type[APIView]:
    return named_as(view, Deciding)
