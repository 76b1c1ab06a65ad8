"""The endpoints of jobs: list, status monitor, result, events, cancel, rerun, delete.

Two rules for a client: the status monitor always answers 200; the result URL answers 202 until the job has ended, then
the result. A job that the caller may not see does not exist: 404, the same for every reason; and 401 or 403, as
elsewhere in the project, for a caller who has not said who they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q
from django.http import Http404
from django.utils import translation
from django.utils.cache import patch_vary_headers
from rest_framework import exceptions as drf
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.viewsets import GenericViewSet

from ..conf import conf
from ..db.transactions import after_commit
from ..exceptions import InputGone, PreconditionFailed
from ..jobs import keys, retention
from ..jobs.accept import rerun
from ..jobs.watcher import watcher
from ..models import Job, database
from ..querysets import JobQuerySet, acting
from ..states import State
from . import prefer, streaming
from .classes import FromSetting
from .conditional import check_if_match
from .errors import LANGUAGE, ProblemsMixin, problem_response
from .filters import JobFilter
from .metadata import JobMetadata
from .monitor import JobSerializer, etags, job_id, monitor
from .negotiation import AnyNegotiation, WeighedNegotiation, admits, can_stream, offered
from .not_modified import document_or_304, has_older_document, not_modified, remembered_304
from .pagination import JobPagination
from .permissions import is_mine, lacks_credentials, may_change
from .renderers import EventStreamRenderer
from .rerun import Rerun
from .responses import VARY, accepted, promised, result_response
from .throttling import PollThrottle

__all__ = ["JobViewSet"]


class UnreadParser(BaseParser):
    """Takes a body of any type and leaves it unread: no endpoint of a job needs one."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


class JobViewSet(ProblemsMixin, GenericViewSet[Job]):
    """Jobs of the caller. Mount it by ``include("async_accept.urls")``."""

    #: Its renderers are those of our documents.
    is_ours = True
    serializer_class = JobSerializer
    authentication_classes: Any = FromSetting(
        "AUTHENTICATION_CLASSES", lambda: api_settings.DEFAULT_AUTHENTICATION_CLASSES
    )
    # Everybody may ask, whatever the project's default is: get_queryset() decides what exists for them.
    permission_classes: Any = FromSetting("PERMISSION_CLASSES", lambda: (AllowAny,))
    throttle_classes: Any = FromSetting("THROTTLE_CLASSES", lambda: (PollThrottle,))
    content_negotiation_class = WeighedNegotiation
    # A session's form has its CSRF token in the body, whatever the project's own views parse.
    parser_classes = (FormParser, MultiPartParser, UnreadParser)
    metadata_class = JobMetadata
    pagination_class = JobPagination
    filter_backends = (JobFilter,)

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
            return self.events(request)
        seconds = self._wait_seconds()
        if not seconds and (unchanged := remembered_304(request, self._pk())):
            return unchanged
        since = not_modified.now()
        job = self.get_object()
        if seconds and not has_older_document(request, job):
            job = self._wait(job, seconds, for_end=False)
        return document_or_304(monitor(job, request), job, request, since)

    def result(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """202 while the job is active; then its result, which is what a synchronous call would have answered."""
        job = self._wait(self.get_object(), self._wait_seconds(), for_end=True)
        return accepted(job, request) if job.is_active else result_response(job, request)

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

    # --- The job of the URL -----------------------------------------------------------------------------------

    def get_queryset(self) -> JobQuerySet:
        """Return the jobs that exist for the caller; in the list, only their own and what ``also_visible()`` adds."""
        also = self.also_visible()
        if self.action == "list":
            return self._columns().owned_by(self.request.user, also).filter(forgotten=False)
        return self._columns().visible_to(self.request.user, also)

    @property
    def owners_see_theirs(self) -> bool:
        """Whether every active user sees their own jobs: no permission class and no other query decides."""
        is_ours = type(self).get_queryset is JobViewSet.get_queryset
        return is_ours and all(type(each) is AllowAny for each in self.get_permissions())

    def also_visible(self) -> Q | None:
        """Return which jobs of others the caller may see as well; None for none. Override it to let in a team.

        A condition with a subquery (``owner__in=…``) finds each job once; one that joins may find it several times.
        """
        return None

    def may_change(self, job: Job, permission: str) -> bool:
        """Tell whether the caller, who may see *job*, may do what *permission* names. Override it to let in a team."""
        return may_change(self.request.user, job, permission)

    def get_object(self) -> Job:
        """Return the job of the URL.

        Raises:
            Http404: unknown, malformed, deleted, or another's.
            NotAuthenticated: in place of it, if the caller could have said who they are, and has not (401 or 403).
        """
        job = self._find(self.get_queryset())
        self.check_object_permissions(self.request, job)
        return job

    def _columns(self) -> JobQuerySet:
        # A rerun needs the input as well.
        return Job.objects.all() if self.action == "rerun" else Job.objects.light()

    def _find(self, jobs: JobQuerySet) -> Job:
        job = jobs.filter(pk=self._pk()).first()
        if job is None:
            raise self._no_job()
        return job

    def _pk(self) -> UUID:
        pk = job_id(self.kwargs["pk"])
        if pk is None:
            raise self._no_job()
        return pk

    def _no_job(self) -> Exception:
        """Return the error for a job that does not exist for the caller, the same for every reason."""
        return drf.NotAuthenticated() if lacks_credentials(self.request) else Http404()

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

    # --- Waiting ----------------------------------------------------------------------------------------------

    def _wait(self, job: Job, seconds: int, *, for_end: bool) -> Job:
        """Return the job as it is once it has ended, or its status has changed, or *seconds* have passed."""
        waited = watcher.wait(job, seconds, for_end=for_end) if seconds and job.is_active else None
        if waited is None:
            return job
        job = self.get_object()  # even if the status is the same: the progress may differ, or the job be gone
        if self._wait_parameter() is None:
            self.headers["Preference-Applied"] = f"wait={seconds}"
        return job

    def _wait_seconds(self) -> int:
        """Return for how long the client wants to wait: ``?wait=``, else ``Prefer: wait=``; 0 for not at all."""
        asked = self._wait_parameter()
        if asked is None:
            asked = prefer.parse(self.request.META.get("HTTP_PREFER")).wait_seconds
        return min(asked or 0, int(conf.MAX_WAIT_SECONDS))

    def _wait_parameter(self) -> int | None:
        return prefer.seconds(self.request.query_params.get("wait"))

    # --- What surrounds every endpoint ------------------------------------------------------------------------

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        view = super().as_view(actions, **initkwargs)
        # A poll needs no transaction (ATOMIC_REQUESTS), and could not answer 503 if that cannot begin.
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def determine_version(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Return the version of *request*; it need not have one if these URLs are outside of all versions."""
        try:
            return super().determine_version(request, *args, **kwargs)
        except (drf.NotFound, drf.NotAcceptable):
            match: Any = request._request.resolver_match
            if ":" in match.namespace or set(kwargs) - {"pk"}:
                raise
            scheme: Any = self.versioning_class
            return None, scheme()

    @property
    def renderer_classes(self) -> Any:  # type: ignore[override] # read only
        """The classes of what is offered; OPTIONS tells their media types."""
        return [type(renderer) for renderer in self.get_renderers()]

    def get_renderers(self) -> Any:
        """Return what renders documents of ours: ``RENDERER_CLASSES``, whatever the project's own views have."""
        if self.action == "events":
            return [EventStreamRenderer(), *(each for each in offered() if each.media_type != "text/html")]
        return offered(
            page=self.action in ("retrieve", "cancel", "rerun"),
            stream=self.action == "retrieve" and can_stream(self.request),
        )

    def perform_content_negotiation(self, request: Any, force: bool = False) -> Any:
        """Choose the renderer; from here on, what is no page is told in English, so that programs can compare it."""
        theirs = translation.get_language()
        translation.activate(LANGUAGE)
        if self.action == "result":
            # It has the media type that it has: its reader gets that, or a 202 to wait with.
            chosen: Any = AnyNegotiation().select_renderer(request, self.get_renderers(), self.format_kwarg)
        else:
            chosen = super().perform_content_negotiation(request, force)
        if chosen[0].media_type == "text/html" and theirs is not None:
            translation.activate(theirs)
        return chosen

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with translation.override(translation.get_language()):
            return super().dispatch(request, *args, **kwargs)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, VARY)
        # Caches may keep a 204, a 404 and a 410 of which nothing is said (RFC 9110, section 15.1).
        response.setdefault("Cache-Control", "private, no-cache")
        return response
