"""Check of the URLconf: the URLs of jobs are mounted, and a 202 can name them."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import get_resolver

from ..http.urlconf import mounts
from .messages import TAG, error

__all__ = ["check_urls"]


@checks.register(TAG)
def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    """E003: the URLs of jobs are not mounted, or below a namespace or parameter that nothing fills in."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = list(mounts(get_resolver().url_patterns))
    if any(mount.is_reached for mount in found):
        return []
    hint = f'Add to {settings.ROOT_URLCONF}: path("api/jobs/", include("async_accept.urls")),'
    if not found:
        return [error(3, "The URLs of jobs are not mounted, so no client could follow a 202.", hint)]
    first = found[0]
    below = ", ".join([*first.namespaces, *sorted(first.parameters)])
    message = f"The URLs of jobs are mounted below {below}, and their versioning class does not fill that in."
    if first.wanted:
        hint = f'"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.{first.wanted}",'
    return [error(3, message, hint)]
