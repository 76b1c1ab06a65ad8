"""Filters of the job list: ``status``, ``operation``, ``created_after``, ``created_before``."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from ..db.clock import as_stored, aware
from ..states import State

__all__ = ["FILTERS", "Filter", "JobFilter"]


class Filter(NamedTuple):
    """How one query parameter narrows the list."""

    #: Turns the text into a value; raises ValueError with a message for the client.
    parse: Callable[[str], Any]
    field: str
    lookup: str


class JobFilter(BaseFilterBackend):
    """Narrows the list by query parameters; ignores unknown ones.

    ``status`` takes one status, or several separated by commas. Times are RFC 3339.

    Raises:
        ValidationError: an unknown status, or a malformed time (400).
    """

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        errors, wanted = {}, {}
        for name, (parse, field, lookup) in FILTERS.items():
            if text := request.query_params.get(name):
                try:
                    wanted[f"{field}__{lookup}"] = parse(text)
                except ValueError as error:
                    errors[name] = [str(error)]
        if errors:
            raise ValidationError(errors)
        return queryset.filter(**wanted)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in FILTERS
        ]


def _states(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := sorted(set(wanted) - set(State.values)):
        raise ValueError(f"Unknown status {unknown[0][:40]!r}; there are {', '.join(State.values)}.")
    return wanted


def _operation(text: str) -> str:
    if "\0" in text:
        raise ValueError("An operation has no NUL.")
    return text


#: Day, hours and minutes, seconds, fraction, offset. By RFC 3339, section 5.6 and its notes, ``T`` and ``Z`` may be in
#: lower case, a space may stand for ``T``, and 60 is a leap second. An unescaped plus sign arrives as a space.
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[ +-][0-9]{2}:[0-9]{2})"
)


def _moment(text: str) -> datetime:
    leap = timedelta()
    if match := _RFC3339.fullmatch(text):
        day, clock, second, fraction, zone = match.groups()
        if second == "60":  # Python has no leap seconds
            second, leap = "59", timedelta(seconds=1)
        fraction = (fraction or "")[:7]  # Python has microseconds
        text = f"{day}T{clock}:{second}{fraction}{zone.upper()}"
    try:
        moment = parse_datetime(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("Not a time in RFC 3339, such as 2026-05-04T03:02:01Z.")
    try:
        return as_stored(aware(moment).astimezone(UTC) + leap)
    except OverflowError:
        raise ValueError("Before or after all times.") from None


FILTERS = {
    "status": Filter(_states, "state", "in"),
    "operation": Filter(_operation, "operation", "exact"),
    "created_after": Filter(_moment, "created_at", "gte"),
    "created_before": Filter(_moment, "created_at", "lt"),
}
