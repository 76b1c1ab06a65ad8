"""The list of jobs filtered by django-filter (extra ``filters``), where that is in ``INSTALLED_APPS``.

The same parameters with the same meaning as the built-in filter has. What django-filter adds: a form in the browsable
API, and a filter set that a project extends by filters of its own.
"""

from typing import Any

from django import forms
from django_filters.filters import Filter
from django_filters.rest_framework import DjangoFilterBackend, FilterSet

from ..http.filters import FILTERS
from ..http.views import JobViewSet

__all__ = ["JobFilterSet", "connect"]


def connect() -> None:
    """Let the list of jobs be filtered by ``JobFilterSet``."""
    JobViewSet.filter_backends = (DjangoFilterBackend,)
    JobViewSet.filterset_class = JobFilterSet  # type: ignore[attr-defined] # django-filter's


class ParsedField(forms.CharField):
    """Text that is understood as the built-in filter understands it."""

    def __init__(self, *, parse: Any, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)
        self.parse = parse

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return self.parse(text) if text else None
        except ValueError as error:
            # As a parameter: django-filter formats the message, and what the client sent may have a percent sign.
            raise forms.ValidationError("%(why)s", code="invalid", params={"why": error}) from error


class ParsedFilter(Filter):  # type: ignore[misc]
    """One of the built-in filters, by its name."""

    field_class = ParsedField

    def __init__(self, name: str) -> None:
        parse, field, lookup = FILTERS[name]
        super().__init__(field_name=field, lookup_expr=lookup, parse=parse)


class JobFilterSet(FilterSet):  # type: ignore[misc]
    """Filters the list of jobs by status (several, separated by commas), operation and time.

    To have more of them, make a subclass the ``filterset_class`` of a subclass of ``JobViewSet``.

    Raises:
        ValidationError: a parameter means nothing (400, an error for each field).
    """

    status = ParsedFilter("status")
    operation = ParsedFilter("operation")
    created_after = ParsedFilter("created_after")
    created_before = ParsedFilter("created_before")
