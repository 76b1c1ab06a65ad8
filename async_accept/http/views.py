"""The endpoints of jobs: list, status monitor, result, cancel, rerun, delete.

Two rules for a client: the status monitor always answers 200; the result answers 202 until there is a final answer,
then that answer. What the caller may not see does not exist: 404, the same for every reason.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.http import Http404
from django.http.request import MediaType
from rest_framework import exceptions as drf
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from ..conf import conf
from ..db.transactions import after_commit
from ..exceptions import InputGone, PreconditionFailed
from ..jobs import keys as idempotency
from ..jobs import retention
from ..jobs.accept import first_of, readmit
from ..jobs.watcher import watcher
from ..models import Job, database
from ..querysets import JobQuerySet, acting
from ..states import State
from . import prefer, streaming
from .conditional import check_if_match, is_unchanged
from .errors import ProblemsMixin
from .filters import JobFilter
from .negotiation import WeighedNegotiation, admits
from .not_modified import Moment, not_modified
from .pagination import JobPagination
from .permissions import JobPermission, may_change
from .renderers import with_job_page, with_json_first, with_panel
from .responses import (
    accepted,
    apply_preferences,
    etag,
    final,
    name_media_type,
    problem_response,
    promised,
    representation,
    retry_after,
    sunset,
    vary,
)
from .serializers import JobSerializer, job_id, job_url
from .throttling import PollThrottle

__all__ = ["JobViewSet"]


class UnreadParser(BaseParser):
    """Takes a body of any type and leaves it unread: no endpoint of a job wants one."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


class JobViewSet(ProblemsMixin, GenericViewSet[Job]):
    """Jobs of the caller. Mount it by ``include("async_accept.urls")``."""

    serializer_class = JobSerializer
    permission_classes = (JobPermission,)
    throttle_classes = (PollThrottle,)
    content_negotiation_class = WeighedNegotiation
    # A session's form has its CSRF token in the body, whatever the project's own views parse.
    parser_classes = (FormParser, MultiPartParser, UnreadParser)
    pagination_class = JobPagination
    filter_backends = (JobFilter,)

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        view = super().as_view(actions, **initkwargs)
        # A poll needs no transaction (ATOMIC_REQUESTS), and could not answer 503 where that cannot begin.
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def determine_version(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Return the version of *request*; where these URLs stand outside of all versions, it need not have one."""
        try:
            return super().determine_version(request, *args, **kwargs)
        except (drf.NotFound, drf.NotAcceptable):
            match: Any = request._request.resolver_match
            if ":" in match.namespace or set(kwargs) - {"pk"}:
                raise
            scheme: Any = self.versioning_class
            return None, scheme()

    def get_queryset(self) -> JobQuerySet:
        # A rerun needs the input as well.
        jobs = Job.objects.all() if self.action == "rerun" else Job.objects.light()
        return jobs.visible_to(self.request.user)

    def get_object(self) -> Job:
        """Return the job of the URL.

        Raises:
            Http404: unknown, malformed, deleted, or another's.
        """
        return self._find(self.get_queryset())

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The caller's own jobs, newest first."""
        own = Job.objects.light().owned_by(request.user).filter(forgotten=False)
        page = self.paginate_queryset(self.filter_queryset(own))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The status monitor: always 200, also for a job that failed.

        ``?wait=N`` or ``Prefer: wait=N`` answers as soon as the status changes, after N seconds at the latest; at once
        where ``If-None-Match`` tells that the client has not seen the present document.
        """
        if request.accepted_renderer.format == streaming.EventStreamRenderer.format:
            return self.events(request)
        header, seconds = request.META.get("HTTP_IF_NONE_MATCH"), self._wait_seconds()
        if header and not seconds and (unchanged := self._unchanged_since_last_poll(header)):
            return unchanged
        since = not_modified.now()
        job, waited = self.get_object(), None
        if seconds and (not header or is_unchanged(header, etag(job, request, self._form()))):
            job, waited = self._wait(job, seconds, for_end=False)
        response = self._not_modified(self._monitor(job), job, since)
        return apply_preferences(response, prefer.Preferences(), waited)

    def result(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """202 until there is a final answer; then the one that a synchronous call would have given."""
        job, waited = self._wait(self.get_object(), self._wait_seconds(), for_end=True)
        response = accepted(job, request) if job.is_active else final(job, request)
        return apply_preferences(response, prefer.Preferences(), waited)

    def events(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The status document as server-sent events, until the end; 406 where the server cannot hold streams."""
        job = self.get_object()
        if job.is_expired:
            return problem_response("result-expired")
        if job.is_final and streaming.last_event_id(request) == streaming.event_id(job):
            return Response(status=204)  # the client has seen the end, and stops asking
        if not streaming.is_offered(request) or not admits(request, streaming.MEDIA_TYPE):
            raise drf.NotAcceptable
        return streaming.stream(job, request)

    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ask the job to stop: 202 while it has not ended, however often; 200 once canceled; else 409."""
        with self._changing("cancel_job") as job:
            if job.is_active and job.cancel():
                return self._monitor(job, status=202)
            job = self.get_object()  # it has ended meanwhile; 404 where it is gone
            if job.state == State.CANCELED and not job.is_expired:
                return self._monitor(job)
            return problem_response("already-ended")

    def rerun(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Accept a new job with the input of one that has ended; the same ``Idempotency-Key`` is the same new job."""
        keys = self._keys()
        try:
            with self._changing("rerun_job") as job:
                if not job.is_final:
                    return problem_response("not-ended")
                again = readmit(job, **keys)
        except (InputGone, PreconditionFailed):
            # The first request has changed the tag, and the input may have gone since.
            first = first_of(Job(**keys))
            if first is None:
                raise
            again = first
        return promised(again, request, prefer.parse(request.META.get("HTTP_PREFER")))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Forget the job: 204 for one that has ended; 202 for an open one, which is stopped. 404 from now on.

        So the 202 says how the job was left, and nothing that a client could follow or keep.
        """
        with self._changing("delete_job") as job:
            had_ended = job.is_final
            retention.forget(job)
            if had_ended:
                return Response(status=204)
            response = Response(self.get_serializer(job).data, status=202)
            response["Cache-Control"] = "no-store"
            return response

    def get_renderers(self) -> Any:
        if self.action == "events":
            return [streaming.EventStreamRenderer(), JSONRenderer()]
        renderers = with_json_first(with_panel(super().get_renderers()))
        if self.action in ("retrieve", "cancel", "rerun"):
            renderers = with_job_page(renderers)
        if self.action == "retrieve" and streaming.is_offered(self.request):
            return [*renderers, streaming.EventStreamRenderer()]
        return renderers

    # --- Conditional requests: 304 if nothing is new, 412 if something is ------------------------------------

    def _unchanged_since_last_poll(self, header: str) -> Response | None:
        """Return a 304 from memory if *header*, ``If-None-Match``, names what this process sent a moment ago."""
        headers = not_modified.recall(self._pk(), self._place(), self.request.user)
        known = headers is not None and is_unchanged(header, headers["ETag"])
        return Response(status=304, headers=headers) if known else None

    def _not_modified(self, response: Response, job: Job, since: Moment) -> Response:
        """Remember the status document that is sent; return a 304 in its place if the client has it already.

        A page has no entity tag, so it is always sent.
        """
        if "ETag" not in response:
            return response
        headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
        not_modified.remember(job, self._place(), headers, since)
        known = is_unchanged(self.request.META.get("HTTP_IF_NONE_MATCH"), headers["ETag"])
        return Response(status=304, headers=headers) if known else response

    # --- What the request asks for ------------------------------------------------------------------------

    def _pk(self) -> UUID:
        pk = job_id(self.kwargs["pk"])
        if pk is None:
            raise Http404
        return pk

    def _find(self, jobs: JobQuerySet) -> Job:
        job = jobs.filter(pk=self._pk()).first()
        if job is None:
            raise Http404
        return job

    def _keys(self) -> dict[str, str]:
        """Return the columns of the request's ``Idempotency-Key``; it is the caller's, whoever owns the job.

        Raises:
            IdempotencyKeyInvalid: malformed (400).
            Http404: the id is malformed.
        """
        policy = "ignored" if conf.IDEMPOTENCY == "ignored" else "optional"
        key = idempotency.requested_key(self.request.META.get("HTTP_IDEMPOTENCY_KEY"), policy)
        if key is None:
            return {}
        caller, route = acting(self.request.user), f"{self._pk()}/rerun"
        return idempotency.columns(key, caller=caller, method="POST", route=route, payload=None)

    def _form(self) -> str:
        """Return what tells the representation that this client gets from all others of the job."""
        parameters = MediaType(self.request.accepted_media_type).range_params
        return representation(self.request.accepted_renderer, parameters)

    def _place(self) -> str:
        return f"{self._form()} {self.request.build_absolute_uri('/')}"

    def _wait_seconds(self) -> int:
        asked = self._wait_parameter()
        if asked is None:
            asked = prefer.parse(self.request.META.get("HTTP_PREFER")).wait_seconds
        return min(asked or 0, int(conf.MAX_WAIT_SECONDS))

    def _wait_parameter(self) -> int | None:
        return prefer.seconds(self.request.query_params.get("wait"))

    def _wait(self, job: Job, seconds: int, *, for_end: bool) -> tuple[Job, int | None]:
        """Return the job as it is when the client has waited, and the preference that was honoured by that."""
        changed = watcher.wait(job, seconds, for_end=for_end) if seconds and job.is_active else None
        if changed is None:
            return job, None
        # Also where the status is the same: progress is not, or the job is gone.
        return self.get_object(), None if self._wait_parameter() is not None else seconds

    @contextmanager
    def _changing(self, permission: str) -> Iterator[Job]:
        """Lend the job that is about to be changed, if ``If-Match`` agrees.

        Where it was sent, the row is locked: of several requests that name one version, one goes through.

        Raises:
            PermissionDenied: staff who may see another's job, but not do this to it (403).
            PreconditionFailed: 412.
        """
        header = self.request.META.get("HTTP_IF_MATCH")
        user = self.request.user
        jobs = self.get_queryset()
        try:
            with nullcontext() if header is None else transaction.atomic(using=database()):
                job = self._find(jobs if header is None else jobs.select_for_update())
                if not may_change(user, job, permission):
                    raise drf.PermissionDenied
                forms = {self._form(), *map(representation, self.get_renderers())}
                check_if_match(header, *(etag(job, self.request, form) for form in forms))
                yield job
        finally:
            if pk := job_id(self.kwargs["pk"]):
                after_commit(not_modified.forget, pk, using=database())

    # --- How answers look -------------------------------------------------------------------------------

    def _monitor(self, job: Job, status: int = 200) -> Response:
        response = Response(self.get_serializer(job).data, status=status)
        response.job = job  # type: ignore[attr-defined]
        response["Cache-Control"] = "private, no-cache"
        if self.request.accepted_renderer.media_type != "text/html":
            # The tag of a page would have to tell of the reader, the language, the templates and the forms' tokens.
            response["ETag"] = etag(job, self.request, self._form())
        if job.is_active:
            response["Retry-After"] = str(retry_after(job))
        sunset(response, job)
        if status == 202:
            response["Location"] = job_url(job, self.request, "result")
        return response

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        vary(response)
        name_media_type(response, getattr(response, "accepted_renderer", None))
        return response
