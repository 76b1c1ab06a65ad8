from collections.abc import Callable

from django.http.response import HttpResponseBase
from rest_framework.request import Request

Work = Callable[[Request], HttpResponseBase]


class Works(dict[str, Work]):
    """Works by name."""

    def add(self, work: Work) -> Work:
        """Take *work* under the name of its function; a decorator."""
        self[work.__name__] = work
        return work
