"""What staff can do with jobs: cancel, rerun, purge, export. Each has a limit, and is written to the admin's log."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from ..db.clock import local
from ..exceptions import InputGone, JobActive, TooManyJobs
from ..jobs import retention
from ..jobs.accept import rerun
from ..models import Job, database_now
from ..querysets import HEAVY, JobQuerySet
from ..states import ACTIVE, FINAL
from .changelist import CAP
from .export import async_csv_lines, csv_lines
from .formatting import number, number_up_to

__all__ = ["ACTIONS", "JobAction", "PerJobAction", "count_text", "count_up_to_cap"]


class JobAction(ABC):
    """Something that staff may do with jobs."""

    name: str
    #: The label of its button, and the label of the button that confirms it.
    button: str | Promise
    yes: str | Promise
    #: Whether it cannot be undone.
    severe = False
    #: Whether the browser gets a file, so that the page with the question stays.
    downloads = False
    #: The jobs that it can be done with, and the reason why the others are left alone.
    condition: Q
    excuse: str | Promise = gettext_lazy("Left alone, because of their state")
    #: How many jobs it takes at once, and the sentence that says so.
    limit = 1_000
    limited: str | Promise = gettext_lazy(
        "One go takes at most %(number)s jobs, the oldest first. Repeat it for the rest."
    )

    def eligible(self, jobs: JobQuerySet) -> JobQuerySet:
        """Those of *jobs* that it can be done with."""
        return jobs.filter(self.condition)

    def left_alone(self, jobs: JobQuerySet) -> JobQuerySet:
        """Those of *jobs* that it cannot be done with."""
        return jobs.exclude(self.condition)

    def limit_note(self, eligible: int) -> str:
        """Return the sentence about the limit, if there may be more jobs than it takes at once; else nothing."""
        # A count ends at the cap: the real number may be above a limit that is higher than the cap.
        may_be_met = eligible > min(self.limit, CAP)
        return self.limited % {"number": number(self.limit)} if may_be_met else ""

    @abstractmethod
    def applies(self, job: Job) -> bool:
        """Whether the page of *job* offers it."""

    @abstractmethod
    def question(self, count: int) -> str:
        """The question before it is done with *count* jobs."""

    @abstractmethod
    def run(self, request: HttpRequest, jobs: JobQuerySet) -> HttpResponseBase | None:
        """Do it with *jobs* and write it to the log; return a response, or None to show the list or the job again."""


class PerJobAction(JobAction):
    """An action that is done with each job by itself, and then says with how many."""

    def run(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        # With all columns: a rerun needs the input, which lists leave out.
        chosen = list(jobs.defer(None).order_by("created_at")[: self.limit])
        count = len(self.perform(request, chosen)) if chosen else 0
        level = messages.SUCCESS if count else messages.WARNING
        messages.add_message(request, level, self.done(count) % {"count": count_text(count)})

    @abstractmethod
    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Sequence[Job]:
        """Do it with *jobs* and write it to the log; return those it was done with: some may have ended meanwhile."""

    @abstractmethod
    def done(self, count: int) -> str:
        """The message afterwards."""


class Cancel(PerJobAction):
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
        _write_log(request, canceled, CHANGE, _("Asked to stop."))
        return canceled


class Rerun(PerJobAction):
    name, button, yes = "rerun", gettext_lazy("Run again"), pgettext_lazy("answer", "Yes, run again")
    # Uploads are removed right after a job has ended, and without them its input is of no use.
    condition = Q(state__in=FINAL, input__isnull=False, uploads__isnull=True, forgotten=False)
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
        rerun = [job for job in jobs if self._rerun(job)]
        _write_log(request, rerun, CHANGE, _("Run again."))
        return rerun

    def _rerun(self, job: Job) -> bool:
        try:
            return rerun(job).rerun_of == job.pk
        except (InputGone, JobActive, TooManyJobs):
            return False


class Purge(PerJobAction):
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
        ids = [job.pk for job in jobs]
        retention.purge(ids)
        # Rows of the project may protect some.
        left = set(Job.objects.filter(pk__in=ids).values_list("pk", flat=True))
        gone = [job for job in jobs if job.pk not in left]
        _write_log(request, gone, DELETION, _("Purged."))
        return gone


class Export(JobAction):
    """A CSV file with a line for each job, streamed."""

    name, button, yes = "export", gettext_lazy("Export"), pgettext_lazy("answer", "Yes, export")
    downloads = True
    condition = Q()
    limit = 1_000_000
    limited = gettext_lazy("A file has at most %(number)s jobs, in the order of the list.")

    def applies(self, job: Job) -> bool:
        return False  # the list exports; a file with one job is of little use

    def left_alone(self, jobs: JobQuerySet) -> JobQuerySet:
        return jobs.none()

    def question(self, count: int) -> str:
        return ngettext("Export %(count)s job as CSV?", "Export %(count)s jobs as CSV?", count)

    def run(self, request: HttpRequest, jobs: JobQuerySet) -> HttpResponseBase:
        chosen = count_up_to_cap(jobs)
        LogEntry.objects.create(
            user_id=cast(int, request.user.pk),
            content_type=ContentType.objects.get_for_model(Job),
            object_repr=ngettext("%(count)s job", "%(count)s jobs", chosen) % {"count": count_text(chosen)},
            action_flag=CHANGE,
            change_message=_("Exported as CSV."),
        )
        jobs = jobs.defer(None).defer(*HEAVY)  # with the problem, which the list leaves out
        response = StreamingHttpResponse(
            # On ASGI, Django would first read a synchronous iterator into a list.
            (async_csv_lines if isinstance(request, ASGIRequest) else csv_lines)(jobs[: self.limit]),
            content_type="text/csv; charset=utf-8",
        )
        name = local(database_now()).strftime("jobs-%Y%m%d-%H%M%S.csv")
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


#: The actions by name, in the order of the menu.
ACTIONS: dict[str, JobAction] = {action.name: action for action in (Cancel(), Rerun(), Purge(), Export())}


def count_up_to_cap(jobs: JobQuerySet) -> int:
    """Return how many *jobs* there are, or one more than the cap."""
    return jobs.order_by().values("pk")[: CAP + 1].count()


def count_text(count: int) -> str:
    """Return what ``count_up_to_cap()`` counted, as the reader's language writes it: 10,000+ above the cap."""
    return number_up_to(count, CAP)


def _write_log(request: HttpRequest, jobs: Sequence[Job], flag: int, message: str) -> None:
    """Add an entry for each of *jobs* to the admin's log."""
    if jobs:
        LogEntry.objects.log_actions(cast(int, request.user.pk), jobs, flag, message)
