"""What staff can do with jobs: cancel, rerun, purge, export. Each is written down, and one go is bounded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from ..exceptions import InputGone, JobActive, TooManyJobs
from ..jobs import retention
from ..jobs.accept import rerun
from ..models import Job
from ..querysets import HEAVY, JobQuerySet
from ..states import ACTIVE, FINAL
from .changelist import CAP
from .export import async_csv_lines, csv_lines

__all__ = ["ACTIONS", "JobAction", "capped", "written"]


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

    def told_limit(self, eligible: int) -> str:
        """What is said of the limit, where one go may not take all."""
        # Above the cap nobody knows how many there are, so a limit beyond it is told in case it is met.
        met = eligible > min(self.limit, CAP)
        return self.limited % {"number": _number(self.limit)} if met else ""

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
        _write_down(request, canceled, CHANGE, _("Asked to stop."))
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
        _write_down(request, new, CHANGE, _("Run again."))
        return new

    def _runs_again(self, job: Job) -> bool:
        try:
            return rerun(job).rerun_of == job.pk
        except (InputGone, JobActive, TooManyJobs):
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
        _write_down(request, jobs, DELETION, _("Purged."))
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
    return _number(min(count, CAP)) + ("+" if count > CAP else "")


def _number(value: int) -> str:
    return formats.number_format(value, use_l10n=True, force_grouping=True)


def _write_down(request: HttpRequest, jobs: Sequence[Job], flag: int, message: str) -> None:
    """Add an entry for each of *jobs* to the admin's log."""
    if jobs:
        LogEntry.objects.log_actions(cast(int, request.user.pk), jobs, flag, message)
