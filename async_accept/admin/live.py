"""Live updates: while jobs are active, a script asks for the parts of the page that change, and gets them as HTML.

A list asks for all of its active jobs at once. The page of a job asks for the parts that change with each progress
report; if the version has changed as well, the script fetches the whole page again.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.forms.utils import flatatt
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import formats
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from ..models import Job
from .cells import elapsed, message, moment, state_cell
from .pages import SiteMixin
from .reading import read

__all__ = ["LiveMixin", "live", "page_parts", "parse_id", "version"]

#: How many jobs one request may ask for.
LIVE_JOBS = 100
#: Columns that the parts of a page do not need.
UNREAD = ("input", "request", "history", "response", "problem")


def live(
    job: Job, part: str, content: Any, element: str = "span", attributes: Mapping[str, str] | None = None
) -> SafeString:
    """Return *content* in an element that the script keeps up to date while *job* is active."""
    marks = {"data-aa-job": job.pk.hex, "data-aa-part": part, "data-aa-active": job.is_active}
    return format_html("<{0}{1}>{2}</{0}>", element, flatatt({**marks, **(attributes or {})}), content)


def row_parts(job: Job) -> dict[str, SafeString]:
    """Return the cells of a list that change while a job is active."""
    return {
        "state": state_cell(job),
        "created": moment(job.created_at),
        "duration": elapsed(job),
        "attempt": SafeString(formats.number_format(job.attempt)),
    }


def page_parts(job: Job) -> dict[str, SafeString]:
    """Return the parts of a job's page that change with each progress report."""
    return {
        "state": state_cell(job),
        "duration": elapsed(job),
        "message": message(job),
        "log": escape(job.log),
    }


def version(job: Job) -> str:
    """Return a token that changes when the page must be fetched again, because more than its parts changes."""
    marks = {"stalled": getattr(job, "stalled", False), "log": bool(job.log), "deleted": job.forgotten}
    return " ".join([job.state, str(job.attempt), *(name for name, is_so in marks.items() if is_so)])


class LiveMixin(SiteMixin):
    """The views that the script calls."""

    get_queryset: Any
    detail_queryset: Any

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """Return the current cells of the jobs in ``?ids=``, at most 100; one statement."""
        self.demand_view(request)
        ids = [pk for text in request.GET.get("ids", "").split(",")[:LIVE_JOBS] if (pk := parse_id(text))]
        jobs = read(self.get_queryset(request).filter(pk__in=ids).order_by()) if ids else []
        current = {job.pk.hex: {"active": job.is_active, "parts": row_parts(job)} for job in jobs}
        return JsonResponse({"jobs": current})

    def live_page_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Return the current parts and version of one job's page; one statement."""
        self.demand_view(request)
        current = {}
        for job in read(self.detail_queryset(request).defer(*UNREAD).filter(pk=object_id)[:1]):
            self.demand_view(request, job)
            current[job.pk.hex] = {
                "active": job.is_active,
                "parts": page_parts(job),
                "version": version(job),
            }
        return JsonResponse({"jobs": current})


def parse_id(text: str) -> UUID | None:
    """Return *text* as a job's id; None if it is no UUID."""
    try:
        return UUID(text)
    except ValueError:
        return None
