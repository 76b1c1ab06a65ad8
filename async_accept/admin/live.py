"""Live updates: what changes on a page while its jobs go on, by name, as HTML that is ready to be shown.

A list asks for all of its active jobs at once. The page of a job asks for the few parts that change with every report,
and fetches itself again where its version says that more has changed.
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

__all__ = ["LiveMixin", "live", "page_parts", "version"]

#: How many jobs one live update tells about.
LIVE_JOBS = 100
#: Columns that the parts of a page do not need.
UNREAD = ("input", "request", "history", "response", "problem")


def live(
    job: Job, part: str, content: Any, element: str = "span", attributes: Mapping[str, str] | None = None
) -> SafeString:
    """Mark a part for the live updates; an active job is asked about, one that has ended is not."""
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
    """Return the parts of a job's page that change with every report."""
    return {
        "state": state_cell(job),
        "duration": elapsed(job),
        "message": message(job),
        "log": escape(job.log),
    }


def version(job: Job) -> str:
    """Return a word that is another one as soon as more of a job's page is to change than its parts."""
    marks = {"starves": getattr(job, "starves", False), "log": bool(job.log)}
    return " ".join([job.state, str(job.attempt), *(name for name, is_so in marks.items() if is_so)])


class LiveMixin(SiteMixin):
    """The views that the script asks."""

    get_queryset: Any
    detail_queryset: Any

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """Tell how the cells of the jobs in ``?ids=`` look now, at most 100; one statement."""
        self.demand_view(request)
        ids = [pk for text in request.GET.get("ids", "").split(",")[:LIVE_JOBS] if (pk := parse_id(text))]
        jobs = self.get_queryset(request).filter(pk__in=ids).order_by() if ids else []
        told = {job.pk.hex: {"active": job.is_active, "parts": row_parts(job)} for job in jobs}
        return JsonResponse({"jobs": told})

    def live_page_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Tell how the parts of one job's page look now; one statement."""
        self.demand_view(request)
        jobs = self.detail_queryset(request).defer(*UNREAD).filter(pk=object_id)
        told = {
            job.pk.hex: {
                "active": job.is_active,
                "parts": page_parts(job),
                "version": version(job),
            }
            for job in jobs
        }
        return JsonResponse({"jobs": told})


def parse_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
