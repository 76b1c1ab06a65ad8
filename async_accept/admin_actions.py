"""What staff do with jobs: cancel, rerun, purge, export. Each has its own permission, asks first, and is written down.

The list offers all four, and the page of a job those that make sense for one. However many jobs are chosen, one go is
bounded.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from . import dispatch, retention
from .admin_csv import async_csv_lines, csv_lines
from .admin_list import CAP
from .admin_site import SiteMixin
from .exceptions import InputGone
from .models import Job
from .querysets import HEAVY, JobQuerySet
from .states import ACTIVE, FINAL

__all__ = ["ACTIONS", "ActionsMixin", "JobAction"]


class JobAction(ABC):
    """One thing that staff may do with jobs."""

    name: str
    #: The word on its button, and the answer that does it.
    button: str | Promise
    yes: str | Promise
    #: It cannot be undone.
    severe = False
    #: The answer is a file, so the page with the question stays.
    downloads = False
    #: The jobs that it applies to, and why it leaves others alone.
    condition: Q
    excuse: str | Promise = gettext_lazy("Left alone, because of their state")
    #: How many jobs one go takes, and in which words that is said.
    limit = 1_000
    limited: str | Promise = gettext_lazy(
        "One go takes at most %(number)s jobs, the oldest first. Repeat it for the rest."
    )

    def narrow(self, jobs: JobQuerySet) -> JobQuerySet:
        """The jobs among *jobs* that it applies to."""
        return jobs.filter(self.condition)

    def leave(self, jobs: JobQuerySet) -> JobQuerySet:
        """The others."""
        return jobs.exclude(self.condition)

    @abstractmethod
    def applies(self, job: Job) -> bool:
        """Whether the page of *job* offers it."""

    @abstractmethod
    def question(self, count: int) -> str:
        """What is asked before *count* jobs are touched."""

    @abstractmethod
    def run(self, request: HttpRequest, jobs: JobQuerySet) -> HttpResponseBase | None:
        """Do it to *jobs* and write it down; return an answer, or None where the list or the job is shown again."""


class Deed(JobAction):
    """What is done to each job by itself."""

    def run(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        # All columns: a rerun needs the input that lists leave out.
        chosen = list(jobs.defer(None).order_by("created_at")[: self.limit])
        count = len(self.perform(request, chosen)) if chosen else 0
        level = messages.SUCCESS if count else messages.WARNING
        messages.add_message(request, level, self.done(count) % {"count": written(count)})

    @abstractmethod
    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Sequence[Job]:
        """Do it and write it down; return the jobs that it was done to, because some may have moved on."""

    @abstractmethod
    def done(self, count: int) -> str:
        """What is said afterwards."""


class Cancel(Deed):
    name, button, yes = "cancel", gettext_lazy("Cancel"), pgettext_lazy("answer", "Yes, cancel")
    condition = Q(state__in=ACTIVE)

    def applies(self, job: Job) -> bool:
        return job.is_active

    def question(self, count: int) -> str:
        return ngettext("Cancel %(count)s job?", "Cancel %(count)s jobs?", count)

    def done(self, count: int) -> str:
        return ngettext("%(count)s job was asked to stop.", "%(count)s jobs were asked to stop.", count)

    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Sequence[Job]:
        canceled = [job for job in jobs if job.cancel()]
        write_down(request, canceled, CHANGE, _("Asked to stop."))
        return canceled


class Rerun(Deed):
    name, button, yes = "rerun", gettext_lazy("Run again"), pgettext_lazy("answer", "Yes, run again")
    # The input of a job with uploads goes with them, right after its end.
    condition = Q(state__in=FINAL, input__isnull=False, uploads__isnull=True)
    excuse = gettext_lazy("Left alone, because they have not ended or their input is gone")

    def applies(self, job: Job) -> bool:
        return job.can_rerun

    def question(self, count: int) -> str:
        return ngettext(
            "Run %(count)s job again, as a new job with the same input?",
            "Run %(count)s jobs again, as new jobs with the same input?",
            count,
        )

    def done(self, count: int) -> str:
        return ngettext("%(count)s job runs again.", "%(count)s jobs run again.", count)

    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Sequence[Job]:
        new = [job for job in jobs if self._runs_again(job)]
        write_down(request, new, CHANGE, _("Run again."))
        return new

    def _runs_again(self, job: Job) -> bool:
        try:
            return dispatch.rerun(job).rerun_of == job.pk
        except InputGone:
            return False


class Purge(Deed):
    name, button, yes = "purge", gettext_lazy("Purge"), pgettext_lazy("answer", "Yes, purge")
    severe = True
    condition = Q(state__in=FINAL)

    def applies(self, job: Job) -> bool:
        return job.is_final

    def question(self, count: int) -> str:
        return ngettext(
            "Delete %(count)s job with its result, for good?",
            "Delete %(count)s jobs with their results, for good?",
            count,
        )

    def done(self, count: int) -> str:
        return ngettext("%(count)s job was purged.", "%(count)s jobs were purged.", count)

    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Sequence[Job]:
        retention.purge([job.pk for job in jobs])
        write_down(request, jobs, DELETION, _("Purged."))
        return jobs


class Export(JobAction):
    """A file with a line per job, sent while it is read."""

    name, button, yes = "export", gettext_lazy("Export"), pgettext_lazy("answer", "Yes, export")
    downloads = True
    condition = Q()
    limit = 1_000_000
    limited = gettext_lazy("A file has at most %(number)s jobs, in the order of the list.")

    def applies(self, job: Job) -> bool:
        return False  # a file of one line helps nobody

    def leave(self, jobs: JobQuerySet) -> JobQuerySet:
        return jobs.none()

    def question(self, count: int) -> str:
        return ngettext("Export %(count)s job as CSV?", "Export %(count)s jobs as CSV?", count)

    def run(self, request: HttpRequest, jobs: JobQuerySet) -> HttpResponseBase:
        chosen = capped(jobs)
        LogEntry.objects.create(
            user_id=cast(int, request.user.pk),
            content_type=ContentType.objects.get_for_model(Job),
            object_repr=ngettext("%(count)s job", "%(count)s jobs", chosen) % {"count": written(chosen)},
            action_flag=CHANGE,
            change_message=_("Exported as CSV."),
        )
        jobs = jobs.defer(None).defer(*HEAVY)  # the list leaves out the problem, which is a column here
        response = StreamingHttpResponse(
            # A server that speaks ASGI would first make a list of what is not asynchronous.
            (async_csv_lines if isinstance(request, ASGIRequest) else csv_lines)(jobs[: self.limit]),
            content_type="text/csv; charset=utf-8",
        )
        name = timezone.localtime().strftime("jobs-%Y%m%d-%H%M%S.csv")
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


#: In the order of the menu.
ACTIONS: dict[str, JobAction] = {action.name: action for action in (Cancel(), Rerun(), Purge(), Export())}


def capped(jobs: JobQuerySet) -> int:
    """Return how many *jobs* there are, or one more than the cap."""
    return jobs.order_by().values("pk")[: CAP + 1].count()


def written(count: int) -> str:
    """Return *count* as the reader's language writes it; of more than the cap, nobody knows how many there are."""
    return number(min(count, CAP)) + ("+" if count > CAP else "")


def number(value: int) -> str:
    return formats.number_format(value, use_l10n=True, force_grouping=True)


def write_down(request: HttpRequest, jobs: Sequence[Job], flag: int, message: str) -> None:
    """Add an entry for each of *jobs* to the admin's log."""
    if jobs:
        LogEntry.objects.log_actions(cast(int, request.user.pk), jobs, flag, message)


class ActionsMixin(SiteMixin):
    """Offers the actions in the list's menu, and a page that asks first."""

    confirm_template = "admin/async_accept/job/confirm.html"
    actions: Any = ("cancel", "rerun", "purge", "export")

    def may(self, request: HttpRequest, action: JobAction) -> bool:
        """Whether *request*'s user may do *action*: what ``has_<name>_permission()`` says."""
        return bool(getattr(self, f"has_{action.name}_permission")(request))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the actions that *request*'s user may do.

        Django's own delete is not among them: it would leave the results behind, and take open jobs too.
        """
        where = {} if action_location is None else {"action_location": action_location}  # from Django 6.1 on
        actions: dict[str, Any] = super().get_actions(request, **where)  # type: ignore[misc]
        actions.pop("delete_selected", None)
        return actions

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.cancel_job")

    def has_rerun_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.rerun_job")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.purge_job")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.export_job")

    @admin.action(permissions=["cancel"], description=gettext_lazy("Cancel selected jobs"))
    def cancel(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["cancel"], queryset)

    @admin.action(permissions=["rerun"], description=gettext_lazy("Run selected jobs again"))
    def rerun(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["rerun"], queryset)

    @admin.action(permissions=["purge"], description=gettext_lazy("Purge selected jobs that have ended"))
    def purge(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["purge"], queryset)

    @admin.action(permissions=["export"], description=gettext_lazy("Export selected jobs as CSV"))
    def export(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["export"], queryset)

    def run_action(
        self,
        request: HttpRequest,
        action: JobAction,
        jobs: JobQuerySet,
        job: Job | None = None,
        back: str = "",
    ) -> HttpResponseBase | None:
        """Ask, or do it where that was answered; None once it is done.

        Args:
            job: the only one of *jobs*, where it is a button's.
            back: where a no leads to; the list by default.

        Raises:
            PermissionDenied: the user may not (403).
        """
        if not self.may(request, action):
            raise PermissionDenied
        eligible = action.narrow(jobs)
        if request.method == "POST" and request.POST.get("confirmed"):
            return action.run(request, eligible)
        context = {"job": job, "back": back or self._list_url(request)}
        return self._ask(request, action, capped(eligible), capped(action.leave(jobs)), context)

    def _ask(
        self, request: HttpRequest, action: JobAction, eligible: int, left: int, context: dict[str, Any]
    ) -> HttpResponse:
        taken = min(eligible, action.limit)
        context |= {
            "title": action.button,
            "action": action,
            "question": action.question(taken) % {"count": written(taken)} if taken else "",
            "chosen": written(eligible + left),
            "left_alone": written(left) if left else "",
            # Above the cap nobody knows how many there are, so a limit beyond it is told in case it is met.
            "limited": action.limited % {"number": number(action.limit)}
            if eligible > min(action.limit, CAP)
            else "",
            "hidden": list(self._hidden(request)),
        }
        return self.render_page(request, self.confirm_template, context)

    def _list_url(self, request: HttpRequest) -> str:
        """Return the URL of the list as it was, with its filters, its search and its page."""
        query = request.GET.urlencode()
        return self.url_to("changelist") + (f"?{query}" if query else "")

    def _hidden(self, request: HttpRequest) -> Iterable[tuple[str, str]]:
        """Yield the fields that say which jobs were chosen in the list."""
        if "action" in request.POST:
            for name in ("action", "select_across", ACTION_CHECKBOX_NAME):
                for value in request.POST.getlist(name):
                    yield name, value
