"""The transactions of ``ATOMIC_REQUESTS``, opened by the accepting view itself.

Django opens them around the whole view. But a client that waits for its job (``Prefer: wait``) waits for the commit as
well: before it, no worker sees the job. So an accepting view tells Django to open none, and opens them as Django would
have. They end as they always did, or a little earlier, before the wait.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest

from ..jobs.replay import job_of
from ..models import database

__all__ = ["can_wait", "commit_early", "in_own_transactions"]


class OptedOut(set[str]):
    """The databases for which a view opted out of ``ATOMIC_REQUESTS`` (``non_atomic_requests``).

    To Django it contains every database, so that Django opens no transaction for the view.
    """

    def __contains__(self, alias: object) -> bool:
        return True


class RequestTransactions(ExitStack):
    """The transactions of one request."""

    def __init__(self) -> None:
        super().__init__()
        self.are_outermost = False
        self.depth = 0

    def begin(self, opted_out: set[str]) -> None:
        """Begin them, but for these databases."""
        using, names = database(), frozenset(opted_out)
        #: Nothing was open before, so that their end is a commit.
        self.are_outermost = not connections[using].in_atomic_block
        # The first database is the innermost, as in BaseHandler.make_view_atomic().
        for alias in reversed(list(connections)):
            if connections[alias].settings_dict["ATOMIC_REQUESTS"] and alias not in names:
                self.enter_context(transaction.atomic(using=alias))
        #: How many blocks were open when the view began.
        self.depth = len(connections[using].atomic_blocks)


def in_own_transactions(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return *view*, the function of ``as_view()``, as one that opens the transactions of its request itself."""

    @wraps(view)
    def accepting(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        opted_out = _left_to_us(request)
        if opted_out is None:
            return view(request, *args, **kwargs)
        with RequestTransactions() as transactions:
            transactions.begin(opted_out)
            request.accept_transactions = transactions  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

    accepting._non_atomic_requests = OptedOut(getattr(view, "_non_atomic_requests", ()))  # type: ignore[attr-defined]
    return accepting


def _left_to_us(request: HttpRequest) -> OptedOut | None:
    """Return for which databases the route opted out; None if Django, or the replay, has opened the transactions."""
    if job_of(request) is not None or hasattr(request, "accept_transactions"):
        return None
    match = request.resolver_match
    if match is None:  # a test calls the view
        return OptedOut()
    opted_out = getattr(match.func, "_non_atomic_requests", None)
    return opted_out if isinstance(opted_out, OptedOut) else None


def can_wait(request: Any) -> bool:
    """Tell whether a client can wait for a job of *request*: nothing but its own transactions is around the view.

    Django's are, around a function that has ``@accepts`` below ``@api_view``, and around an action of a view without a
    mixin.
    """
    blocks: Any = connections[database()].atomic_blocks
    own = getattr(request._request, "accept_transactions", None)
    if own is not None:
        return bool(len(blocks) == own.depth)
    return not blocks or bool(blocks[-1]._from_testcase)


def commit_early(request: Any) -> bool:
    """Commit what *request* has written, if its transactions are its own; tell whether everybody sees it now."""
    own = getattr(request._request, "accept_transactions", None)
    if own is not None and own.are_outermost and can_wait(request):
        own.close()
    return not connections[database()].in_atomic_block
