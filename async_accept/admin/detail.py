"""The page of a job: its state, what happened to it, its input, and its result or problem.

Secrets in stored data are hidden. The input needs the permission ``view_input``, and the traceback ``view_traceback``;
without them, these columns are not even read.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from mimetypes import guess_extension
from typing import Any, NamedTuple

from django.core.files.base import File
from django.db.models import BooleanField, ExpressionWrapper, F, Q, Value
from django.db.models.fields import TextField
from django.db.models.functions import Left, Length
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django_celery_results.models import TaskResult

from ..jobs import events, results
from ..models import Job
from ..problems import translated
from ..redaction import redact, redact_query, redact_url
from ..states import State
from .actions import ACTIONS
from .cells import object_link
from .live import live, page_parts, parse_id, version
from .pages import SiteMixin, model_url
from .reading import read
from .statistics import stalled_for, with_stalled
from .timeline import timeline, waited

__all__ = ["BLOCKS", "SENSITIVE", "DetailMixin", "pretty"]

#: Further blocks of the page of a job: another app adds its own when its admin is imported. Each gets the request, the
#: job and the admin site, and returns HTML.
BLOCKS: list[Callable[[HttpRequest, Job, Any], SafeString]] = []

#: How much of a result or an input is shown; a result can be downloaded in full.
SHOWN_CHARS = 64 * 1024
#: A stored result that is longer is not parsed for the page; it can only be downloaded.
PARSED_CHARS = 2_000_000
#: Headers of a result whose value is a URL.
URL_HEADERS = frozenset({"Location", "Content-Location"})
#: Columns that need the permission ``view_input``.
SENSITIVE = ("input", "request")


class Shown(NamedTuple):
    """Stored JSON, as text for people; ``cut`` if it is not all of it."""

    text: str
    cut: bool


def pretty(value: Any) -> Shown:
    """Return *value* as indented JSON with its secrets hidden, cut to ``SHOWN_CHARS``."""
    text = json.dumps(redact(value), indent=2, ensure_ascii=False)
    return Shown(text[:SHOWN_CHARS], len(text) > SHOWN_CHARS)


def _shown(value: Any, kept: str) -> Shown | None:
    """Return what the result storage holds, for people; None if that is not text."""
    if kept == "json":
        return pretty(value)
    return Shown(value[:SHOWN_CHARS], len(value) > SHOWN_CHARS) if isinstance(value, str) else None


def _headers(response: dict[str, Any]) -> dict[str, Any]:
    """Return the headers of a result with their secrets hidden, also those in a URL."""
    headers = redact(response.get("headers") or {})
    return {name: redact_url(value) if name in URL_HEADERS else value for name, value in headers.items()}


def _live_parts(job: Job) -> dict[str, SafeString]:
    """Return the parts that change with each progress report, marked for the live updates."""
    elements: dict[str, tuple[str, dict[str, str]]] = {
        "message": ("p", {"class": "aa-message"}),
        "log": ("pre", {"class": "aa-log", "tabindex": "0"}),
    }
    return {name: live(job, name, html, *elements.get(name, ())) for name, html in page_parts(job).items()}


class DetailMixin(SiteMixin):
    """Shows the page of a job, and its result as a file."""

    detail_template = "admin/async_accept/job/detail.html"
    get_queryset: Any
    may: Any
    has_delete_permission: Any
    has_purge_permission: Any

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one job."""
        job = self.find_job(request, object_id)
        if job is None:
            return self.missing_job(request, object_id)
        may_purge = self.has_purge_permission(request)
        context = {
            **self.detail_context(request, job),
            # The end of the id: its beginning is a time, which all jobs of one minute share.
            "title": f"{job.operation} …{job.pk.hex[-8:]}",
            "subtitle": None,
            "buttons": [
                action for action in ACTIONS.values() if action.applies(job) and self.may(request, action)
            ],
            # Purge does the same: nobody needs both buttons.
            "can_delete": self.has_delete_permission(request, job) and not may_purge,
            "live_url": self.url_to("live_page", job.pk),
            **(extra_context or {}),
        }
        return self.render_page(request, self.detail_template, context)

    def result_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a job's result as a file."""
        job = self.find_job(request, object_id)
        if job is None:
            raise Http404
        return self.download(job)

    def find_job(self, request: HttpRequest, object_id: Any) -> Job | None:
        """Return the job; None if there is none among those of ``get_queryset()``.

        Raises:
            PermissionDenied: the user may not view jobs (403), whether this one exists or not; or not this one.
        """
        self.demand_view(request)
        pk = parse_id(str(object_id))
        found = read(self.detail_queryset(request).filter(pk=pk)[:1]) if pk else []
        job: Job | None = found[0] if found else None
        if job is not None:
            self.demand_view(request, job)
        return job

    def missing_job(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return Django's redirect for an object that does not exist."""
        # As text: a route may have made a UUID of it.
        return self._get_obj_does_not_exist_redirect(request, self.opts, str(object_id))  # type: ignore[attr-defined, no-any-return]

    def detail_context(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        user: Any = request.user
        sees_input = user.has_perm("async_accept.view_input")
        sees_traceback = user.has_perm("async_accept.view_traceback")
        stored = self._stored(job, sees_traceback) if job.is_final else None
        return {
            "job": job,
            "version": version(job),
            "parts": _live_parts(job),
            "stalled_for": stalled_for([job]),
            "object_html": object_link(job, self.admin_site, request),
            "timeline": timeline(job),
            "waited": waited(job),
            "result": self._result(job, stored),
            "problem": redact(job.problem) if job.problem else None,
            "problem_title": translated((job.problem or {}).get("title") or ""),
            "problem_detail": translated((job.problem or {}).get("detail") or ""),
            "problem_errors": pretty(job.problem["errors"]) if (job.problem or {}).get("errors") else None,
            "traceback": stored["trace"] if stored and sees_traceback else None,
            "sees_input": sees_input,
            "input": self._input(job) if sees_input and job.input is not None else None,
            "can_rerun": ACTIONS["rerun"].applies(job),
            "asked": self._asked(job) if sees_input else None,
            "task_result_url": self._task_result_url(user, stored),
            "monitor_url": self._monitor_url(job),
            "blocks": [block(request, job, self.admin_site) for block in BLOCKS],
        }

    def detail_queryset(self, request: HttpRequest) -> Any:
        """Return the jobs of ``get_queryset()``, with all columns that the user may see."""
        user: Any = request.user
        jobs = self.get_queryset(request).defer(None).order_by()
        jobs = with_stalled(jobs.select_related("owner", "object_type"))
        # Who may not see the input may still rerun the job, if there is an input.
        kept = ExpressionWrapper(Q(input__isnull=False), output_field=BooleanField())
        jobs = jobs.annotate(input_kept=kept)
        return jobs if user.has_perm("async_accept.view_input") else jobs.defer(*SENSITIVE)

    def download(self, job: Job) -> HttpResponse:
        """Return a succeeded job's result as a file.

        Raises:
            Http404: there is none, or none any more.
        """
        result = None
        if job.state == State.SUCCEEDED and not job.is_expired:
            with suppress(TaskResult.DoesNotExist):
                result = results.load(job)
        if result is None or result.body is None:
            raise Http404
        body: Any = result.body
        kind = "application/json" if result.is_json else result.content_type or "application/octet-stream"
        if isinstance(body, str):
            body = json.dumps(redact(json.loads(body)), indent=2, ensure_ascii=False)
        ending = ".json" if result.is_json else guess_extension(kind.partition(";")[0].strip()) or ".bin"
        headers = {
            "Content-Disposition": f'attachment; filename="job-{job.pk}{ending}"',
            "X-Content-Type-Options": "nosniff",
        }
        if "Content-Encoding" in result.headers:
            headers["Content-Encoding"] = result.headers["Content-Encoding"]
        if isinstance(body, File):
            streamed: Any = StreamingHttpResponse(body.chunks(), content_type=kind, headers=headers)
            streamed._resource_closers.append(body.close)
            return streamed  # type: ignore[no-any-return]
        return HttpResponse(body, content_type=kind, headers=headers)

    def _stored(self, job: Job, traceback: bool) -> dict[str, Any] | None:
        """Read what is kept in celery's result storage, in one statement."""
        trace: Any = F("traceback") if traceback else Value(None, output_field=TextField())
        columns: Any = {"size": Length("result"), "text": Left("result", PARSED_CHARS), "trace": trace}
        rows: Any = results.stored(job).annotate(**columns)
        return rows.values("pk", *columns).first()  # type: ignore[no-any-return]

    def _result(self, job: Job, stored: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what the page shows of the result; None if the job has not succeeded."""
        if job.state != State.SUCCEEDED:
            return None
        response = job.response or {"status": 200, "headers": {}}
        shown: dict[str, Any] = {
            "status": response.get("status"),
            "headers": _headers(response),
            "gone": job.is_expired or stored is None,
            "content_type": response.get("content_type"),
            "size": response.get("size", stored["size"] if stored else None),
            "is_large": "file" in response or (stored is not None and (stored["size"] or 0) > PARSED_CHARS),
            "body": None,
        }
        if not shown["gone"] and stored and stored["text"] is not None and not shown["is_large"]:
            with suppress(ValueError):  # not JSON: somebody else has written it
                shown["body"] = _shown(json.loads(stored["text"]), response.get("kept", "json"))
        return shown

    def _input(self, job: Job) -> Shown:
        return pretty(events.shown(job.input) if events.is_event(job) else job.input)

    def _asked(self, job: Job) -> list[tuple[str, str]]:
        """Return labels and values that describe the request that is replayed."""
        if not job.request:
            return []
        meta = job.request.get("meta") or {}
        query = redact_query(meta.get("QUERY_STRING") or "")
        path = f"{job.request.get('path', '')}{'?' + query if query else ''}"
        rows: Iterator[tuple[str, str]] = iter(
            [
                (_("Request"), f"{job.request.get('method', '')} {path}"),
                (_("Content type"), meta.get("CONTENT_TYPE") or ""),
                (_("Request id"), meta.get("HTTP_X_REQUEST_ID") or ""),
            ]
        )
        return [(label, value) for label, value in rows if value]

    def _task_result_url(self, user: Any, stored: dict[str, Any] | None) -> str:
        if (
            stored is None
            or not self.admin_site.is_registered(TaskResult)
            or not user.has_perm("django_celery_results.view_taskresult")
        ):
            return ""
        return model_url(self.admin_site, TaskResult._meta, "change", stored["pk"])

    def _monitor_url(self, job: Job) -> str:
        if job.forgotten:
            return ""
        try:
            return reverse("async_accept:job-detail", kwargs={"pk": str(job.pk)})
        except NoReverseMatch:
            return ""
