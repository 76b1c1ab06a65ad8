"""Checks of the URLconf: the URLs of jobs are mounted where every 202 can name them."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import get_resolver

from ..http.urlconf import mounts
from .messages import TAG, error

__all__ = ["check_urls"]


@checks.register(TAG)
def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    """E003: the URLs that every 202 names are not there, or below what nobody can fill in."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = list(mounts(get_resolver().url_patterns))
    if any(mount.is_reached for mount in found):
        return []
    hint = f'Add to {settings.ROOT_URLCONF}: path("api/jobs/", include("async_accept.urls")),'
    if not found:
        return [error(3, "The URLs of jobs are not mounted, so no 202 could be followed.", hint)]
    first = found[0]
    below = ", ".join([*first.namespaces, *sorted(first.parameters)])
    message = f"The URLs of jobs are mounted below {below}, and no versioning of theirs fills that in."
    if first.wanted:
        hint = f'"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.{first.wanted}",'
    return [error(3, message, hint)]
