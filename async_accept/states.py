"""The six states of a job, and what each of them allows.

The same spelling is used on the wire, in code and in the database. ``succeeded``, ``failed`` and
``canceled`` are final: no transition leaves them.
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

__all__ = ["ACTIVE", "FINAL", "LEASED", "State"]


class State(TextChoices):
    """Where a job stands."""

    #: Stored and waiting for a worker, also between two attempts.
    ACCEPTED = "accepted", _("accepted")
    #: Claimed by one worker for one attempt, as long as its lease is prolonged.
    RUNNING = "running", _("running")
    #: Running, and asked to stop; honoured at the next checkpoint.
    CANCELING = "canceling", _("canceling")
    #: Ended with an answer.
    SUCCEEDED = "succeeded", _("succeeded")
    #: Ended with a problem.
    FAILED = "failed", _("failed")
    #: Ended because somebody asked for it.
    CANCELED = "canceled", _("canceled")


#: States in which a worker holds the job under a lease.
LEASED = (State.RUNNING, State.CANCELING)
#: States of a job that has not ended.
ACTIVE = (State.ACCEPTED, *LEASED)
#: States that nothing leaves.
FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELED)
