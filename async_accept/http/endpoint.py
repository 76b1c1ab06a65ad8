"""What every endpoint of jobs has in common: who asks, for which job, for how long, and in which representation."""

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
from rest_framework.settings import api_settings
from rest_framework.viewsets import GenericViewSet

from ..conf import conf
from ..db.compiled import Lookup
from ..jobs.watcher import watcher
from ..models import Job, database
from ..querysets import JobQuerySet, may_see
from . import prefer
from .classes import FromSetting
from .errors import LANGUAGE, ProblemsMixin
from .filters import JobFilter
from .links import job_id
from .metadata import JobMetadata
from .monitor import JobSerializer
from .negotiation import AnyNegotiation, WeighedNegotiation, can_stream, offered
from .pagination import JobPagination
from .permissions import lacks_credentials, may_change
from .renderers import EventStreamRenderer
from .responses import VARY
from .throttling import PollThrottle

__all__ = ["JobEndpoint"]

#: The job of a poll.
_light = Lookup(lambda: Job.objects.light(), "id")


class UnreadParser(BaseParser):
    """Takes a body of any type and leaves it unread: no endpoint of a job needs one."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


class JobEndpoint(ProblemsMixin, GenericViewSet[Job]):
    """Base of ``JobViewSet``."""

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
        is_ours = type(self).get_queryset is JobEndpoint.get_queryset
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
        job = self._find_visible() if self._is_usual() else self._find(self.get_queryset())
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

    def _is_usual(self) -> bool:
        """Whether the caller sees what ``visible_to()`` says, and the light columns are enough."""
        is_ours = type(self).get_queryset is JobEndpoint.get_queryset
        return is_ours and self.action != "rerun" and self.also_visible() is None

    def _find_visible(self) -> Job:
        """Return what ``_find(get_queryset())`` returns."""
        job = _light.find(self._pk(), database())
        if job is None or not may_see(self.request.user, job):
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
        if asked is None and (header := self.request.META.get("HTTP_PREFER")):
            asked = prefer.parse(header).wait_seconds
        return min(asked, int(conf.MAX_WAIT_SECONDS)) if asked else 0

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
        """What renders documents of ours: ``RENDERER_CLASSES``, whatever the project's own views have."""
        if self.action == "events":
            return [EventStreamRenderer, *(each for each in offered() if each.media_type != "text/html")]
        return offered(
            page=self.action in ("retrieve", "cancel", "rerun"),
            stream=self.action == "retrieve" and can_stream(self.request),
        )

    def perform_content_negotiation(self, request: Any, force: bool = False) -> Any:
        """Choose the renderer; from here on, what is no page is told in English, so that programs can compare it."""
        theirs: Any = translation.get_language()
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
        language = translation.get_language()
        # If LocaleMiddleware has not said so: the URLs of the job keep the language of this one's path.
        request.LANGUAGE_CODE = getattr(request, "LANGUAGE_CODE", language)
        with translation.override(language):
            return super().dispatch(request, *args, **kwargs)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, VARY)
        # Caches may keep a 204, a 404 and a 410 of which nothing is said (RFC 9110, section 15.1).
        response.setdefault("Cache-Control", "private, no-cache")
        return response
