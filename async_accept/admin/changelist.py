"""The list of jobs, made for a million rows: it counts up to a cap, searches indexed columns only, sorts by time."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest
from django.utils.functional import cached_property

from ..db.functions import CountOf
from ..models import Job
from ..querysets import JobQuerySet
from .filters import MineFilter, of_owner, operations
from .reading import read
from .statistics import stalled_for

__all__ = ["CappedPaginator", "JobChangeList", "search"]

#: How far a list is counted, and how many jobs its pages show in all.
CAP = 10_000
#: The parameter in a list's URL that shows the columns which are hidden by default. It is no filter.
COLUMNS_VAR = "columns"
#: The order of one owner's jobs. Their ids are time-ordered, and there is an index on (owner, id).
BY_ID = ("-id",)

_QUALIFIED = re.compile(r"(owner|op|key):(.*)", re.DOTALL)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than ``cap``: in a longer list, people search."""

    cap = CAP

    @cached_property
    def counted(self) -> int:
        """How many jobs there are, or one more than the cap."""
        jobs: Any = self.object_list
        return int(jobs.order_by()[: self.cap + 1].count())

    @property
    def capped(self) -> bool:
        return self.counted > self.cap

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.cap)

    def rows(self, number: int, size: int = 0) -> list[Job]:
        """Return the rows of a page, and count all rows in the same statement."""
        size = size or self.per_page
        first = (number - 1) * size
        if not 0 <= first < self.cap:
            return []
        jobs: Any = self.object_list
        page = jobs.annotate(counted=CountOf(jobs, self.cap + 1))
        found = read(page[first : min(first + size, self.cap)])
        self.counted = found[0].counted if found else 0
        return found


class JobChangeList(ChangeList):
    """The list, newest first, with a warning if jobs wait and no worker is seen."""

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(COLUMNS_VAR, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: Any) -> Any:
        if request.GET.get(MineFilter.parameter_name) == "1" and ORDER_VAR not in request.GET:
            return BY_ID
        return super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the rows of the page together with their count, for which Django's own list needs another statement."""
        paginator: Any = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        rows = paginator.rows(1, self.list_max_show_all) if self.show_all else []
        if not self.show_all or paginator.count > self.list_max_show_all:
            rows = paginator.rows(self.page_num)
            if not rows and self.page_num != 1:  # there is no such page, or no longer
                self.page_num = 1
                rows = paginator.rows(1)
        for row in rows:  # for object_column(), which gets nothing but the row
            row.viewed_in = request
        self.paginator, self.result_list = paginator, rows
        # Only the line below the list shows the count, because it also says if that is capped; the search box does not.
        self.result_count = self.full_result_count = paginator.count
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = paginator.count <= self.list_max_show_all
        self.multi_page = paginator.count > self.list_per_page

    @property
    def capped(self) -> bool:
        return bool(self.paginator.capped)

    @property
    def has_all_columns(self) -> bool:
        return bool(self.params.get(COLUMNS_VAR) == "all")

    @property
    def columns_url(self) -> str:
        """The URL that shows the hidden columns, or hides them again."""
        return str(self.get_query_string({COLUMNS_VAR: None if self.has_all_columns else "all"}))

    @cached_property
    def stalled_for(self) -> timedelta | None:
        """How long the oldest job of this page waits while no worker is seen; None if none does."""
        return stalled_for(self.result_list)


def search(request: HttpRequest, jobs: JobQuerySet, text: str, model_admin: Any) -> JobQuerySet:
    """Return those of *jobs* that match every word of *text*.

    A word is a job's id, an operation or an owner's name, or begins with ``owner:``, ``op:`` or ``key:``. Texts are not
    searched: that would read every row.
    """
    for word in text.split():
        qualified = _QUALIFIED.fullmatch(word)
        kind, value = qualified.groups() if qualified else (_kind(request, word, model_admin), word)
        match kind:
            case "id":
                jobs = jobs.filter(pk=UUID(value))
            case "operation":
                jobs = jobs.filter(operation=value)
            case "op":
                # By full names, not by a range of the index: how names sort depends on the column's collation.
                names = [name for name in operations(request, model_admin) if name.startswith(value)]
                jobs = jobs.filter(operation__in=names)
            case "key":
                # The columns hold hashes: many owners and routes may use the same key.
                jobs = jobs.filter(Q(idempotency_key=value) | Q(active_hash=value))
            case _:
                jobs = _of_name(jobs, value)
                if ORDER_VAR not in request.GET:
                    jobs = jobs.order_by(*BY_ID)
    return jobs


def _of_name(jobs: JobQuerySet, name: str) -> JobQuerySet:
    """Return those of *jobs* whose owner has this name; none if no user can have it, such as a word for a number."""
    field: Any = get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD)
    try:
        return of_owner(jobs, **{field.name: field.to_python(name)})
    except ValidationError:
        return jobs.none()


def _kind(request: HttpRequest, word: str, model_admin: Any) -> str:
    """Return what a word without a prefix is: id, operation or owner."""
    try:
        UUID(word)
    except ValueError:
        return "operation" if word in operations(request, model_admin) else "owner"
    return "id"
