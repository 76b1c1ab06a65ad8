"""Problem documents as responses (RFC 9457). Every error of the endpoints of jobs is one, whatever the project does."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from django.utils import translation
from django.utils.log import log_response
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from .. import encoding
from ..exceptions import AcceptRefused, Unavailable, new_reference
from ..models import Job
from ..problems import TYPES, problem
from .outages import passes
from .own import OwnResponse

__all__ = [
    "LANGUAGE",
    "ExceptionHandler",
    "ProblemResponse",
    "ProblemsMixin",
    "assume_anonymous",
    "naming_refusals",
    "problem_response",
]

#: The project's ``EXCEPTION_HANDLER``: takes the exception and the context of the view.
ExceptionHandler = Callable[[Exception, dict[str, Any]], Any]

#: Problems are told in this language to everybody, so that programs can compare them; pages are translated.
LANGUAGE = "en"


class ProblemResponse(OwnResponse):
    """A problem document; as JSON it is ``application/problem+json``."""

    json_type = "application/problem+json"

    #: The language of its words; None if nobody knows: a task may have said them.
    language: str | None = LANGUAGE

    @property
    def rendered_content(self) -> Any:
        content = super().rendered_content
        if self.language and self.accepted_renderer.media_type != "text/html":
            self["Content-Language"] = self.language
        return content


def problem_response(code: str) -> ProblemResponse:
    """Return a problem document of the type *code* with its HTTP status."""
    document = problem(code)
    return ProblemResponse(document, status=document["status"])


def assume_anonymous(request: Request, exc: Exception) -> None:
    """Make the caller of *request* anonymous if *exc* came before their user was known.

    The page of an error shows its reader: it would authenticate again, the database is still away, and the 503 would
    become a 500. REST framework does this for its own exceptions only.
    """
    if not isinstance(exc, drf.APIException | Http404) and not hasattr(request, "_user"):
        request._not_authenticated()  # type: ignore[attr-defined] # the stubs have public names only


def naming_refusals(handler: ExceptionHandler) -> ExceptionHandler:
    """Return *handler*, which then tells the code of an ``AcceptRefused`` in REST framework's own error format, too.

    That format has ``detail`` alone and drops the code. Any other format is left alone: its handler has the code in
    ``exc.get_codes()``. What an error quotes of the request is made sendable.
    """

    def handle(exc: Exception, context: dict[str, Any]) -> Any:
        response = handler(exc, context)
        data = getattr(response, "data", None)
        if isinstance(exc, AcceptRefused) and data == {"detail": exc.detail}:
            response.data = {"detail": exc.detail, "code": exc.get_codes()}
        elif (sendable := _sendable(data)) != data:
            response.data = sendable
        return response

    return handle


class ProblemsMixin(APIView):
    """Answers every error of a view with a problem document."""

    def get_exception_handler(self) -> Any:
        return exception_handler  # REST framework's, because the project's own may have another format

    def handle_exception(self, exc: Exception) -> Response:
        """Turn *exc* into a problem document.

        Raises:
            SuspiciousOperation: as it is, for Django's security log and its 400.
            Exception: an unexpected one, if DEBUG is on: Django has a page for it.
        """
        assume_anonymous(self.request, exc)
        match exc:
            case Http404() | Job.DoesNotExist():  # the row may go in the middle of a request
                return self._answer(problem("not-found"), {})
            case PermissionDenied():
                exc = drf.PermissionDenied()
            case BadRequest() | MultiPartParserError():
                exc = drf.ParseError()
            case _ if passes(exc, own=True):
                exc = Unavailable.because(exc)
        if isinstance(exc, drf.APIException):
            return self._refused(exc)
        if settings.DEBUG or isinstance(exc, SuspiciousOperation):
            self.raise_uncaught_exception(exc)
        return self._failed(exc)

    def _refused(self, exc: drf.APIException) -> Response:
        response = super().handle_exception(exc)  # for its status and headers
        code = str(exc.default_code).replace("_", "-")
        members: dict[str, Any] = {}
        detail: Any = _sendable(exc.detail)
        if isinstance(detail, dict):
            members["errors"] = detail
            detail = detail.get("detail", "The request is not valid.")
        if reference := getattr(exc, "reference", None):
            members["reference"] = reference
        title = "" if code in TYPES else _title(exc)
        document = problem(code, str(detail), status=response.status_code, title=title, **members)
        return self._answer(document, dict(response.headers))

    def _failed(self, exc: Exception) -> Response:
        """Answer 500 with one fixed sentence; log *exc* and send the signal, as Django does for its own 500s."""
        request = self.request._request
        got_request_exception.send(sender=None, request=request)  # error trackers, and Django's test client
        hidden: Any = drf.APIException()
        hidden.reference = new_reference()
        response = self._refused(hidden)
        what = "Internal Server Error (reference %s): %s"
        log_response(what, hidden.reference, request.path, response=response, request=request, exception=exc)
        return response

    def _answer(self, document: dict[str, Any], headers: Mapping[str, str]) -> Response:
        response = ProblemResponse(document, status=document["status"], headers=headers)
        response.exception = True
        return response


def _sendable(detail: Any) -> Any:
    """Return *detail* with texts that UTF-8 has: they may quote what the client has sent, such as a lone surrogate."""
    match detail:
        case dict():
            return {_sendable(name): _sendable(each) for name, each in detail.items()}
        case list():
            return [_sendable(each) for each in detail]
        case str() if (text := encoding.text(detail)) != detail:
            return text
        case _:
            return detail  # as it is, with its code


def _title(exc: drf.APIException) -> str:
    """Return a title that is the same for every problem of this code: in English, without words of this request."""
    with translation.override(None):
        return re.sub(r' "\{\w+\}"', "", str(exc.default_detail)).rstrip(".")
