"""What staff can do with jobs: cancel, rerun, purge, export. Each has a limit, and is written to the admin's log."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from time import monotonic
from typing import Any, NamedTuple, cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from ..db.clock import local
from ..exceptions import InputGone, JobActive, TooManyJobs
from ..jobs import keys, retention
from ..jobs.accept import rerun
from ..models import Job, database_now
from ..querysets import HEAVY, JobQuerySet
from ..states import FINAL, State
from .changelist import CAP
from .export import async_csv_lines, csv_lines
from .formatting import number, number_up_to
from .reading import read

__all__ = ["ACTIONS", "JobAction", "Outcome", "PerJobAction", "count_text", "count_up_to_cap"]

logger = logging.getLogger(__name__)

#: How many jobs are in memory at a time, and are written to the log together.
AT_ONCE = 100
#: For how many seconds it looks for further jobs, if it cannot be done with some of the first.
LONGER_SECONDS = 20.0


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
    #: The jobs that it is done with, and the reason why the others are left alone. It must not hold any more once it is
    #: done: else a repetition meets the same jobs again, and never the rest.
    condition: Q
    #: The jobs that a button does it with, if these are more.
    by_button: Q | None = None
    excuse: str | Promise = gettext_lazy("Left alone, because of their state")
    #: How many jobs it takes at once, and the sentence that says so.
    limit = 1_000
    limited: str | Promise = gettext_lazy(
        "One go takes at most %(number)s jobs, the oldest first. Repeat it for the rest."
    )

    def eligible(self, jobs: JobQuerySet, *, by_button: bool = False) -> JobQuerySet:
        """Those of *jobs* that it is done with."""
        return jobs.filter(self._condition(by_button))

    def left_alone(self, jobs: JobQuerySet, *, by_button: bool = False) -> JobQuerySet:
        """Those of *jobs* that it is not done with."""
        return jobs.exclude(self._condition(by_button))

    def _condition(self, by_button: bool) -> Q:
        return (by_button and self.by_button) or self.condition

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


class Outcome(NamedTuple):
    """What came of an action."""

    #: Those it was done with; not those that have ended meanwhile.
    done: Sequence[Any]
    #: With how many it had been done already, by an earlier POST of the same answer.
    repeated: int = 0
    #: With how many it failed.
    failed: int = 0


class PerJobAction(JobAction):
    """An action that is done with each job by itself, and then says with how many."""

    #: What the admin's log says of each.
    flag = CHANGE
    entry: str | Promise

    def run(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        """Do it with the oldest of *jobs*, up to the limit; those it cannot be done with do not block the others."""
        ids = list(jobs.order_by("created_at").values_list("pk", flat=True)[:CAP])
        until = monotonic() + LONGER_SECONDS
        count = tried = failed = 0
        while ids and count < self.limit and (tried < self.limit or monotonic() < until):
            size = min(AT_ONCE, self.limit - count)
            batch, ids = ids[:size], ids[size:]
            outcome = self.perform(request, read(jobs.filter(pk__in=batch).order_by("created_at")))
            self._write_log(request, outcome.done)
            tried += len(batch)
            count += len(outcome.done) + outcome.repeated
            failed += outcome.failed
        self._tell(request, count, failed)

    def perform(self, request: HttpRequest, jobs: Sequence[Any]) -> Outcome:
        """Do it with each of *jobs*; an error with one of them does not keep the others from it."""
        done: list[Any] = []
        repeated = failed = 0
        for job in jobs:
            try:
                with _alone(job):
                    was_done = self.do(request, job)
            except Exception as error:
                # Without its message, which may hold what only the job's owner may know.
                logger.error("Action %s failed with %s: %s", self.name, job, type(error).__name__)
                failed += 1
            else:
                if was_done:
                    done.append(job)
                repeated += was_done is None
        return Outcome(done, repeated, failed)

    def do(self, request: HttpRequest, job: Any) -> bool | None:
        """Do it with one job; False if it cannot be done, None if an earlier POST of the same answer has done it."""
        raise NotImplementedError

    @abstractmethod
    def done(self, count: int) -> str:
        """The message afterwards."""

    def _write_log(self, request: HttpRequest, jobs: Sequence[Any]) -> None:
        """Add an entry for each of *jobs* to the admin's log."""
        if jobs:
            LogEntry.objects.log_actions(cast(int, request.user.pk), jobs, self.flag, str(self.entry))

    def _tell(self, request: HttpRequest, count: int, failed: int) -> None:
        if count or not failed:
            level = messages.SUCCESS if count else messages.WARNING
            messages.add_message(request, level, self.done(count) % {"count": count_text(count)})
        if failed:
            said = ngettext(
                "%(count)s was left as it is because of an error, which the server’s log names.",
                "%(count)s were left as they are because of errors, which the server’s log names.",
                failed,
            )
            messages.error(request, said % {"count": count_text(failed)})


class Cancel(PerJobAction):
    name, button, yes = "cancel", gettext_lazy("Cancel"), pgettext_lazy("answer", "Yes, cancel")
    condition = Q(state__in=[State.ACCEPTED, State.RUNNING])
    excuse = gettext_lazy("Left alone, because they have ended or were asked to stop already")
    entry = gettext_lazy("Asked to stop.")

    def applies(self, job: Job) -> bool:
        return job.state in (State.ACCEPTED, State.RUNNING)

    def question(self, count: int) -> str:
        return ngettext("Cancel %(count)s job?", "Cancel %(count)s jobs?", count)

    def done(self, count: int) -> str:
        return ngettext("%(count)s job was asked to stop.", "%(count)s jobs were asked to stop.", count)

    def do(self, request: HttpRequest, job: Job) -> bool:
        return job.cancel()


class Rerun(PerJobAction):
    name, button, yes = "rerun", gettext_lazy("Run again"), pgettext_lazy("answer", "Yes, run again")
    # Uploads are removed right after a job has ended, and without them its input is of no use.
    by_button = Q(state__in=FINAL, input__isnull=False, uploads__isnull=True, forgotten=False)
    condition = by_button & Q(rerun_as__isnull=True)
    excuse = gettext_lazy(
        "Left alone, because they have not ended, were run again already, or their input is gone"
    )
    entry = gettext_lazy("Run again.")

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

    def do(self, request: HttpRequest, job: Job) -> bool | None:
        whole = Job.objects.filter(pk=job.pk).first()  # with its input, which may be large: one at a time
        if whole is None:
            return False
        try:
            again = rerun(whole, **self._key_columns(request, job))
        except (InputGone, JobActive, TooManyJobs):
            return False
        return None if again.pk == whole.rerun_as else again.rerun_of == job.pk

    def _key_columns(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """Return the columns of an idempotency key, so that a form that is sent twice makes one new job."""
        key = request.POST.get("key")
        if not key:
            return {}
        route = f"admin/{job.pk}/rerun"
        return dict(keys.columns(key, caller=request.user.pk, method="POST", route=route, payload=None))


class Purge(PerJobAction):
    name, button, yes = "purge", gettext_lazy("Purge"), pgettext_lazy("answer", "Yes, purge")
    severe = True
    condition = Q(state__in=FINAL)
    flag, entry = DELETION, gettext_lazy("Purged.")

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

    def perform(self, request: HttpRequest, jobs: Sequence[Job]) -> Outcome:
        ids = [job.pk for job in jobs]
        retention.purge(ids)
        # Rows of the project may protect some.
        left = set(Job.objects.filter(pk__in=ids).values_list("pk", flat=True))
        return Outcome([job for job in jobs if job.pk not in left], failed=len(left))


class Export(JobAction):
    """A CSV file with a line for each job, streamed."""

    name, button, yes = "export", gettext_lazy("Export"), pgettext_lazy("answer", "Yes, export")
    downloads = True
    condition = Q()
    limit = 1_000_000
    limited = gettext_lazy("A file has at most %(number)s jobs, in the order of the list.")

    def applies(self, job: Job) -> bool:
        return False  # the list exports; a file with one job is of little use

    def left_alone(self, jobs: JobQuerySet, *, by_button: bool = False) -> JobQuerySet:
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
        # With the problem, which the list leaves out, and without other JSON that a file does not have.
        jobs = jobs.defer(None).defer(*HEAVY, "progress", "uploads", "message_options", "response")
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


def _alone(row: Any) -> Any:
    """Return a savepoint if the request is one transaction (``ATOMIC_REQUESTS``), so that an error breaks no more."""
    using = row._state.db
    return transaction.atomic(using=using) if connections[using].in_atomic_block else nullcontext()


def count_up_to_cap(jobs: JobQuerySet) -> int:
    """Return how many *jobs* there are, or one more than the cap."""
    return jobs.order_by().values("pk")[: CAP + 1].count()


def count_text(count: int) -> str:
    """Return what ``count_up_to_cap()`` counted, as the reader's language writes it: 10,000+ above the cap."""
    return number_up_to(count, CAP)
