"""Who may change a job, and who has to say first who they are.

``JobQuerySet.visible_to()`` decides who may see a job: to everybody else it does not exist (404, never 403).
"""

from typing import Any

from rest_framework.request import Request

from ..models import Job
from ..querysets import owns

__all__ = ["is_mine", "lacks_credentials", "may_change"]


def lacks_credentials(request: Request) -> bool:
    """Tell whether the caller could have said who they are, and has not; False if the view authenticates no one.

    Such a caller gets what REST framework answers elsewhere in the project, whether a job exists or not: 401 with
    ``WWW-Authenticate``, or 403 if the first authentication class has none.
    """
    return bool(request.authenticators) and request.successful_authenticator is None


def may_change(user: Any, job: Job, permission: str) -> bool:
    """Tell whether *user*, who may see *job*, may do what *permission* names, such as ``cancel_job``.

    Everybody may change their own jobs, and those of anonymous callers: there the URL is the key. Staff need the
    permission for jobs of others.
    """
    return is_mine(user, job) or bool(user.has_perm(f"async_accept.{permission}"))


def is_mine(user: Any, job: Job) -> bool:
    """Tell whether *job* is the caller's own: its owner's, or everybody's who has its URL."""
    return job.anonymous or owns(user, job)
