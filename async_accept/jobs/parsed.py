"""The parsed data of a request: kept in a job's input, and given back to the replayed view as its parser gave it.

It is kept at the moment at which it is parsed. The view's own code may change it after that, and the replay runs this
code again.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework.parsers import DataAndFiles
from rest_framework.request import Empty, Request

from ..exceptions import Unencodable
from . import values

__all__ = [
    "capture_data",
    "files_of",
    "input_of",
    "keep_input",
    "payload",
    "restore_data",
    "take_field",
    "without_csrf_token",
]

#: The field of Django's forms that says whose form it is. It was checked, is a secret, and differs each time.
CSRF_FIELD = "csrfmiddlewaretoken"


def without_csrf_token(data: Any) -> Any:
    """Return *data* without the CSRF token of a form; it was checked before, and nobody else needs it."""
    if not isinstance(data, Mapping) or CSRF_FIELD not in data:
        return data
    if not isinstance(data, QueryDict):
        rest: Any = copy(data)
        del rest[CSRF_FIELD]
        return rest
    form = data.copy()
    del form[CSRF_FIELD]
    form._mutable = data._mutable
    return form


def take_field(request: Request, name: str) -> str | None:
    """Remove the field *name* of a form from *request*, and return its last value; None if it has none, or a file."""
    value = None
    # A form with files has two copies: the fields, and the fields with the files. Django's request has one, too.
    for data in (request.data, request.POST, request._request.POST):
        if isinstance(data, QueryDict) and name in data:
            mutable, data._mutable = data._mutable, True
            value = data.pop(name)[-1]
            data._mutable = mutable
    kept = vars(request).get("_accept_input", {})
    if "form" in kept:
        kept["form"] = [pair for pair in kept["form"] if pair[0] != name]
    return value if isinstance(value, str) else None


def keep_input(request: Request) -> Request:
    """Let *request* keep what its parser returns; if it is parsed already, what it has now. Return *request*."""
    if vars(request).get("_full_data", Empty) is Empty:
        request._load_data_and_files = partial(_load_and_keep, request)  # type: ignore[attr-defined]
    else:
        _keep(request)
    return request


def _load_and_keep(request: Any) -> None:
    type(request)._load_data_and_files(request)
    _keep(request)


def _keep(request: Any) -> None:
    if "_accept_input" not in vars(request):
        with suppress(ImproperlyConfigured, Unencodable, RecursionError):  # told when the input is needed
            request._accept_input = capture_data(request._full_data, request._files)


def input_of(request: Request) -> dict[str, Any]:
    """Return what the client of *request* sent, in a form that JSON can hold, with its files.

    Raises:
        ImproperlyConfigured, Unencodable, RecursionError: it has no such form.
    """
    kept: dict[str, Any] | None = vars(request).get("_accept_input")
    return capture_data(request.data, request.FILES) if kept is None else kept


def capture_data(data: Any, files: Any = None) -> dict[str, Any]:
    """Return parsed request data in a form that JSON can hold; files in it stay what they are.

    Args:
        files: the files that the parser returned apart (``request.FILES``). REST framework has added them to the data.

    Raises:
        ImproperlyConfigured: a value in it cannot be kept.
    """
    data = without_csrf_token(data)
    if type(data) is QueryDict:
        return _form(data)
    if not files:
        return {"data": values.keep(data)}
    kept = values.keep(files)
    return {
        "data": values.keep(_fields(data, files)),
        "files": kept if type(files) is dict else _pairs(files),
    }


def files_of(request: Request) -> list[Any]:
    """Return the uploaded files of *request*."""
    return [file for each in _lists(request.FILES) for file in each]


def payload(captured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the *captured* data that a repeat must share with the first request.

    Whether a form can be changed is no part of it: it depends on its parser, and on where the key was found.
    """
    return {name: kept for name, kept in captured.items() if name not in ("encoding", "mutable")}


def _form(data: QueryDict) -> dict[str, Any]:
    kept: dict[str, Any] = {"form": values.keep(_pairs(data))}
    if data.encoding != settings.DEFAULT_CHARSET:
        kept["encoding"] = data.encoding
    # With files, REST framework makes a mutable copy by itself.
    if data._mutable and not any(_is_file(value) for _, each in data.lists() for value in each):
        kept["mutable"] = True
    return kept


def _fields(data: Any, files: Any) -> Any:
    """Return *data* without what REST framework has added of *files*."""
    if isinstance(data, MultiValueDict):
        added = {id(file) for each in _lists(files) for file in each}
        lists = {key: [value for value in data.getlist(key) if id(value) not in added] for key in data}
        return type(data)({key: each for key, each in lists.items() if each or not data.getlist(key)})
    rest = copy(data)
    for key in files:
        if rest.get(key) is dict.get(files, key):
            del rest[key]
    return rest


def _lists(files: Any) -> Iterable[list[Any]]:
    return (
        [each for _, each in files.lists()] if isinstance(files, MultiValueDict) else [list(files.values())]
    )


def _pairs(data: MultiValueDict[str, Any]) -> list[list[Any]]:
    return [[key, data.getlist(key)] for key in data]


def _is_file(value: Any) -> bool:
    return isinstance(value, UploadedFile)


def restore_data(stored: Mapping[str, Any] | None) -> Any:
    """Return what the parser returned when the request was accepted: the files apart from the fields.

    Args:
        stored: the input of a job, with its files, as ``uploads.restore()`` returns it.
    """
    if stored is None:
        return {}
    if "files" in stored:
        kept = stored["files"]
        return DataAndFiles(stored["data"], MultiValueDict(kept) if isinstance(kept, list) else kept)
    if "form" not in stored:
        return stored["data"]
    data = QueryDict(mutable=True, encoding=stored.get("encoding"))
    files: MultiValueDict[str, Any] = MultiValueDict()
    for key, each in stored["form"]:
        uploaded = [value for value in each if _is_file(value)]
        fields = [value for value in each if not _is_file(value)]
        if uploaded:
            files.setlist(key, uploaded)
        if fields or not uploaded:
            data.setlist(key, fields)
    data._mutable = bool(stored.get("mutable"))
    return DataAndFiles(data, files)
