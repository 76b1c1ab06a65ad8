"""The folders of this installation in the storage: another one may share it, and its files are not ours to remove.

An installation is known by its secret key and by the name of its jobs' database.
"""

from django.conf import settings
from django.db import connections
from django.utils.crypto import salted_hmac

from ..models import database

__all__ = ["all_own", "own"]

#: Two installations with one storage are few: so many digits are enough, and paths stay short.
DIGITS = 16


def own(kind: str) -> str:
    """Return the folder in the folder *kind* where this installation saves."""
    return _folder(kind, settings.SECRET_KEY)


def all_own(kind: str) -> list[str]:
    """Return that folder, and those from before the secret key was changed (``SECRET_KEY_FALLBACKS``)."""
    return [_folder(kind, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def _folder(kind: str, key: str | bytes) -> str:
    name = str(connections[database()].settings_dict["NAME"])
    return f"{kind}/{salted_hmac('async_accept.folders', name, secret=key, algorithm='sha256').hexdigest()[:DIGITS]}"
