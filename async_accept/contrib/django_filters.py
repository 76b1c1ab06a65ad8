"""Filters the list of jobs by django-filter (extra ``filters``), if that is in ``INSTALLED_APPS``.

The parameters are those of the built-in filter, and mean the same. django-filter adds a form in the browsable API, and
a filter set that a project can extend.
"""

from typing import Any

from django import forms
from django_filters.filters import Filter
from django_filters.rest_framework import DjangoFilterBackend, FilterSet

from ..http.filters import FILTERS
from ..http.views import JobViewSet

__all__ = ["JobFilterSet", "connect"]


def connect() -> None:
    """Make ``JobFilterSet`` filter the list of jobs; called when the app is ready."""
    JobViewSet.filter_backends = (DjangoFilterBackend,)
    JobViewSet.filterset_class = JobFilterSet  # type: ignore[attr-defined] # django-filter's


class ParsedField(forms.CharField):
    """A text that is parsed as the built-in filter parses it."""

    def __init__(self, *, parse: Any, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)
        self.parse = parse

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return self.parse(text) if text else None
        except ValueError as error:
            # The error is a parameter, not the message: it may repeat a percent sign of the client's.
            raise forms.ValidationError("%(why)s", code="invalid", params={"why": error}) from error


class ParsedFilter(Filter):  # type: ignore[misc]
    """The built-in filter of this name."""

    field_class = ParsedField

    def __init__(self, name: str) -> None:
        parse, field, lookup = FILTERS[name]
        super().__init__(field_name=field, lookup_expr=lookup, parse=parse)


class JobFilterSet(FilterSet):  # type: ignore[misc]
    """Filters the list of jobs by status (several, separated by commas), operation and time.

    To add filters, make a subclass of this the ``filterset_class`` of a subclass of ``JobViewSet``.

    Raises:
        ValidationError: a value cannot be parsed (400, with an error for each field).
    """

    status = ParsedFilter("status")
    operation = ParsedFilter("operation")
    created_after = ParsedFilter("created_after")
    created_before = ParsedFilter("created_before")
