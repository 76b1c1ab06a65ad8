"""The endpoints of jobs: list, status monitor, result, events, cancel, rerun, delete.

Two rules for a client: the status monitor always answers 200; the result URL answers 202 until the job has ended, then
the result. A job that the caller may not see does not exist: 404, the same for every reason; and 401 or 403, as
elsewhere in the project, for a caller who has not said who they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.db import transaction
from rest_framework import exceptions as drf
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ..conf import conf
from ..db.transactions import after_commit
from ..exceptions import InputGone, PreconditionFailed
from ..jobs import keys, retention
from ..jobs.accept import rerun
from ..models import Job, database
from ..querysets import acting
from ..states import State
from . import prefer, streaming
from .conditional import check_if_match
from .endpoint import JobEndpoint
from .errors import problem_response
from .monitor import etags, monitor
from .negotiation import admits, can_stream
from .not_modified import document_or_304, has_older_document, not_modified, remembered_304
from .permissions import is_mine, lacks_credentials
from .renderers import EventStreamRenderer
from .rerun import Rerun
from .responses import accepted, promised, result_response

__all__ = ["JobViewSet"]


class JobViewSet(JobEndpoint):
    """Jobs of the caller. Mount it by ``include("async_accept.urls")``."""

    # --- Reading ----------------------------------------------------------------------------------------------

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The caller's own jobs, newest first.

        Raises:
            NotAuthenticated: the caller could have said who they are, and has not (401 or 403).
        """
        if lacks_credentials(request):
            raise drf.NotAuthenticated
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The status monitor: always 200, also for a job that failed; 304 if the client has the document.

        ``?wait=N`` or ``Prefer: wait=N`` waits until the status changes, for N seconds at most. It does not wait if
        ``If-None-Match`` shows that the client has an older document.
        """
        if request.accepted_renderer.format == EventStreamRenderer.format:
            stream: Any = self.events  # the stubs forget that what @action decorates is a method
            return stream(request)
        seconds = self._wait_seconds()
        if not seconds and (unchanged := remembered_304(request, self._pk())):
            return unchanged
        since = not_modified.now()
        job = self.get_object()
        if seconds and not has_older_document(request, job):
            job = self._wait(job, seconds, for_end=False)
        return document_or_304(job, request, since)

    @action(detail=True)
    def result(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """202 while the job is active; then its result, which is what a synchronous call would have answered."""
        job = self._wait(self.get_object(), self._wait_seconds(), for_end=True)
        return accepted(job, request) if job.is_active else result_response(job, request)

    @action(detail=True)
    def events(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The status document as server-sent events, until the job ends; 406 if the server cannot hold streams."""
        job = self.get_object()
        if job.is_expired:
            return problem_response("result-expired")
        if job.is_final and streaming.last_event_id(request) == streaming.event_id(job):
            return Response(status=204)  # the client has seen the end; 204 tells it to stop
        if not can_stream(request) or not admits(request, EventStreamRenderer.media_type):
            raise drf.NotAcceptable
        return streaming.stream(job, self)

    # --- Changing ---------------------------------------------------------------------------------------------

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ask the job to stop: 202 while it is active, however often; 200 once it is canceled; else 409."""
        with self._one_change():
            job = self._get_for("cancel_job")
            if job.is_active and job.cancel():
                return monitor(job, request, status=202)
            job = self.get_object()  # it has ended meanwhile, or is gone: 404
            if job.state == State.CANCELED and not job.is_expired:
                return monitor(job, request)
            return problem_response("already-ended")

    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Accept a new job with the input of one that has ended; the same ``Idempotency-Key`` is the same new job.

        The view that accepted the first one decides, and its refusals are problem documents.
        """
        columns = self._key_columns()
        try:
            with self._one_change():
                job = self._get_for("rerun_job")
                if not job.is_final:
                    return problem_response("not-ended")
                again = self._rerun(job, columns)
        except (InputGone, PreconditionFailed):
            # The first request has changed the tag, and the input may be gone by now.
            first = keys.earlier_by_key(Job(**columns))
            if first is None:
                raise
            again = first
        return promised(again, request, prefer.parse(request.META.get("HTTP_PREFER")))

    def _rerun(self, job: Job, columns: dict[str, Any]) -> Job:
        user = self.request.user
        by_permission = not is_mine(user, job) and user.has_perm("async_accept.rerun_job")
        if by_permission or not job.can_rerun or not (job.request or {}).get("path_info"):
            return rerun(job, **columns)  # for staff; or code has accepted the job, and no view
        return Rerun(job, self.request, columns).decide()

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Forget the job, which is 404 from now on: 204 if it has ended; 202 if it is active, and is asked to stop.

        The 202 has no header that leads to the job, and must not be cached.
        """
        with self._one_change():
            job = self._get_for("delete_job")
            had_ended = job.is_final
            retention.forget(job)
            if had_ended:
                return Response(status=204)
            return Response(self.get_serializer(job).data, status=202, headers={"Cache-Control": "no-store"})

    @contextmanager
    def _one_change(self) -> Iterator[None]:
        """Surround a change: forget the 304s of the job afterwards, whether the change succeeded or not.

        With ``If-Match`` it is one transaction, so that of several requests which name one version one succeeds.
        """
        pk = self._pk()
        try:
            with nullcontext() if self._if_match() is None else transaction.atomic(using=database()):
                yield
        finally:
            after_commit(not_modified.forget, pk, using=database())

    def _get_for(self, permission: str) -> Job:
        """Return the job that is to be changed. With ``If-Match`` its row is locked.

        Raises:
            Http404, NotAuthenticated: there is no such job for the caller.
            PermissionDenied: staff may see this job of another owner, but not do this to it (403).
            PreconditionFailed: ``If-Match`` names another version (412).
        """
        header = self._if_match()
        job = self.get_object()
        if not self.may_change(job, permission):
            raise drf.PermissionDenied
        if header is not None:
            # By a query of its own: what get_queryset() returns may be one that no database locks, such as DISTINCT.
            job = self._find(self._columns().select_for_update().filter(forgotten=False))
            check_if_match(header, *etags(job, self.request, self.get_renderers()))
        return job

    def _if_match(self) -> str | None:
        header: str | None = self.request.META.get("HTTP_IF_MATCH")
        return header

    def _key_columns(self) -> dict[str, str]:
        """Return the columns of the request's ``Idempotency-Key``; the key is the caller's, whoever owns the job.

        Raises:
            IdempotencyKeyInvalid: malformed (400).
            Http404, NotAuthenticated: the id is malformed.
        """
        policy = "ignored" if conf.IDEMPOTENCY == "ignored" else "optional"
        key = keys.requested_key(self.request.META.get("HTTP_IDEMPOTENCY_KEY"), policy)
        if key is None:
            return {}
        caller, route = acting(self.request.user), f"{self._pk()}/rerun"
        return keys.columns(key, caller=caller, method="POST", route=route, payload=None)
