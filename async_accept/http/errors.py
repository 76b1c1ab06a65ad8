"""Every error of the endpoints of jobs is a problem document (RFC 9457), whatever the project does elsewhere."""

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from django.utils import translation
from django.utils.log import log_response
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from ..db.errors import is_outage
from ..exceptions import Unavailable, new_reference
from ..models import Job
from ..problems import TYPES, problem
from .responses import as_problem

__all__ = ["ProblemsMixin"]


class ProblemsMixin(APIView):
    """Answers with problem documents where something went wrong."""

    def get_exception_handler(self) -> Any:
        return exception_handler  # the project's own has another format

    def handle_exception(self, exc: Exception) -> Response:
        """Answer every error of these views with a problem document, whatever the project does elsewhere.

        Raises:
            SuspiciousOperation: as it is, for Django's security log and its 400.
            Exception: whatever nobody expected, while DEBUG is on: Django has a page for it.
        """
        match exc:
            case Http404() | Job.DoesNotExist():  # also where the row went in the middle of the request
                return self._problem(problem("not-found"), {})
            case PermissionDenied():
                exc = drf.PermissionDenied()
            case BadRequest() | MultiPartParserError():
                exc = drf.ParseError()
            case _ if is_outage(exc):
                exc = Unavailable.because(exc)
        if isinstance(exc, drf.APIException):
            return self._refused(exc)
        if settings.DEBUG or isinstance(exc, SuspiciousOperation):
            self.raise_uncaught_exception(exc)
        return self._failed(exc)

    def _refused(self, exc: drf.APIException) -> Response:
        response = super().handle_exception(exc)
        code = str(exc.default_code).replace("_", "-")
        fields = exc.detail if isinstance(exc.detail, dict) else {"detail": exc.detail}
        members = {"errors": exc.detail} if fields is exc.detail else {}
        if reference := getattr(exc, "reference", None):
            members["reference"] = reference
        document = problem(
            code,
            str(fields.get("detail", "The request is not valid.")),
            status=response.status_code,
            title="" if code in TYPES else _title(exc),
            **members,
        )
        return self._problem(document, dict(response.headers))

    def _failed(self, exc: Exception) -> Response:
        """Answer 500 with one fixed sentence, and tell what happened to those whom Django tells of its own 500s."""
        request = self.request._request
        got_request_exception.send(sender=None, request=request)  # error trackers, and Django's test client
        hidden = drf.APIException()
        hidden.reference = new_reference()  # type: ignore[attr-defined]
        response = self._refused(hidden)
        what = "Internal Server Error (reference %s): %s"
        log_response(what, hidden.reference, request.path, response=response, request=request, exception=exc)  # type: ignore[attr-defined]
        return response

    def _problem(self, document: dict[str, Any], headers: dict[str, str]) -> Response:
        response = as_problem(Response(document, status=document["status"], headers=headers))
        response.exception = True
        return response


def _title(exc: drf.APIException) -> str:
    """Return the title of the problem type, constant for its code: English, and without what is of this request."""
    with translation.override(None):
        return re.sub(r' "\{\w+\}"', "", str(exc.default_detail)).rstrip(".")
