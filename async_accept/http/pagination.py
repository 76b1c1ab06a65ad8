"""Pages of jobs."""

from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from .links import job_id

__all__ = ["JobPagination"]


class JobPagination(CursorPagination):
    """Newest first, by the time-ordered id. A page costs the same however many jobs there are."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise ValidationError({"cursor": ["Not a cursor."]}) from None
        if cursor is not None and cursor.position is not None and job_id(str(cursor.position)) is None:
            raise ValidationError({"cursor": ["Not a cursor."]})
        return cursor
