"""Questions about jobs. Each one touches an indexed, bounded range."""

from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models
from django.db.models import BooleanField, ExpressionWrapper, Q

from .db.functions import DatabaseNow
from .states import ACTIVE, FINAL, State

if TYPE_CHECKING:
    from .models import Job

__all__ = ["JobQuerySet", "acting"]

#: Columns that can be large and that neither a poll nor a list needs.
HEAVY = ("input", "request", "history", "log")


def acting(user: Any) -> Any:
    """Return the primary key of a user who may act; None for anonymous and inactive ones, and for none at all.

    None must never reach ``filter(owner=…)``: it would find the jobs whose owner was deleted. The key of a caller that
    is no instance of the user model, such as what stands in a token, is nobody's here.
    """
    if not isinstance(user, get_user_model()) or not getattr(user, "is_active", True):
        return None
    return user.pk


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs, narrowed by questions."""

    def light(self) -> Self:
        """Leave out the columns that can be large, but for whether there is an input (``Job.can_rerun``)."""
        kept = ExpressionWrapper(Q(input__isnull=False), output_field=BooleanField())
        return self.defer(*HEAVY).annotate(input_kept=kept)

    def unlocked(self) -> Self:
        """Lock these jobs in the caller's transaction, without those that somebody else has locked.

        Who looks after everybody's jobs must not stand and wait for one of them: a locked row has a live holder.
        """
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(skip_locked=features.has_select_for_update_skip_locked)

    def owned_by(self, user: Any) -> Self:
        """The jobs that *user* asked for; none for an anonymous caller, whose jobs have no list."""
        pk = acting(user)
        return self.none() if pk is None else self.filter(owner=pk)

    def visible_to(self, user: Any) -> Self:
        """The jobs whose URLs answer to *user*: their own, and those of anonymous callers, where the URL is the key.

        Staff with the permission ``async_accept.view_job`` see every job; an inactive user is an anonymous caller.
        """
        kept = self.filter(forgotten=False)
        pk = acting(user)
        if pk is None:
            return kept.filter(anonymous=True)
        if getattr(user, "is_staff", False) and user.has_perm("async_accept.view_job"):
            return kept
        return kept.filter(Q(owner=pk) | Q(anonymous=True))

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
        """Accepted jobs that should have been claimed by now: never published, or their message was lost."""
        return self.filter(state=State.ACCEPTED, dispatch_at__lte=DatabaseNow())

    def lease_lost(self) -> Self:
        """Jobs whose worker has not prolonged its lease in time."""
        return self.filter(lease_until__lt=DatabaseNow())

    def to_sweep(self) -> Self:
        """Ended jobs whose result or row has been kept for long enough."""
        return self.filter(sweep_at__lte=DatabaseNow())
