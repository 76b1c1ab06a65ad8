"""The six states of a job.

They are spelled the same on the wire, in code and in the database. ``succeeded``, ``failed`` and ``canceled`` are
final: no transition leaves them.
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

__all__ = ["ACTIVE", "FINAL", "LEASED", "State"]


class State(TextChoices):
    """The state of a job."""

    #: Stored, and waiting for its first or next attempt.
    ACCEPTED = "accepted", _("accepted")
    #: Claimed by one worker for one attempt, which prolongs its lease.
    RUNNING = "running", _("running")
    #: Running, and asked to stop: it does so at its next checkpoint.
    CANCELING = "canceling", _("canceling")
    #: Ended with a result.
    SUCCEEDED = "succeeded", _("succeeded")
    #: Ended with a problem.
    FAILED = "failed", _("failed")
    #: Ended because somebody asked for it, or because a later event of the same object came first.
    CANCELED = "canceled", _("canceled")


#: States in which a worker holds the job under a lease.
LEASED = (State.RUNNING, State.CANCELING)
#: States of a job that has not ended: accepted, running and canceling.
ACTIVE = (State.ACCEPTED, *LEASED)
#: States of a job that has ended; no transition leaves them.
FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELED)
