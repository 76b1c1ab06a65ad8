"""Endpoints that owners register, and one row for each notice to one of them.

A delivery is the truth about a notice, as a job is about a request: the message in the broker only says that it waits.
No foreign key has a constraint in the database: an endpoint that goes must never keep a job from its end.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core import checks
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ..conf import conf
from ..db.fields import JSONTextField
from ..db.functions import DatabaseNow, from_now
from ..models import database_now, new_id
from ..querysets import PrimaryManager
from .querysets import LEASE, DeliveryQuerySet, EndpointQuerySet, to_be_tried
from .signing import new_secret
from .states import TRIED, DeliveryState, DisabledBy

__all__ = ["Callback", "Delivery", "Endpoint", "Host"]

#: How long an old secret stays valid beside the new one.
ROTATION = timedelta(days=1)
MOST_FAILURES = 1_000_000


EndpointManager = PrimaryManager.from_queryset(EndpointQuerySet)


class Endpoint(models.Model):
    """Where an owner wants to be told of jobs, and of which."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        on_delete=models.SET_NULL,  # not CASCADE: there may be 300,000 deliveries
        null=True,
        related_name="+",
    )
    #: Empty for the one that signs the owner's callbacks, which have URLs of their own.
    url = models.CharField(_("URL"), max_length=2000, blank=True)
    #: Signs what is sent; shown to its owner once.
    secret = models.CharField(max_length=100, default=new_secret, editable=False)
    #: Signs as well, until the time that follows.
    previous_secret = models.CharField(max_length=100, blank=True, default="", editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    #: The operations and final states that it is told of; empty: all.
    operations = JSONTextField(default=list)
    states = JSONTextField(default=list)
    include_result = models.BooleanField(_("include result"), default=False)
    disabled_at = models.DateTimeField(_("disabled at"), null=True, blank=True)
    disabled_by = models.CharField(
        _("disabled by"), max_length=10, choices=DisabledBy.choices, blank=True, default=""
    )
    #: Attempts that failed since the last success, and since when.
    failures = models.PositiveIntegerField(_("failures"), default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True)
    #: The number of its last delivery.
    sequence = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created at"), default=database_now)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[EndpointManager] = EndpointManager()

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        ordering = ("-id",)
        default_permissions = ("view", "change")
        indexes = (
            models.Index(
                fields=["deleted_at"], name="async_accept_wh_deleted", condition=Q(deleted_at__isnull=False)
            ),
        )

    def __str__(self) -> str:
        # Not the URL: it may have a token in its path.
        return str(self.pk)

    @classmethod
    def check(cls, **kwargs: Any) -> list[checks.CheckMessage]:
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets that are valid at *now*, the newest first."""
        old = self.previous_until is not None and self.previous_until > now
        return [self.secret, self.previous_secret] if old else [self.secret]

    def rotate(self) -> str:
        """Make a new secret and return it; the one before stays valid for a day."""
        fresh = new_secret()
        until = database_now() + ROTATION
        # In this order: MySQL and MariaDB assign one after the other.
        Endpoint.objects.filter(pk=self.pk).update(
            previous_secret=F("secret"), secret=fresh, previous_until=until
        )
        return fresh

    def disable(self, by: DisabledBy) -> bool:
        """Send nothing more; False if it is disabled already. What it is to be told from now on is held back."""
        rows = Endpoint.objects.filter(pk=self.pk, disabled_at=None)
        return rows.update(disabled_at=database_now(), disabled_by=by) > 0

    def forget(self) -> None:
        """Delete it for its owner, with its secrets; the relay removes the rows."""
        Endpoint.objects.filter(pk=self.pk).update(
            deleted_at=database_now(), secret="", previous_secret="", previous_until=None
        )


DeliveryManager = PrimaryManager.from_queryset(DeliveryQuerySet)


class Delivery(models.Model):
    """One notice to one endpoint, with its attempts."""

    #: Time-ordered; the ``webhook-id`` is made of it, and stays the same however often the notice is sent.
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(
        Endpoint,
        verbose_name=_("webhook endpoint"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    #: A callback of one request; empty: the endpoint's own URL.
    url = models.CharField(max_length=2000, blank=True, default="", editable=False)
    host = models.CharField(_("host"), max_length=255)
    #: Null for a test.
    job_id = models.UUIDField(_("job"), null=True, blank=True)
    #: ``job.succeeded``, ``job.failed``, ``job.canceled`` or ``ping``; ``job.running`` to a callback only.
    event = models.CharField(_("event"), max_length=20)
    #: Its number among those of its endpoint; given before the first attempt.
    sequence = models.PositiveBigIntegerField(_("sequence number"), null=True, blank=True, editable=False)
    #: What is sent, the same at each attempt; made at the first one, and removed some time after the last.
    body = models.TextField(null=True, blank=True, editable=False)  # noqa: DJ001 an empty text would be a body
    state = models.CharField(
        _("state"), max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING
    )
    attempt = models.PositiveSmallIntegerField(_("attempts"), default=0)
    #: From when on the next attempt may begin, by the database's clock.
    try_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    #: When the relay publishes it (again); while it is sent, when the sender counts as gone. Null if nobody waits.
    publish_at = models.DateTimeField(null=True, blank=True, editable=False)
    publishes = models.PositiveSmallIntegerField(default=0, editable=False)
    #: How the last attempt went: 2xx to 5xx, timeout, unreachable, blocked or error. Staff see it, owners do not.
    outcome = models.CharField(_("last outcome"), max_length=12, blank=True, default="")
    created_at = models.DateTimeField(_("created at"), default=database_now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    #: When first the body and then the row is removed.
    sweep_at = models.DateTimeField(null=True, blank=True, editable=False)

    if TYPE_CHECKING:
        endpoint_id: UUID

    objects: ClassVar[DeliveryManager] = DeliveryManager()

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ("-id",)
        default_permissions = ("view",)
        permissions = (("resend_delivery", _("Can send deliveries again")),)
        indexes = (
            models.Index(fields=["endpoint", "-id"], name="async_accept_wh_endpoint"),
            models.Index(fields=["endpoint", "state", "-id"], name="async_accept_wh_waiting"),
            models.Index(fields=["job_id"], name="async_accept_wh_job"),
            models.Index(fields=["-created_at"], name="async_accept_wh_created"),
            models.Index(fields=["state", "-id"], name="async_accept_wh_state"),
            models.Index(
                fields=["publish_at"], name="async_accept_wh_publish", condition=Q(publish_at__isnull=False)
            ),
            models.Index(
                fields=["sweep_at"], name="async_accept_wh_sweep", condition=Q(sweep_at__isnull=False)
            ),
            models.Index(
                fields=["endpoint", "id"], name="async_accept_wh_number", condition=Q(sequence__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return self.webhook_id

    @classmethod
    def check(cls, **kwargs: Any) -> list[checks.CheckMessage]:
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]

    @property
    def webhook_id(self) -> str:
        """The ``webhook-id``, by which a receiver knows a repeat."""
        return f"msg_{self.pk.hex}"

    # --- Verbs: each is one conditional UPDATE ------------------------------------------------------------

    def claim(self) -> bool:
        """Take it for one attempt; False if it is not due, or somebody else was faster."""
        rows = Delivery.objects.filter(to_be_tried(), pk=self.pk, attempt=self.attempt)
        if not rows.update(
            state=DeliveryState.SENDING, attempt=self.attempt + 1, publish_at=from_now(LEASE), publishes=0
        ):
            return False
        self.state, self.attempt = DeliveryState.SENDING, self.attempt + 1
        return True

    def arrive(self, outcome: str) -> bool:
        """End it: its receiver has it. That holds even if this attempt was given up for lost meanwhile."""
        open_now = Delivery.objects.filter(state__in=TRIED)
        rows = open_now.filter(pk=self.pk, attempt__gte=self.attempt)  # 0: it was sent again since
        return rows.update(**_end(DeliveryState.DELIVERED, outcome)) > 0

    def fail(self, outcome: str) -> bool:
        """End it after this attempt: no receiver has taken it."""
        return self._after_attempt(**_end(DeliveryState.FAILED, outcome))

    def wait(self, delay: timedelta, outcome: str) -> bool:
        """Wait for the next attempt after this one."""
        at = from_now(delay)
        return self._after_attempt(
            state=DeliveryState.WAITING, outcome=outcome, try_at=at, publish_at=at, publishes=0
        )

    def _after_attempt(self, **changes: Any) -> bool:
        rows = Delivery.objects.filter(pk=self.pk, state=DeliveryState.SENDING, attempt=self.attempt)
        return rows.update(**changes) > 0

    def put_off(self, delay: timedelta) -> bool:
        """Let it wait without an attempt; False if it is not due: it waits already."""
        at = from_now(delay)
        return self._untried().update(try_at=at, publish_at=at, publishes=0) > 0

    def give_up(self, outcome: str) -> bool:
        """End it without a further attempt."""
        return self._untried().update(**_end(DeliveryState.FAILED, outcome)) > 0

    def _untried(self) -> "models.QuerySet[Delivery]":
        """Find this row only if it waits for its next attempt, and that is due."""
        waiting = Delivery.objects.filter(state=DeliveryState.WAITING, try_at__lte=DatabaseNow())
        return waiting.filter(pk=self.pk, attempt=self.attempt)

    def hold(self) -> bool:
        """Keep it back: its endpoint is disabled."""
        rows = Delivery.objects.filter(pk=self.pk, state__in=TRIED)
        rows = rows.filter(Q(state=DeliveryState.WAITING) | Q(publish_at__lte=DatabaseNow()))
        return rows.update(state=DeliveryState.HELD, try_at=None, publish_at=None) > 0


def _end(state: DeliveryState, outcome: str) -> dict[str, Any]:
    now = database_now()
    return {
        "state": state,
        "outcome": outcome,
        "finished_at": now,
        "try_at": None,
        "publish_at": None,
        "sweep_at": now + conf.RESULT_LIFETIME,
    }


class Callback(models.Model):
    """The URLs that one request named for its own job."""

    job_id = models.UUIDField(primary_key=True)
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    success_url = models.CharField(max_length=2000, blank=True, default="")
    failed_url = models.CharField(max_length=2000, blank=True, default="")
    #: Told once, when the first attempt begins. The database knows the default, for workers that still run older code.
    progress_url = models.CharField(max_length=2000, blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=database_now)

    objects = PrimaryManager()

    class Meta:
        default_permissions = ()
        indexes = (
            models.Index(fields=["endpoint", "created_at"], name="async_accept_wh_callback"),
            models.Index(fields=["created_at"], name="async_accept_wh_called"),
        )

    def __str__(self) -> str:
        return f"callbacks of {self.job_id}"


class Host(models.Model):
    """A host that did not answer lately, or slowly: nobody or few try it, so that it holds up no worker."""

    name = models.CharField(primary_key=True, max_length=255)
    #: Attempts without an answer; 0: it answers, but slowly.
    failures = models.PositiveIntegerField(default=1)
    #: Until when nobody (else) tries it.
    closed_until = models.DateTimeField()

    objects = PrimaryManager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
