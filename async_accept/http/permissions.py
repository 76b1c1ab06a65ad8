"""Who may call the app's own endpoints.

What there is to see is answered by the query set, not here: a job that the caller may not see does not exist for them
(404, never 403), in every endpoint alike. So the permission class lets everybody in, explicitly, whatever the
project's default is.
"""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..models import Job

__all__ = ["JobPermission", "may_change"]


def may_change(user: Any, job: Job, permission: str) -> bool:
    """Tell whether *user*, who may see *job*, may do what *permission* names, such as ``cancel_job``.

    To their own and to those of anonymous callers, where the URL is the key; staff need the permission for another's.
    """
    mine = job.anonymous or job.owner_id == user.pk
    return mine or bool(user.has_perm(f"async_accept.{permission}"))


class JobPermission(BasePermission):
    """Lets every caller ask; ``JobQuerySet.visible_to()`` decides what there is for them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return True
