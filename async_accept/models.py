"""The ``Job`` row: the one truth about an accepted request.

The broker is a doorbell and the result storage holds values; what was asked, by whom, where it stands and how it
ended is here. Every change of state is one conditional UPDATE on the states it may leave and, for a worker,
on the attempt that does it. Who changes no row has lost the race.
"""

import sys
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core import checks
from django.db import models, router
from django.db.models import Case, Q, Value, When
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import signals
from .conf import conf
from .db.errors import again_after_conflict
from .db.fields import JSONTextField
from .db.functions import from_now
from .db.transactions import after_commit
from .problems import LOST_AT_EVERY_ATTEMPT, Problem, problem
from .querysets import JobQuerySet
from .states import ACTIVE, FINAL, LEASED, State

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils.compat import uuid7

__all__ = ["Job", "JoinedKey", "database", "new_id"]

#: No further condition on a transition.
ANY = Q()
#: A task without a limit of attempts still ends before the column does.
ATTEMPTS_CEILING = 30_000
#: A longer primary key of an object is not kept.
OBJECT_ID_CHARS = 255
#: How many of the last attempts a job remembers.
HISTORY_LENGTH = 50


def new_id(*, anonymous: bool = False) -> uuid.UUID:
    """Return an id for a job: time-ordered (version 7), or random (version 4) where the URL is the only key."""
    if anonymous and conf.RANDOM_ANONYMOUS_IDS:
        return uuid.uuid4()
    return uuid7()


def lost_delay(attempt: int) -> timedelta:
    """Return how long a lost job waits: not at all the first time, then twice as long each time, up to a minute."""
    return timedelta(seconds=0 if attempt <= 1 else min(2 ** (attempt - 1), 60))


class WrittenManager(models.Manager[Any]):
    """Asks the database that is written to.

    A replica lags behind: a worker would not find the job that it was rung for, and a repeat not the first one.
    """

    def get_queryset(self) -> models.QuerySet[Any]:
        rows = super().get_queryset()
        return rows if self._db else rows.using(router.db_for_write(self.model))


JobManager = WrittenManager.from_queryset(JobQuerySet)


class Job(models.Model):
    """One accepted request, from the 202 to its only outcome."""

    #: Time-ordered, so that newest-first needs no index of its own; random for anonymous callers.
    id = models.UUIDField(_("id"), primary_key=True, default=new_id, editable=False)
    #: Who asked. Null for anonymous callers, and for an owner who was deleted since.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,  # the index on (owner, id) begins with it
    )
    #: Nobody was logged in: the URL is the capability. Not derived from a null owner, who may have been deleted.
    anonymous = models.BooleanField(_("anonymous"), default=False)
    #: What is asked for, as a stable name: ``orders.create``.
    operation = models.CharField(_("operation"), max_length=100)
    #: The name of the Celery task that does the work.
    task = models.CharField(_("task"), max_length=255)
    #: The object that the request is about, if it is about one.
    object_type = models.ForeignKey(
        ContentType,
        verbose_name=_("object type"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    object_id = models.CharField(_("object id"), max_length=OBJECT_ID_CHARS, null=True, blank=True)  # noqa: DJ001 indexed where set
    content_object = GenericForeignKey("object_type", "object_id")
    #: Whether the work has created this object: then a rerun is not about it, but creates another one.
    object_created = models.BooleanField(default=False, editable=False)
    #: The job whose input this one repeats. No foreign key here, because either may be purged first.
    rerun_of = models.UUIDField(_("rerun of"), null=True, blank=True)
    #: The latest job that repeats the input of this one.
    rerun_as = models.UUIDField(_("rerun as"), null=True, blank=True)

    #: The exact input: the keyword arguments of a task, or the parsed data of a replayed request.
    input = JSONTextField(_("input"), null=True, blank=True)
    #: The storage's names of the uploaded files that the input refers to; null once they are removed.
    uploads = JSONTextField(_("uploads"), null=True, blank=True)
    #: What is needed to rebuild the request for a replay; null for a task.
    request = JSONTextField(_("request"), null=True, blank=True)

    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.ACCEPTED)
    #: How often the job was claimed; the fence against attempts that were given up.
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    #: How often it may be claimed in all.
    max_attempts = models.PositiveSmallIntegerField(_("attempts at most"), default=1)
    #: How often the work has asked for a retry; attempts that were lost with their worker are not counted.
    retries = models.PositiveSmallIntegerField(default=0, editable=False)
    #: Whether an attempt that was lost with its worker may be repeated.
    retry_when_lost = models.BooleanField(_("retry when lost"), default=False)
    #: When the relay rings for it again; set exactly while it is accepted.
    dispatch_at = models.DateTimeField(_("dispatch at"), null=True, blank=True)
    #: How often the relay has rung since it was accepted or given back.
    dispatches = models.PositiveSmallIntegerField(_("dispatches"), default=0)
    #: How long the worker's claim holds, by the database's clock; set exactly while running or canceling.
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    #: Who claimed it last: Celery's host name and the process that runs the attempt.
    worker = models.CharField(_("worker"), max_length=255, blank=True, default="")
    worker_pid = models.PositiveIntegerField(_("worker process"), null=True, blank=True)
    queue = models.CharField(_("queue"), max_length=100, blank=True, default="")

    #: Hash of owner, method, route and Idempotency-Key: a repeat finds the first job by failing to insert.
    idempotency_key = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    #: Hash of the payload that came with the key.
    fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    #: Hash of a key made by the view; cleared at the end, so that one such job is active at a time.
    active_key = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    #: The same hash, kept beyond the end: a rerun takes the key again, and staff find the jobs of one key.
    active_hash = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001 indexed where set
    #: Whether it follows the job that holds its active key, or is refused.
    joins_active = models.BooleanField(default=True, editable=False)

    #: A dict with current, total, unit, message, percent, stage.
    progress = JSONTextField(_("progress"), null=True, blank=True)
    #: The last lines that the task logged for people.
    log = models.TextField(_("log"), blank=True, default="")
    #: Attempts that ended without an outcome: dicts with attempt, worker, started_at, ended_at, reason.
    history = JSONTextField(_("history"), null=True, blank=True)
    #: Status and headers of the answer; its body is the value in celery's result storage.
    response = JSONTextField(_("response"), null=True, blank=True)
    #: What came out wrong (RFC 9457).
    problem = JSONTextField(_("problem"), null=True, blank=True)
    #: Seconds a client should wait between polls, where the view or the task says so.
    retry_after = models.PositiveIntegerField(_("retry after"), null=True, blank=True)
    #: Deleted by its owner while it ran: nobody sees it, and the row goes when it has ended.
    forgotten = models.BooleanField(_("forgotten"), default=False)

    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    #: When the last attempt began.
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    #: From when on the result is gone.
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    #: When retention acts on it next: first the result goes, then the row.
    sweep_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[JobManager] = JobManager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ("-id",)
        base_manager_name = "objects"  # refresh_from_db() asks there as well
        # Jobs come by being asked for, and change by their verbs: nobody adds or edits one.
        default_permissions = ("view", "delete")
        permissions = (
            ("cancel_job", _("Can cancel jobs")),
            ("rerun_job", _("Can run jobs again")),
            ("purge_job", _("Can purge jobs that have ended")),
            ("export_job", _("Can export jobs")),
            ("view_input", _("Can view the input of jobs")),
            ("view_traceback", _("Can view the traceback of failed jobs")),
        )
        indexes = (
            # Lists narrow by the first column and sort by the second; the rest lets further filters, and counts,
            # be answered by the index alone.
            models.Index(
                fields=["owner", "-id", "state", "operation", "forgotten"], name="async_accept_owner"
            ),
            # By time, not by id, where jobs of every owner meet: the ids of anonymous jobs are random.
            models.Index(fields=["-created_at", "forgotten"], name="async_accept_created"),
            models.Index(fields=["state", "-created_at", "forgotten"], name="async_accept_state"),
            models.Index(
                fields=["operation", "-created_at", "state", "forgotten"], name="async_accept_operation"
            ),
            models.Index(
                fields=["object_type", "object_id"],
                name="async_accept_object",
                condition=Q(object_id__isnull=False),
            ),
            models.Index(
                fields=["active_hash"],
                name="async_accept_active",
                condition=Q(active_hash__isnull=False),
            ),
            # Partial: they hold open jobs only, and stay small however many have ended.
            models.Index(
                fields=["dispatch_at"], name="async_accept_dispatch", condition=Q(dispatch_at__isnull=False)
            ),
            models.Index(
                fields=["lease_until"], name="async_accept_lease", condition=Q(lease_until__isnull=False)
            ),
            models.Index(fields=["sweep_at"], name="async_accept_sweep", condition=Q(sweep_at__isnull=False)),
            # Failures are few, and counted by when they happened.
            models.Index(
                fields=["-finished_at"], name="async_accept_failed", condition=Q(state=State.FAILED)
            ),
        )
        constraints = (
            # Every open job has a time after which something acts on it.
            models.CheckConstraint(
                name="async_accept_dispatch_at_while_accepted",
                condition=Q(state=State.ACCEPTED, dispatch_at__isnull=False)
                | (~Q(state=State.ACCEPTED) & Q(dispatch_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="async_accept_lease_while_running",
                condition=Q(state__in=LEASED, lease_until__isnull=False)
                | (~Q(state__in=LEASED) & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="async_accept_finished_at_when_final",
                condition=Q(state__in=FINAL, finished_at__isnull=False)
                | (~Q(state__in=FINAL) & Q(finished_at__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.operation} {self.pk}"

    @classmethod
    def check(cls, **kwargs: Any) -> list[checks.CheckMessage]:
        # MySQL and MariaDB build the partial indexes as plain ones (models.W037): larger, and all we want there.
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]

    # --- Questions ----------------------------------------------------------------------------------

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def is_expired(self) -> bool:
        """Whether the result is no longer kept; a point in time, not a state."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def can_rerun(self) -> bool:
        """Whether it has ended and its input is kept; files that were uploaded are not, from the end on.

        No query for rows of ``JobQuerySet.light()``, which leaves the input itself out.
        """
        if not self.is_final or self.uploads is not None:
            return False
        known: bool | None = vars(self).get("input_kept")
        return self.input is not None if known is None else known

    @property
    def is_replay(self) -> bool:
        """Whether the work is the view's own logic."""
        return self.request is not None

    # --- Verbs: a worker's ---------------------------------------------------------------------------

    def claim(
        self, worker: str = "", pid: int | None = None, queue: str = "", *, began: datetime | None = None
    ) -> bool:
        """Take the job for a new attempt; False where another worker was faster or the job has ended.

        Args:
            began: when the attempt begins, now by default; by this a claim whose answer was lost is known again.
        """
        now = began or timezone.now()
        return self._move(
            State.RUNNING,
            leave=[State.ACCEPTED],
            fence=Q(attempt=self.attempt),
            attempt=self.attempt + 1,
            started_at=now,
            updated_at=now,
            progress=None,  # what an earlier attempt reached is no progress of this one
            dispatch_at=None,
            lease_until=from_now(conf.LEASE),
            worker=worker[:255],
            worker_pid=pid,
            queue=queue[:100],
            tell=signals.job_started,
        )

    def succeed(self, response: dict[str, Any] | None = None, **final: Any) -> bool:
        """End this attempt's job with an answer; False where the attempt no longer holds it."""
        return self._end(
            State.SUCCEEDED,
            leave=LEASED,
            fence=Q(attempt=self.attempt),
            response=response,
            problem=None,
            tell=signals.job_succeeded,
            **final,
        )

    def fail(self, document: Problem, *, leave: Iterable[str] = LEASED, fence: Q = ANY, **final: Any) -> bool:
        """End this attempt's job with a problem; False where the attempt no longer holds it."""
        return self._end(
            State.FAILED,
            leave=leave,
            fence=Q(fence, attempt=self.attempt),
            problem=document,
            tell=signals.job_failed,
            **final,
        )

    def give_back(
        self, delay: timedelta, reason: str, *, retries: int = 0, fence: Q = ANY, **shown: Any
    ) -> bool:
        """Let this attempt's job wait for another one; False where it is being canceled or no longer held.

        Args:
            retries: 1 where the work has asked for it.
        """
        now = timezone.now()
        past = {
            "attempt": self.attempt,
            "worker": self.worker,
            "started_at": self.started_at,
            "ended_at": now,
            "reason": reason,
        }
        return self._move(
            State.ACCEPTED,
            leave=[State.RUNNING],
            fence=Q(fence, attempt=self.attempt),
            dispatch_at=from_now(delay),
            dispatches=0,
            retries=self.retries + retries,
            max_attempts=self.max_attempts,  # a retry may have raised it
            lease_until=None,
            updated_at=now,
            history=[*(self.history or []), past][-HISTORY_LENGTH:],
            tell=signals.job_given_back,
            **shown,
        )

    def lose(self, reason: str, *, fence: Q = ANY) -> bool:
        """Take the job from an attempt that is gone: for another one where that is safe, else it fails as ``lost``.

        A job that was being canceled is canceled. False where the attempt ended by itself.
        """
        if self.retry_when_lost and self.attempt < self.max_attempts:
            moved = self.give_back(lost_delay(self.attempt), reason, fence=fence)
        else:
            detail = LOST_AT_EVERY_ATTEMPT if self.retry_when_lost else ""
            moved = self.fail(problem("lost", detail), leave=[State.RUNNING], fence=fence)
        return moved or self.end_canceled(leave=[State.CANCELING], fence=Q(fence, attempt=self.attempt))

    # --- Verbs: anybody's ----------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Ask the job to stop; False where it has already ended.

        A job that waits is canceled at once; a running one becomes ``canceling`` and stops at its next checkpoint.
        Repeating it is harmless.
        """
        # Asked twice: a job that is given back between the two questions would answer no to both.
        return any(
            self.end_canceled(leave=[State.ACCEPTED])
            or self._move(State.CANCELING, leave=LEASED, updated_at=timezone.now())
            for _look in range(2)
        )

    def end_canceled(self, *, leave: Iterable[str] = LEASED, fence: Q = ANY, **final: Any) -> bool:
        """End the job as canceled."""
        return self._end(
            State.CANCELED,
            leave=leave,
            fence=fence,
            problem=problem("canceled"),
            tell=signals.job_canceled,
            **final,
        )

    # --- The one way to change the state ---------------------------------------------------------------

    def _end(self, to: State, *, leave: Iterable[str], fence: Q, tell: Signal, **changes: Any) -> bool:
        now = timezone.now()
        expires_at: datetime = now + conf.RESULT_LIFETIME
        # At once for uploads, and for a row that somebody deleted meanwhile, which this instance need not know.
        at_once = Q(forgotten=True) | Q(uploads__isnull=False)
        sweep_at = Case(When(at_once, then=Value(now)), default=Value(expires_at))
        return self._move(
            to,
            leave=leave,
            fence=fence,
            tell=tell,
            finished_at=now,
            updated_at=now,
            expires_at=expires_at,
            sweep_at=sweep_at,
            dispatch_at=None,
            lease_until=None,
            active_key=None,
            **changes,
        )

    def _move(
        self,
        to: State,
        *,
        leave: Iterable[str],
        fence: Q = ANY,
        tell: Signal | None = None,
        **changes: Any,
    ) -> bool:
        """Change the state by one conditional UPDATE; False, and nothing changed, where the row did not match."""
        rows = Job.objects.filter(fence, pk=self.pk, state__in=leave)
        if not again_after_conflict(partial(rows.update, state=to, **changes), rows.db):
            return False
        self.state = to
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self, name, value)
        if tell is not None:
            self._tell(tell)
        return True

    def _tell(self, signal: Signal) -> None:
        if signal.has_listeners(Job):
            after_commit(signal.send_robust, sender=Job, job=self, using=router.db_for_write(Job))


def database() -> str:
    """Return the alias of the database that holds the jobs."""
    return router.db_for_write(Job)


class JoinedKey(models.Model):
    """An idempotency key of a view that joins active jobs, and the job that it stands for, ended or not.

    That job may have another key: then the request joined it while it was active.
    """

    idempotency_key = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64)
    #: No foreign key: a purge of jobs stays one statement, and the key goes with its lifetime.
    job_id = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = WrittenManager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"key of {self.job_id}"
