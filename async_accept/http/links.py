"""The URLs of one job, and the id that a URL names."""

from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.urls import NoReverseMatch, get_resolver, get_script_prefix, get_urlconf
from django.urls import reverse as reverse_path
from django.utils import translation
from django.utils.translation import get_language
from rest_framework.reverse import reverse
from rest_framework.settings import api_settings
from rest_framework.utils.urls import remove_query_param

from ..models import Job
from .urlconf import below_a_version

__all__ = ["job_id", "job_url"]

#: The name of the status monitor's URL.
NAME = "async_accept:job-detail"
#: How many prefixes of a URLconf are remembered.
SIZE = 64
#: Stands for an id.
SOME_ID = str(UUID(int=0))


def job_url(job: Job, request: Any, endpoint: str = "") -> str:
    """Return the absolute URL of the status monitor, or of an endpoint below it: result, cancel, rerun or events.

    The request builds it, so host checks, proxy settings, versioning, prefixes and the language of its own path hold;
    without a request, it is the path alone. If the URLs of jobs exist below versions only, a request without a version
    gets the URL of the default version, or of the first one. The format of the request (``?format=api``) is left out:
    whoever follows the URL chooses a format.

    Raises:
        NoReverseMatch: ``async_accept.urls`` is not mounted (check ``async_accept.E003``).
    """
    if is_language_prefix_patterns_used(get_urlconf() or settings.ROOT_URLCONF)[0]:
        with translation.override(getattr(request, "LANGUAGE_CODE", None) or get_language()):
            return _job_url(job, request, endpoint)
    return _job_url(job, request, endpoint)


def _job_url(job: Job, request: Any, endpoint: str) -> str:
    pk = str(job.pk)
    try:
        if getattr(request, "versioning_scheme", None) is None:
            url = pk.join(_around_id())
            if request is not None:
                url = request.build_absolute_uri(url)
        else:
            url = reverse(NAME, kwargs={"pk": pk}, request=request)
    except NoReverseMatch:
        named = below_a_version(NAME)
        if named is None:
            raise
        url = reverse(named[0], kwargs={"pk": pk, **named[1]}, request=request)
    override = api_settings.URL_FORMAT_OVERRIDE
    if override and "?" in url:  # REST framework's reverse() copies it from the request
        url = remove_query_param(url, override)
    path, mark, query = url.partition("?")
    return f"{path}{endpoint}/{mark}{query}" if endpoint else str(url)


def _around_id() -> tuple[str, str]:
    """Return the present path of a status monitor, before and after the id: to reverse it for each job would be slow.

    It depends on the URLconf, the script prefix, and with ``i18n_patterns()`` on the language.
    """
    known = _paths.setdefault(get_resolver(get_urlconf()), {})
    key = get_script_prefix(), get_language()
    found = known.get(key)
    if found is None:
        before, _, after = reverse_path(NAME, kwargs={"pk": SOME_ID}).rpartition(SOME_ID)
        if len(known) >= SIZE:
            known.clear()
        found = known[key] = before, after
    return found


#: By the resolver of a URLconf. Some projects make many of them, and each is large.
_paths: WeakKeyDictionary[Any, dict[tuple[str, str | None], tuple[str, str]]] = WeakKeyDictionary()


def job_id(text: str) -> UUID | None:
    """Return the id that a URL names; None if it is malformed, or not spelled as our URLs spell it."""
    try:
        pk = UUID(text)
    except ValueError:
        return None
    return pk if str(pk) == text.lower() else None
