"""Context variables of the project that middleware had set when a request was accepted, such as the current tenant.

Texts, numbers, truth values, UUIDs and members of enums are kept and set again for the replay. Anything else is not
kept, and whatever is done with it in the replay raises ``NotKept``: the default of a variable must not quietly mean
another tenant. Variables of libraries are left alone; so are those that stand in no module.
"""

import re
import sys
from contextvars import Context, ContextVar, copy_context
from decimal import Decimal
from enum import Enum
from importlib import import_module
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from .. import encoding
from ..conf import conf
from ..exceptions import Unencodable
from ..origin import is_projects
from . import values
from .rebuilt import Missing

__all__ = ["restore_variables", "variables"]

_NOTHING = object()
#: What is kept. More would be too much: a dict of a logger's, say, may have anything in it.
PLAIN = (str, int, float, Decimal, UUID, Enum, type(None))
#: The module and the name of each variable that was looked for; None for one that is not the project's.
_places: dict[ContextVar[Any], tuple[str, str] | None] = {}


def variables() -> dict[str, Any]:
    """Return what is set now and differs from the default: ``kept`` by place with its value, and ``missing`` places."""
    kept, missing = {}, []
    for variable, value in copy_context().items():
        # Most are a library's.
        if _places.get(variable, _NOTHING) is None or value is (default := _default(variable)):
            continue
        if (place := _place(variable)) is None:
            continue
        path = ":".join(place)
        if not _is_plain(value) or re.search(conf.REDACT_KEYS, path):
            missing.append(path)
        elif type(value) is not type(default) or value != default:
            kept[path] = values.keep(value)
    return {"kept": kept, "missing": missing}


def _is_plain(value: Any) -> bool:
    """Whether *value* is a single one, that says nothing else and comes back as it was."""
    if not isinstance(value, PLAIN):
        return False
    try:
        encoding.dumps(values.keep(value))
    except (ImproperlyConfigured, Unencodable):
        return False
    return True


def _default(variable: ContextVar[Any]) -> Any:
    try:
        return Context().run(variable.get)
    except LookupError:
        return _NOTHING


def restore_variables(stored: dict[str, Any]) -> None:
    """Set the variables again, in a context of the attempt's own; one that has gone since is left out."""
    kept = {path: values.restore(value) for path, value in stored.get("kept", {}).items()}
    missing = {path: Missing(path.replace(":", ".")) for path in stored.get("missing", ())}
    for path, value in {**kept, **missing}.items():
        module, _, name = path.partition(":")
        try:
            variable = getattr(import_module(module), name, None)
        except ImportError:
            continue
        if isinstance(variable, ContextVar):
            variable.set(value)


def _place(variable: ContextVar[Any]) -> tuple[str, str] | None:
    if variable not in _places:
        _places[variable] = _find(variable)
    return _places[variable]


def _find(variable: ContextVar[Any]) -> tuple[str, str] | None:
    for name, module in sys.modules.copy().items():  # in one step: other threads import meanwhile
        file = getattr(module, "__file__", None) or ""
        if not file or not is_projects(file, name):
            continue
        for attribute, value in vars(module).copy().items():
            if value is variable:
                return name, attribute
    return None
