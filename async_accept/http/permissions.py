"""Who may change a job.

``JobQuerySet.visible_to()`` decides who may see one: to everybody else it does not exist (404, never 403).
"""

from typing import Any

from ..models import Job

__all__ = ["may_change"]


def may_change(user: Any, job: Job, permission: str) -> bool:
    """Tell whether *user*, who may see *job*, may do what *permission* names, such as ``cancel_job``.

    Everybody may change their own jobs, and those of anonymous callers: there the URL is the key. Staff need the
    permission for jobs of others.
    """
    mine = job.anonymous or job.owner_id == user.pk
    return mine or bool(user.has_perm(f"async_accept.{permission}"))
