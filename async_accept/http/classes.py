"""Classes of the job endpoints that the settings choose, in place of REST framework's defaults for the project."""

from collections.abc import Callable, Sequence
from typing import Any

from django.utils.module_loading import import_string

from ..conf import conf

__all__ = ["FromSetting"]


class FromSetting:
    """A class attribute of a view, such as ``authentication_classes``, that a setting decides each time it is read.

    A subclass that has the attribute itself, and ``as_view(authentication_classes=…)``, beat the setting.

    Args:
        name: the setting. It lists classes, or their dotted paths; None means the default.
        default: returns the classes if the setting is None.
    """

    def __init__(self, name: str, default: Callable[[], Sequence[Any]]) -> None:
        self.name = name
        self.default = default

    def __get__(self, view: Any, owner: Any = None) -> Sequence[Any]:
        chosen = getattr(conf, self.name)
        if chosen is None:
            return self.default()
        return [import_string(item) if isinstance(item, str) else item for item in chosen]
