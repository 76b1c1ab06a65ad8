"""The job list at a million rows: counted up to a cap, searched by what is indexed, sorted by time."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest
from django.utils.functional import cached_property

from ..db.functions import CountOf
from ..models import Job
from ..querysets import JobQuerySet
from .filters import MineFilter, of_owner, operations
from .statistics import starving

__all__ = ["CappedPaginator", "JobChangeList", "search"]

#: A list is counted, and can be leafed through, up to here.
CAP = 10_000
#: The parameter of a list's URL that asks for the columns which are hidden by default. It is no filter.
COLUMNS_VAR = "columns"
#: One owner's jobs are in order of time by their ids, and so are they in the index on (owner, id).
BY_ID = ("-id",)

_QUALIFIED = re.compile(r"(owner|op|key):(.*)", re.DOTALL)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than ``cap``: beyond that, people search instead of leafing."""

    cap = CAP

    @cached_property
    def counted(self) -> int:
        """How many there are, or one more than the cap."""
        jobs: Any = self.object_list
        return int(jobs.order_by()[: self.cap + 1].count())

    @property
    def capped(self) -> bool:
        return self.counted > self.cap

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.cap)

    def rows(self, number: int, size: int = 0) -> list[Job]:
        """Return the rows of a page, and learn by the same statement how many there are in all."""
        size = size or self.per_page
        first = (number - 1) * size
        if not 0 <= first < self.cap:
            return []
        jobs: Any = self.object_list
        page = jobs.annotate(counted=CountOf(jobs, self.cap + 1))
        found: list[Any] = list(page[first : min(first + size, self.cap)])
        self.counted = found[0].counted if found else 0
        return found


class JobChangeList(ChangeList):
    """Newest first, and a word when jobs wait and nobody works."""

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(COLUMNS_VAR, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: Any) -> Any:
        if request.GET.get(MineFilter.parameter_name) == "1" and ORDER_VAR not in request.GET:
            return BY_ID
        return super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, and with it the count that takes Django's own list a statement more."""
        paginator: Any = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        rows = paginator.rows(1, self.list_max_show_all) if self.show_all else []
        if not self.show_all or paginator.count > self.list_max_show_all:
            rows = paginator.rows(self.page_num)
            if not rows and self.page_num != 1:  # there is no such page (any more)
                self.page_num = 1
                rows = paginator.rows(1)
        for row in rows:  # a column is given its row alone
            row.viewed_in = request
        self.paginator, self.result_list = paginator, rows
        # The count stands below the list, where a capped one is said to be capped; not beside the search box too.
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
        """Where the hidden columns are shown, or hidden again."""
        return str(self.get_query_string({COLUMNS_VAR: None if self.has_all_columns else "all"}))

    @cached_property
    def starving(self) -> timedelta | None:
        """How long the longest waiting job of this page waits, while no worker is seen."""
        return starving(self.result_list)


def search(request: HttpRequest, jobs: JobQuerySet, text: str) -> JobQuerySet:
    """Narrow *jobs* by what people type: a job's id, an operation, an owner's name, or ``owner:`` ``op:`` ``key:``.

    Every word must hold. Nothing is looked for inside of texts: that would read every row.
    """
    for word in text.split():
        qualified = _QUALIFIED.fullmatch(word)
        kind, value = qualified.groups() if qualified else (_kind(request, word), word)
        match kind:
            case "id":
                jobs = jobs.filter(pk=UUID(value))
            case "operation":
                jobs = jobs.filter(operation=value)
            case "op":
                # Their names in full, and not a range of the index: only the column's collation knows what begins how.
                names = [name for name in operations(request) if name.startswith(value)]
                jobs = jobs.filter(operation__in=names)
            case "key":
                # The columns hold hashes: a key by itself belongs to many owners and routes.
                jobs = jobs.filter(Q(idempotency_key=value) | Q(active_hash=value))
            case _:
                jobs = of_owner(jobs, **{get_user_model().USERNAME_FIELD: value})
                if ORDER_VAR not in request.GET:
                    jobs = jobs.order_by(*BY_ID)
    return jobs


def _kind(request: HttpRequest, word: str) -> str:
    """Tell what a bare word names."""
    try:
        UUID(word)
    except ValueError:
        return "operation" if word in operations(request) else "owner"
    return "id"
