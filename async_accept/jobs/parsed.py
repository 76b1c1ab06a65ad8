"""The parsed data of a request: kept in a job's input, and given back to the replayed view as its parser gave it."""

from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework.parsers import DataAndFiles

__all__ = ["capture_data", "restore_data"]


def capture_data(data: Any, files: Any = None) -> dict[str, Any]:
    """Return parsed request data in a form that JSON can hold; forms keep their repeated fields.

    Args:
        files: the files that the parser returned apart (``request.FILES``). REST framework has added them to the data.
    """
    if isinstance(data, MultiValueDict):
        return {"form": _pairs(data)}
    if not files:
        return {"data": data}
    fields = {
        key: value for key, value in data.items() if key not in files or value is not dict.get(files, key)
    }
    return {"data": fields, "files": _pairs(files) if isinstance(files, MultiValueDict) else dict(files)}


def _pairs(data: MultiValueDict[str, Any]) -> list[list[Any]]:
    return [[key, data.getlist(key)] for key in data]


def restore_data(stored: Mapping[str, Any] | None) -> Any:
    """Return what the parser returned when the request was accepted: the files apart from the fields."""
    if stored is None:
        return {}
    if "files" in stored:
        kept = stored["files"]
        return DataAndFiles(stored["data"], MultiValueDict(kept) if isinstance(kept, list) else kept)
    if "form" not in stored:
        return stored["data"]
    data = QueryDict(mutable=True)
    files: MultiValueDict[str, Any] = MultiValueDict()
    for key, values in stored["form"]:
        for value in values:
            (files if isinstance(value, UploadedFile) else data).appendlist(key, value)
    return DataAndFiles(data, files)
