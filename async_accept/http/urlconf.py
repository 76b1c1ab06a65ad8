"""Where a project has mounted the URLs of jobs.

They may stand below a version. Then ``reverse()`` alone does not find them, and REST framework's does, with a request
of that version; so a check must look them up in the URLconf itself.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.urls import URLResolver, get_resolver, get_urlconf
from rest_framework.settings import api_settings
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning

__all__ = ["Mount", "below_a_version", "mounts"]


class Mount(NamedTuple):
    """A place in the URLconf where the URLs of jobs are."""

    #: The namespaces that stand before their own.
    namespaces: tuple[str, ...]
    #: The parameters in the path before them.
    parameters: frozenset[str]
    #: The versioning class of the view that serves them; None for no versioning.
    versioning: Any
    #: What serves the status monitor: what ``as_view()`` returned.
    view: Any = None

    @property
    def is_reached(self) -> bool:
        """Whether a request to the same version finds them."""
        kind: Any = self.versioning or object
        if self.parameters:
            is_filled = issubclass(kind, URLPathVersioning) and self.parameters == {kind.version_param}
            return is_filled and not self.namespaces
        return not self.namespaces or issubclass(kind, NamespaceVersioning)

    @property
    def wanted(self) -> str | None:
        """The name of the versioning class that would reach them; None where none would."""
        if self.namespaces and not self.parameters:
            return "NamespaceVersioning"
        is_version = self.parameters == {URLPathVersioning.version_param} and not self.namespaces
        return "URLPathVersioning" if is_version else None


def mounts(
    patterns: Any, namespaces: tuple[str, ...] = (), parameters: frozenset[str] = frozenset()
) -> Iterator[Mount]:
    """Yield every place below *patterns* where the URLs of jobs are."""
    for pattern in patterns:
        if not isinstance(pattern, URLResolver):
            continue
        below = parameters | set(pattern.pattern.regex.groupindex)
        details = [entry for entry in pattern.url_patterns if getattr(entry, "name", None) == "job-detail"]
        if pattern.app_name == "async_accept" and details:
            yield Mount(namespaces, below, _versioning(details[0].callback), details[0].callback)
        else:
            deeper = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from mounts(pattern.url_patterns, deeper, below)


def below_a_version(name: str) -> tuple[str, dict[str, str]] | None:
    """Return the name and the parameters of the URL *name* below the default version, or the first one.

    For a request that has no version, where no URLs of jobs stand outside of all versions. None where none is known.
    """
    default = api_settings.DEFAULT_VERSION
    version = default or next(iter(api_settings.ALLOWED_VERSIONS or ()), None)
    found = [mount for mount in mounts(get_resolver(get_urlconf()).url_patterns) if mount.is_reached]
    for mount in sorted(found, key=lambda mount: default not in mount.namespaces):
        if version is not None or not mount.parameters:
            return ":".join((*mount.namespaces, name)), dict.fromkeys(mount.parameters, str(version))
    return None


def _versioning(view: Any) -> Any:
    options = getattr(view, "initkwargs", {})
    return options.get("versioning_class", getattr(getattr(view, "cls", None), "versioning_class", None))
