"""The ``Job`` row: the one truth about an accepted request.

It says what was asked, by whom, in which state the job is and how it ended. The broker only carries messages, and the
result storage only holds values. Every change of state is one conditional UPDATE: on the states that it may leave and,
for a worker, on the attempt that does it. If it changes no row, somebody else was faster.
"""

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core import checks
from django.db import models, router, transaction
from django.db.models import Case, ExpressionWrapper, Q, When
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import signals
from .conf import conf
from .db import clock
from .db.errors import again_after_conflict
from .db.fields import JSONTextField
from .db.functions import DatabaseNow
from .db.transactions import after_commit
from .db.updates import Slot, Upsert, update
from .problems import LOST_AT_EVERY_ATTEMPT, Problem, problem
from .querysets import JobManager, PrimaryManager
from .states import ACTIVE, FINAL, LEASED, State
from .steps import Step, take

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils.compat import uuid7

__all__ = ["Job", "JoinedKey", "RelayDuty", "database", "database_now", "new_id"]

#: No further condition on a transition.
ANY = Q()
#: The most attempts that a job may have, also if its task sets no limit: the column holds no larger number.
ATTEMPTS_CEILING = 30_000
#: The largest number that an integer column holds on every database.
INTEGER_CEILING = 2**31 - 1
#: The longest name of an operation.
OPERATION_CHARS = 100
#: An object whose primary key is longer is not stored with the job.
OBJECT_ID_CHARS = 255
#: How many of the last attempts ``Job.history`` keeps.
HISTORY_LENGTH = 50
#: The database's time after the delay with which a change is made.
LATER = ExpressionWrapper(
    DatabaseNow() + Slot("delay", models.DurationField()), output_field=models.DateTimeField()
)
#: When retention acts on a job that ends: at once on uploads, and on a job that its owner has deleted; in SQL, because
#: the instance may not know of that. By the database's clock, as retention reads it: this machine's may be hours ahead.
SWEEP_AT = Case(
    When(Q(forgotten=True) | Q(uploads__isnull=False), then=DatabaseNow()),
    default=Slot("expires_at", models.DateTimeField()),
)
#: Which step leads to a state. To ask a job to stop (``canceling``) is none.
STEPS = {State.RUNNING: Step.CLAIM, State.ACCEPTED: Step.FINISH, **dict.fromkeys(FINAL, Step.FINISH)}


def new_id(*, anonymous: bool = False) -> uuid.UUID:
    """Return an id for a new job: time-ordered (version 7), or random (version 4) for an anonymous caller.

    Nothing but its URL protects the job of an anonymous caller, so the URL must be impossible to guess.
    """
    if anonymous and conf.RANDOM_ANONYMOUS_IDS:
        return uuid.uuid4()
    return uuid7()


def lost_delay(attempt: int) -> timedelta:
    """Return how long a job waits after its attempt number *attempt* was lost: 0, 2, 4, 8 … seconds, at most 60."""
    return timedelta(seconds=0 if attempt <= 1 else min(2 ** (attempt - 1), 60))


class Job(models.Model):
    """One accepted request, from the 202 to its one result or problem."""

    #: Time-ordered, so that a list by time needs no second index; random for anonymous callers.
    id = models.UUIDField(_("id"), primary_key=True, default=new_id, editable=False)
    #: Who asked. Null for anonymous callers, and after the owner was deleted. No constraint in the database, because an
    #: INSERT that checks one waits for every lock on the user's row. So a user who is deleted while a job of theirs is
    #: being accepted leaves an id that nobody has: such a job is nobody's.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,  # the index on (owner, id) begins with it
        db_constraint=False,
    )
    #: Nobody was logged in: who has the URL may see the job. The owner does not tell: a deleted one is null as well.
    anonymous = models.BooleanField(_("anonymous"), default=False)
    #: What is asked for, as a stable name: ``orders.create``.
    operation = models.CharField(_("operation"), max_length=OPERATION_CHARS)
    #: The name of the Celery task that does the work.
    task = models.CharField(_("task"), max_length=255)
    #: The object that the request is about, if it is about one. No constraint, as above.
    object_type = models.ForeignKey(
        ContentType,
        verbose_name=_("object type"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    object_id = models.CharField(_("object id"), max_length=OBJECT_ID_CHARS, null=True, blank=True)  # noqa: DJ001 indexed where set
    content_object = GenericForeignKey("object_type", "object_id")
    #: Whether the work has created this object: then a rerun is not about it, but creates another one.
    object_created = models.BooleanField(default=False, editable=False)
    #: The job whose input this one repeats. No foreign key here, because either may be purged first.
    rerun_of = models.UUIDField(_("rerun of"), null=True, blank=True)
    #: The latest job that repeats the input of this one.
    rerun_as = models.UUIDField(_("rerun as"), null=True, blank=True)

    #: The exact input: a task's keyword arguments, or the parsed data of the request that is replayed.
    input = JSONTextField(_("input"), null=True, blank=True)
    #: The names in the storage of the uploaded files that the input refers to; null once they are removed.
    uploads = JSONTextField(_("uploads"), null=True, blank=True)
    #: What is needed to rebuild the request: for a replay, or for the view that renders what a task answers.
    request = JSONTextField(_("request"), null=True, blank=True)
    #: How its messages are sent if the view says so: a dict with queue, priority, time_limit, soft_time_limit; and with
    #: their headers, if there are more, such as the context of a trace. Kept, so that the relay publishes the job again
    #: in the same way, and that a rerun is published in it, too.
    message_options = JSONTextField(null=True, blank=True, editable=False)

    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.ACCEPTED)
    #: How often the job was claimed. An attempt that was declared lost has an older number, and can write no more.
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    #: How often the job may be claimed in all.
    max_attempts = models.PositiveSmallIntegerField(_("attempts at most"), default=1)
    #: How often the work asked for a retry; an attempt that was lost with its worker does not count.
    retries = models.PositiveSmallIntegerField(default=0, editable=False)
    #: Whether there may be another attempt after one was lost with its worker.
    retry_when_lost = models.BooleanField(_("retry when lost"), default=False)
    #: When the relay publishes the job again; set exactly while it is accepted.
    dispatch_at = models.DateTimeField(_("dispatch at"), null=True, blank=True)
    #: How often the relay published the job since it was accepted or given back.
    dispatches = models.PositiveSmallIntegerField(_("dispatches"), default=0)
    #: Until when the worker's claim holds, by the database's clock; set exactly while running or canceling.
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    #: Who claimed the job last: Celery's name of the worker, and the process that runs the attempt.
    worker = models.CharField(_("worker"), max_length=255, blank=True, default="")
    worker_pid = models.PositiveIntegerField(_("worker process"), null=True, blank=True)
    queue = models.CharField(_("queue"), max_length=100, blank=True, default="")

    #: Hash of owner, method, route and Idempotency-Key. The INSERT of a repeat fails on it, and so finds the first job.
    idempotency_key = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    #: Hash of the payload that came with the key.
    fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    #: Hash of a key that the view makes; null once the job has ended. So one job with this key is active at a time.
    active_key = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    #: The same hash, never cleared: a rerun takes the key again, and staff find all jobs of one key.
    active_hash = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001 indexed where set
    #: If another job holds the active key: whether the request gets that job, or is refused.
    joins_active = models.BooleanField(default=True, editable=False)
    #: Hash of what the job is about, if such jobs run one at a time and in order. The job whose turn it is has the same
    #: hash in ``active_key``; the others wait (``jobs/turns.py``).
    order_key = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001 indexed where set
    #: The place of the event in its own order: if a later one has succeeded, this job is superseded.
    sequence = models.BigIntegerField(null=True, blank=True, editable=False)

    #: A dict with current, total, unit, message, percent, stage.
    progress = JSONTextField(_("progress"), null=True, blank=True)
    #: The last lines that the task logged for people.
    log = models.TextField(_("log"), blank=True, default="")
    #: Attempts that left neither a result nor a problem: dicts with attempt, worker, started_at, ended_at, reason.
    history = JSONTextField(_("history"), null=True, blank=True)
    #: The result's status, headers and content type, and how its body is kept in celery's result storage (``kept``:
    #: json, bytes or file). Of a failure it is the view's own answer, if there is one.
    response = JSONTextField(_("response"), null=True, blank=True)
    #: Why the job failed or was canceled: a problem document (RFC 9457).
    problem = JSONTextField(_("problem"), null=True, blank=True)
    #: How many seconds a client should wait between polls, if the view or the task says so.
    retry_after = models.PositiveIntegerField(_("retry after"), null=True, blank=True)
    #: Its owner deleted the job while it ran: only staff see it, and the row is purged once the job has ended.
    forgotten = models.BooleanField(_("forgotten"), default=False)

    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    #: When the last attempt began.
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    #: From this time on the result is gone.
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    #: When retention acts on the job next: first its result expires, then the row is purged.
    sweep_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[JobManager] = JobManager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ("-id",)
        base_manager_name = "objects"  # so that refresh_from_db() reads from the primary database, too
        # Nobody adds or edits a job by hand: requests make jobs, and their verbs change them.
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
            # A list filters by the first column and sorts by the second. With the other columns, the index alone is
            # enough for further filters and for counts.
            models.Index(
                fields=["owner", "-id", "state", "operation", "forgotten"], name="async_accept_owner"
            ),
            # Jobs of all owners are sorted by time, not by id: the ids of anonymous jobs are random. The id decides
            # between those of one time. Ascending: MariaDB reads the names of all operations from such an index only.
            models.Index(fields=["created_at", "id", "forgotten"], name="async_accept_created"),
            models.Index(fields=["state", "created_at", "id", "forgotten"], name="async_accept_state"),
            models.Index(
                fields=["operation", "created_at", "id", "state", "forgotten"], name="async_accept_operation"
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
            models.Index(
                fields=["order_key", "state", "created_at"],
                name="async_accept_order",
                condition=Q(order_key__isnull=False),
            ),
            # Partial: they hold few jobs, and stay small however many have ended.
            models.Index(
                fields=["dispatch_at"], name="async_accept_dispatch", condition=Q(dispatch_at__isnull=False)
            ),
            models.Index(
                fields=["lease_until"], name="async_accept_lease", condition=Q(lease_until__isnull=False)
            ),
            models.Index(fields=["sweep_at"], name="async_accept_sweep", condition=Q(sweep_at__isnull=False)),
            # Failed jobs are few, and are counted by the time when they failed. The state is for MariaDB, whose indexes
            # have no condition.
            models.Index(
                fields=["state", "finished_at"], name="async_accept_failed", condition=Q(state=State.FAILED)
            ),
        )
        constraints = (
            # Every active job has a time after which something acts on it.
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
        # MySQL and MariaDB have no partial indexes (models.W037); there these are whole ones, and that is fine.
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
        """Whether the result is no longer kept. This is a point in time, not a state."""
        return self.expires_at is not None and self.expires_at <= database_now()

    @property
    def can_rerun(self) -> bool:
        """Whether the job has ended and its input is still there. Uploaded files are removed at the end.

        What its owner has deleted is not run again.

        Rows of ``JobQuerySet.light()`` have no input, but know whether there is one: they need no query.
        """
        if not self.is_final or self.uploads is not None or self.forgotten:
            return False
        known: bool | None = vars(self).get("input_kept")
        return self.input is not None if known is None else known

    # --- Verbs: a worker's ---------------------------------------------------------------------------

    def claim(
        self, worker: str = "", pid: int | None = None, queue: str = "", *, began: datetime | None = None
    ) -> bool:
        """Take the job for a new attempt; False if another worker was faster or the job has ended.

        Args:
            began: when the attempt begins; now by default. If the connection breaks after the UPDATE, the worker
                recognises its own claim by this time.
        """
        changes = self.claimed(worker, pid, queue, began or database_now())
        return self._move(
            State.RUNNING,
            leave=[State.ACCEPTED],
            held=True,
            attempt=self.attempt + 1,
            delay=conf.LEASE,
            signal=signals.job_started,
            **changes,
        )

    @staticmethod
    def claimed(worker: str, pid: int | None, queue: str, began: datetime | None) -> dict[str, Any]:
        """Return what a claim changes, beside the state and the number of the attempt; the delay is the lease."""
        return {
            "started_at": began,
            "updated_at": began,
            "progress": None,  # that of an earlier attempt
            "dispatch_at": None,
            "lease_until": LATER,
            "worker": worker[:255],
            "worker_pid": pid,
            "queue": queue[:100],
        }

    def succeed(
        self, response: dict[str, Any] | None = None, *, beside: Upsert | None = None, **final: Any
    ) -> bool:
        """End this attempt's job with a result; False if the attempt no longer holds the job.

        Args:
            response: the result's status and headers.
            beside: the row of the result, which is written together with the end, or not at all.
            final: further columns to set, such as the last progress.
        """
        return self._end(
            State.SUCCEEDED,
            leave=LEASED,
            held=True,
            beside=beside,
            response=response,
            problem=None,
            signal=signals.job_succeeded,
            **final,
        )

    def fail(
        self,
        document: Problem,
        *,
        leave: Iterable[str] = LEASED,
        fence: Q = ANY,
        beside: Upsert | None = None,
        **final: Any,
    ) -> bool:
        """End this attempt's job with a problem; False if the attempt no longer holds the job."""
        return self._end(
            State.FAILED,
            leave=leave,
            held=True,
            fence=fence,
            beside=beside,
            problem=document,
            signal=signals.job_failed,
            **final,
        )

    def give_back(
        self, delay: timedelta, reason: str, *, retries: int = 0, fence: Q = ANY, **shown: Any
    ) -> bool:
        """Let this attempt's job wait for the next attempt; False if it is being canceled or no longer held.

        Args:
            reason: why this attempt ended, for ``history``.
            retries: 1 if the work asked for the next attempt.
            shown: further columns to set, such as the last progress.
        """
        now = database_now()
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
            held=True,
            fence=fence,
            delay=delay,
            dispatch_at=LATER,
            dispatches=0,
            retries=self.retries + retries,
            max_attempts=self.max_attempts,  # a retry may have raised it
            lease_until=None,
            updated_at=now,
            history=[*(self.history or []), past][-HISTORY_LENGTH:],
            signal=signals.job_given_back,
            **shown,
        )

    def lose(self, reason: str, *, fence: Q = ANY) -> bool:
        """Take the job from an attempt whose worker is gone; False if the attempt has ended after all.

        The job waits for its next attempt if ``retry_when_lost`` allows one; otherwise it fails with the problem
        ``lost``. A job that was being canceled ends as canceled.
        """
        if self.retry_when_lost and self.attempt < self.max_attempts:
            moved = self.give_back(lost_delay(self.attempt), reason, fence=fence)
        else:
            detail = LOST_AT_EVERY_ATTEMPT if self.retry_when_lost else ""
            moved = self.fail(problem("lost", detail), leave=[State.RUNNING], fence=fence)
        return moved or self.end_canceled(leave=[State.CANCELING], held=True, fence=fence)

    # --- Verbs: anybody's ----------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Ask the job to stop; False if it has already ended.

        A job that waits is canceled at once; a running one becomes ``canceling`` and stops at its next checkpoint.
        To ask again is harmless.
        """
        # Twice: if the job is given back between the two UPDATEs, neither of them finds it.
        return any(
            self.end_canceled(leave=[State.ACCEPTED])
            or self._move(
                State.CANCELING, leave=LEASED, updated_at=database_now(), signal=signals.job_canceling
            )
            for _ in range(2)
        )

    def end_canceled(
        self,
        *,
        leave: Iterable[str] = LEASED,
        held: bool = False,
        fence: Q = ANY,
        code: str = "canceled",
        **final: Any,
    ) -> bool:
        """End the job as canceled; False if it is in none of the states in *leave*.

        Args:
            held: only if this attempt holds the job.
            code: of its problem, which says why.
        """
        return self._end(
            State.CANCELED,
            leave=leave,
            held=held,
            fence=fence,
            problem=problem(code),
            signal=signals.job_canceled,
            **final,
        )

    # --- The one way to change the state ---------------------------------------------------------------

    def _end(self, to: State, *, leave: Iterable[str], signal: Signal, **changes: Any) -> bool:
        now = database_now()
        move = partial(
            self._move,
            to,
            leave=leave,
            signal=signal,
            finished_at=now,
            updated_at=now,
            expires_at=now + conf.RESULT_LIFETIME,
            sweep_at=SWEEP_AT,
            dispatch_at=None,
            lease_until=None,
            active_key=None,
            **changes,
        )
        if signals.job_ending.has_listeners(Job):
            ended = again_after_conflict(partial(self._with_listeners, move), database())
        else:
            ended = move()
        if ended and self.order_key is not None:
            after_commit(
                signals.turn_ended.send_robust, sender=Job, order_key=self.order_key, using=database()
            )
        return ended

    def _with_listeners(self, move: Callable[[], bool]) -> bool:
        """Do the final transition, and let others write what commits with it."""
        with self._undone_on_error(), transaction.atomic(using=database(), savepoint=False):
            ended = move()
            if ended:
                signals.job_ending.send(sender=Job, job=self)
        return ended

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Let this instance know what it knew before, if an error rolls back the transaction of the block."""
        known = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).update(known)
            raise

    def _move(self, to: State, **how: Any) -> bool:
        """Change the state as ``_change()`` does, as one of the job's steps."""
        step = STEPS.get(to)
        change = partial(self._change, to, **how)
        return change() if step is None else take(step, self, change)

    def _change(
        self,
        to: State,
        *,
        leave: Iterable[str],
        signal: Signal,
        held: bool = False,
        fence: Q = ANY,
        delay: timedelta | None = None,
        beside: Upsert | None = None,
        **changes: Any,
    ) -> bool:
        """Change the state by one conditional UPDATE; False, and nothing is changed, if the row does not match.

        Args:
            to: the new state.
            leave: the states that it may leave.
            signal: sent after commit.
            held: only if the last attempt is the one that this instance knows.
            fence: a further condition on the row.
            delay: for ``LATER``.
            beside: a row that is written together with the change, or not at all.
            changes: the other columns to set.
        """
        states = tuple(leave)

        def rows() -> models.QuerySet[Job]:
            found = Job.objects.filter(fence, pk=Slot("pk", Job._meta.pk), state__in=states)
            return found.filter(attempt=Slot("held", Job._meta.get_field("attempt"))) if held else found

        write = partial(
            update,
            (to, states, held, *changes) if fence is ANY else None,
            rows,
            {"state": to, **changes},
            {"pk": self.pk, "held": self.attempt, "delay": delay},
            database(),
            beside,
        )
        if not again_after_conflict(write, database()):
            return False
        before, self.state = self.state, to
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self, name, value)
        self.tell(signal, before)
        return True

    def tell(self, signal: Signal, before: str) -> None:
        """Send *signal* after the commit: the job has left the state *before*."""
        if signal.has_listeners(Job):
            after_commit(signal.send_robust, sender=Job, job=self, before=before, using=database())


def database() -> str:
    """Return the alias of the database that holds the jobs."""
    return router.db_for_write(Job)


def database_now() -> datetime:
    """Return the present time of that database: for every time in a row, and for what is compared with one."""
    return clock.now(database())


class JoinedKey(models.Model):
    """An idempotency key that is kept apart from its job, and the job that a request with this key gets.

    The job may have another key of its own, if the request joined it while it was active. And the job may be purged
    already, if its key has a lifetime of its own, as the id of a received event has.
    """

    idempotency_key = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64)
    #: No foreign key: so a purge of jobs stays one statement. The row is deleted at the end of the key's lifetime.
    job_id = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    #: Until when the key stands for its job, whether that is purged or not; None: as long as the setting says.
    kept_until = models.DateTimeField(null=True, blank=True, db_index=True)

    objects = PrimaryManager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"key of {self.job_id}"


class RelayDuty(models.Model):
    """The one row that says which relay looks for the jobs of all; relays make and change it (``jobs/duty.py``)."""

    #: The primary key of the row.
    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    #: Which relay is on duty, by the id that it gave itself; and until when.
    relay = models.UUIDField()
    until = models.DateTimeField()
    #: When the next one of the other relays may look.
    next_look = models.DateTimeField()

    objects = PrimaryManager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"relay {self.relay} until {self.until}"
