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


def check_if_match(header: str | None, *etags: str, may_be_weakened: bool = False) -> None:
    """Make sure that ``If-Match``, where it was sent, names one of *etags*; compared strongly (section 13.1.1).

    Args:
        may_be_weakened: take ``W/"tag"`` for ``"tag"``. What compresses an answer on its way to the client makes its
            tag a weak one, as Django's ``GZipMiddleware`` and nginx do, and the client can send no other. Weak tags are
            ruled out because one of them may stand for several versions. So this is only for tags that name one
            version of a row, whatever stands before them.

    Raises:
        PreconditionFailed: it names another version; nothing was changed (412).
    """
    if header is None:
        return
    tags = parse_etags(header)
    if may_be_weakened:
        tags = [tag.removeprefix("W/") for tag in tags]
    if "*" not in tags and not any(etag in tags for etag in etags if not etag.startswith("W/")):
        raise PreconditionFailed
