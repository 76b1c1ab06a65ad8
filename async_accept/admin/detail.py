"""The detail page: where a job stands, what happened to it, what it was asked and what it answered.

Stored data is shown with its secrets hidden. The input needs ``view_input`` and the traceback ``view_traceback``;
without them those columns are not even read.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, F, Q, Value
from django.db.models.fields import TextField
from django.db.models.functions import Left, Length
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django_celery_results.models import TaskResult

from ..jobs import results
from ..models import Job
from ..problems import translated
from ..redaction import redact, redact_query
from ..states import State
from .actions import ACTIONS
from .cells import object_link
from .live import live, page_parts, version
from .pages import SiteMixin, model_url
from .statistics import starving, with_alarm
from .timeline import timeline, waited

__all__ = ["DetailMixin", "pretty"]

#: So much of a result or an input is shown; the rest can be downloaded.
SHOWN_CHARS = 64 * 1024
#: A stored result above this is only downloaded, never taken apart for a page.
PARSED_CHARS = 2_000_000
#: Columns of the detail page that need no permission of their own.
SENSITIVE = ("input", "request")


class Shown(NamedTuple):
    """Stored JSON, ready to be read."""

    text: str
    cut: bool


def pretty(value: Any) -> Shown:
    """Return *value* as indented JSON with its secrets hidden, at most 64 KB of it."""
    text = json.dumps(redact(value), indent=2, ensure_ascii=False)
    return Shown(text[:SHOWN_CHARS], len(text) > SHOWN_CHARS)


def _live_parts(job: Job) -> dict[str, SafeString]:
    """Return the parts that change with every report, marked for the live updates."""
    elements: dict[str, tuple[str, dict[str, str]]] = {
        "message": ("p", {"class": "aa-message"}),
        "log": ("pre", {"class": "aa-log", "tabindex": "0"}),
    }
    return {name: live(job, name, html, *elements.get(name, ())) for name, html in page_parts(job).items()}


class DetailMixin(SiteMixin):
    """Builds the context of the detail page."""

    def detail_context(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        user: Any = request.user
        sees_input = user.has_perm("async_accept.view_input")
        sees_traceback = user.has_perm("async_accept.view_traceback")
        stored = self._stored(job, sees_traceback) if job.is_final else None
        return {
            "job": job,
            "version": version(job),
            "parts": _live_parts(job),
            "starving": starving([job]),
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
            "input": pretty(job.input) if sees_input and job.input is not None else None,
            "can_rerun": ACTIONS["rerun"].applies(job),
            "asked": self._asked(job) if sees_input else None,
            "task_result_url": self._task_result_url(user, stored),
            "monitor_url": self._monitor_url(job),
        }

    def detail_queryset(self, request: HttpRequest) -> Any:
        """Jobs with the columns that the user may see."""
        user: Any = request.user
        jobs = with_alarm(Job.objects.filter(forgotten=False).select_related("owner", "object_type"))
        # Whether there is an input decides over a button, also for those who may not see it.
        kept = ExpressionWrapper(Q(input__isnull=False), output_field=BooleanField())
        jobs = jobs.annotate(input_kept=kept)
        return jobs if user.has_perm("async_accept.view_input") else jobs.defer(*SENSITIVE)

    def download(self, job: Job) -> HttpResponse:
        """Return a succeeded job's result as a file.

        Raises:
            Http404: there is none, or none any more.
        """
        text = None
        if job.state == State.SUCCEEDED and not job.is_expired:
            with suppress(TaskResult.DoesNotExist):
                text = results.read(job)
        if text is None:
            raise Http404
        body = json.dumps(redact(json.loads(text)), indent=2, ensure_ascii=False)
        return HttpResponse(
            body,
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="job-{job.pk}.json"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    def _stored(self, job: Job, traceback: bool) -> dict[str, Any] | None:
        """Read what is kept in celery's result storage, in one statement."""
        trace: Any = F("traceback") if traceback else Value(None, output_field=TextField())
        columns: Any = {"size": Length("result"), "text": Left("result", PARSED_CHARS), "trace": trace}
        rows: Any = results.stored(job).annotate(**columns)
        return rows.values("pk", *columns).first()  # type: ignore[no-any-return]

    def _result(self, job: Job, stored: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return how the result is shown; None where the job has none (yet)."""
        if job.state != State.SUCCEEDED:
            return None
        answer = job.response or {"status": 200, "headers": {}}
        shown: dict[str, Any] = {
            "status": answer.get("status"),
            "headers": redact(answer.get("headers") or {}),
            "gone": job.is_expired or stored is None,
            "size": stored["size"] if stored else None,
            "body": None,
        }
        if not shown["gone"] and stored and stored["text"] is not None and stored["size"] <= PARSED_CHARS:
            try:
                shown["body"] = pretty(json.loads(stored["text"]))
            except ValueError:  # written by another hand
                shown["body"] = None
        return shown

    def _asked(self, job: Job) -> list[tuple[str, str]]:
        """Return how the replayed request came in."""
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
        try:
            return reverse("async_accept:job-detail", kwargs={"pk": str(job.pk)})
        except NoReverseMatch:
            return ""
