"""Questions about jobs. Each one touches an indexed, bounded range."""

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, router
from django.db.models import BooleanField, ExpressionWrapper, Q

from .db.functions import DatabaseNow, from_now
from .states import ACTIVE, FINAL, LEASED, State

if TYPE_CHECKING:
    from .models import Job

__all__ = [
    "GRACE",
    "JobManager",
    "JobQuerySet",
    "PrimaryManager",
    "acting",
    "may_see",
    "overdue",
    "owns",
    "user_model",
    "without_worker",
]

#: How late the relay may be before an active job counts as stalled.
GRACE = timedelta(seconds=60)

#: Columns that can be large, and that neither a poll nor a list needs.
HEAVY = ("input", "request", "history", "log")


def user_model() -> Any:
    """Return what ``get_user_model()`` returns; each request asks more than once."""
    return _user_model(settings.AUTH_USER_MODEL)


@lru_cache(maxsize=8)
def _user_model(name: str) -> Any:
    return get_user_model()


def acting(user: Any) -> Any:
    """Return the primary key of a user who may own jobs; None if *user* is anonymous, inactive or None.

    A caller that is not an instance of the user model, such as one made from a token, owns no jobs. Never pass None to
    ``filter(owner=…)``: it finds the jobs whose owner was deleted.
    """
    if not isinstance(user, user_model()) or not getattr(user, "is_active", True):
        return None
    return user._meta.pk.to_python(user.pk)  # as the column has it


def owns(user: Any, job: "Job") -> bool:
    """Tell whether *job* is that of *user*; never that of an owner who was deleted."""
    pk = acting(user)
    return pk is not None and pk == job.owner_id


def may_see(user: Any, job: "Job") -> bool:
    """Tell whether *job* is ``visible_to()`` *user*; no query, unless it is the job of another."""
    if job.forgotten:
        return False
    pk = acting(user)
    return job.anonymous or (pk is not None and (pk == job.owner_id or _sees_all(user)))


def _sees_all(user: Any) -> bool:
    return bool(getattr(user, "is_staff", False) and user.has_perm("async_accept.view_job"))


def overdue(grace: timedelta) -> Q:
    """Return the condition for accepted jobs that no relay has published, although their time has passed."""
    return Q(state=State.ACCEPTED, dispatch_at__lt=from_now(-grace))


def without_worker(grace: timedelta) -> Q:
    """Return the condition for jobs whose lease ran out, and that no relay has taken from their worker."""
    return Q(state__in=LEASED, lease_until__lt=from_now(-grace))


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs, with the questions that are asked about them."""

    def light(self) -> Self:
        """Leave out the columns that can be large; ``Job.can_rerun`` still works without a query."""
        kept = ExpressionWrapper(Q(input__isnull=False), output_field=BooleanField())
        return self.defer(*HEAVY).annotate(input_kept=kept)

    def unlocked(self, *, no_key: bool = False) -> Self:
        """Lock these jobs in the caller's transaction, and leave out those that somebody else has locked.

        The relay must not block on a row: who has locked it is alive, and acts on it.

        Args:
            no_key: as in ``select_for_update()``, where the database has it: a row to which a new foreign key points is
                not left out.
        """
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(
            skip_locked=features.has_select_for_update_skip_locked,
            no_key=no_key and features.has_select_for_no_key_update,
        )

    def owned_by(self, user: Any, also: Q | None = None) -> Self:
        """The jobs of *user*; none for an anonymous caller.

        Args:
            also: which jobs of others count as theirs, such as those of a team.
        """
        pk = acting(user)
        return self.none() if pk is None else self.filter(Q(owner=pk) | (also or Q()))

    def visible_to(self, user: Any, also: Q | None = None) -> Self:
        """The jobs that *user* may see at their URLs: their own, and those of anonymous callers, whose URL is the key.

        Staff with the permission ``async_accept.view_job`` see every job. An inactive user counts as anonymous.

        Args:
            also: which jobs of others *user* may see as well, such as those of a team.
        """
        kept = self.filter(forgotten=False)
        pk = acting(user)
        if pk is None:
            return kept.filter(anonymous=True)
        if _sees_all(user):
            return kept
        return kept.filter(Q(owner=pk) | Q(anonymous=True) | (also or Q()))

    def for_object(self, obj: models.Model) -> Self:
        """The jobs about one model instance."""
        kind = ContentType.objects.get_for_model(obj, for_concrete_model=False)
        return self.filter(object_type=kind, object_id=str(obj.pk))

    def active(self) -> Self:
        """The jobs that have not ended."""
        return self.filter(state__in=ACTIVE)

    def ended(self) -> Self:
        return self.filter(state__in=FINAL)

    def due(self) -> Self:
        """Accepted jobs whose time to be published has come: they never were, or their message was lost."""
        return self.filter(state=State.ACCEPTED, dispatch_at__lte=DatabaseNow())

    def lease_lost(self) -> Self:
        """Jobs whose worker did not prolong its lease in time."""
        return self.filter(lease_until__lt=DatabaseNow())

    def stalled(self, grace: timedelta = GRACE) -> Self:
        """Active jobs on which nothing acts, although their time has passed. A healthy system has none."""
        return self.filter(overdue(grace) | without_worker(grace))

    def to_sweep(self) -> Self:
        """Ended jobs whose result has to expire, or whose row has to be purged."""
        return self.filter(sweep_at__lte=DatabaseNow())


class PrimaryManager(models.Manager[Any]):
    """Reads from the database that is written to, never from a replica.

    A replica lags behind: a worker would not find the job whose message it got, and a repeat not the first job.
    """

    def get_queryset(self) -> models.QuerySet[Any]:
        rows = super().get_queryset()
        return rows if self._db else rows.using(router.db_for_write(self.model))


JobManager = PrimaryManager.from_queryset(JobQuerySet)
