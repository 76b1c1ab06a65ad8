"""Conditional requests (RFC 9110, section 13): ``If-None-Match`` on reads, ``If-Match`` on changes."""

from django.utils.http import parse_etags

from ..exceptions import PreconditionFailed

__all__ = ["check_if_match", "is_unchanged"]


def is_unchanged(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names *etag*, so that a read is answered 304; compared weakly (section 13.1.2)."""
    if not header:
        return False
    tags = [tag.removeprefix("W/") for tag in parse_etags(header)]
    return "*" in tags or etag.removeprefix("W/") in tags


def check_if_match(header: str | None, *etags: str) -> None:
    """Make sure that ``If-Match``, where it was sent, names one of *etags*; compared strongly (section 13.1.1).

    Raises:
        PreconditionFailed: it names another version; nothing was changed (412).
    """
    if header is None:
        return
    tags = parse_etags(header)
    if "*" not in tags and not any(etag in tags for etag in etags if not etag.startswith("W/")):
        raise PreconditionFailed
