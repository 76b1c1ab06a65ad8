"""The URLs of one job, and the id that a URL names."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from django.urls import NoReverseMatch, get_resolver, get_script_prefix, get_urlconf
from django.urls import reverse as reverse_path
from django.utils.translation import get_language
from rest_framework.reverse import reverse
from rest_framework.settings import api_settings
from rest_framework.utils.urls import remove_query_param

from ..models import Job
from .urlconf import below_a_version

__all__ = ["job_id", "job_url", "root_url"]

#: The name of the status monitor's URL.
NAME = "async_accept:job-detail"
#: Stands for an id.
SOME_ID = str(UUID(int=0))


def job_url(job: Job, request: Any, endpoint: str = "") -> str:
    """Return the absolute URL of the status monitor, or of an endpoint below it: result, cancel, rerun or events.

    The request builds it, so host checks, proxy settings, versioning and prefixes hold; without a request, it is the
    path alone. If the URLs of jobs exist below versions only, a request without a version gets the URL of the default
    version, or of the first one. The format of the request (``?format=api``) is left out: whoever follows the URL
    chooses a format.

    Raises:
        NoReverseMatch: ``async_accept.urls`` is not mounted (check ``async_accept.E003``).
    """
    if getattr(request, "versioning_scheme", None) is None:
        try:
            before, after = _around_id(get_resolver(get_urlconf()), get_script_prefix(), get_language())
        except NoReverseMatch:
            pass  # below a version, perhaps
        else:
            path = f"{before}{job.pk}{after}{endpoint and endpoint + '/'}"
            return path if request is None else root_url(request)[:-1] + path
    url = _url_of_version(str(job.pk), request)
    override = api_settings.URL_FORMAT_OVERRIDE
    if override and "?" in url:  # REST framework's reverse() copies it from the request
        url = remove_query_param(url, override)
    path, mark, query = url.partition("?")
    return f"{path}{endpoint}/{mark}{query}" if endpoint else url


def root_url(request: Any) -> str:
    """Return the URL of the host that *request* was sent to; its path is ``/``."""
    return str(request.build_absolute_uri("/"))


@lru_cache(maxsize=64)  # a project has one URLconf, or one for each of some hosts
def _around_id(resolver: Any, script_prefix: str, language: str | None) -> tuple[str, str]:
    """Return the path of a status monitor, before and after the id. All of them are alike, and to reverse is slow.

    Args:
        resolver: of the present URLconf. A prefix of ``i18n_patterns()`` depends on the present language.
    """
    before, _, after = reverse_path(NAME, kwargs={"pk": SOME_ID}).rpartition(SOME_ID)
    return before, after


def _url_of_version(pk: str, request: Any) -> str:
    """Return the URL of a status monitor as the version of *request* has it; if it has none, the default one."""
    try:
        return str(reverse(NAME, kwargs={"pk": pk}, request=request))
    except NoReverseMatch:
        named = below_a_version(NAME)
        if named is None:
            raise
        return str(reverse(named[0], kwargs={"pk": pk, **named[1]}, request=request))


def job_id(text: str) -> UUID | None:
    """Return the id that a URL names; None if it is malformed, or not spelled as our URLs spell it."""
    try:
        pk = UUID(text)
    except ValueError:
        return None
    return pk if str(pk) == text.lower() else None
