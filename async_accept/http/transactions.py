"""The transactions of ``ATOMIC_REQUESTS``, opened by the accepting view itself.

Django opens them around the whole view. But a client that waits for its job (``Prefer: wait``) waits for the commit as
well: before it, no worker sees the job. So an accepting view tells Django to open none, and opens them as Django would
have. They end as they always did, or a little earlier, before the wait.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest
from rest_framework.views import APIView

from ..jobs.replay import job_of
from ..models import database

__all__ = ["can_wait", "commit_early", "in_own_transactions"]

logger = logging.getLogger(__name__)


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
        # For the worker, which runs the view's code on them again: that may take some out, or add others.
        request.accept_kwargs = kwargs  # type: ignore[attr-defined]
        opted_out = _left_to_us(request)
        if opted_out is None:
            return _kept(view, request, *args, **kwargs)
        with RequestTransactions() as transactions:
            transactions.begin(opted_out)
            request.accept_transactions = transactions  # type: ignore[attr-defined]
            return _kept(view, request, *args, **kwargs)

    accepting._non_atomic_requests = OptedOut(getattr(view, "_non_atomic_requests", ()))  # type: ignore[attr-defined]
    return accepting


def _kept(view: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
    """Return the answer of *view*; the 202 as it is, if code of the view's own fails on it.

    A view may make headers or members of its answer (``finalize_response()``, ``dispatch()``) that a 202 cannot give.
    The job is stored by then, and without the 202 its client would send the request again.
    """
    try:
        return view(request, *args, **kwargs)
    except Exception:
        promise = vars(request).get("accept_promise")
        # A transaction around the view is rolled back, and the job with it.
        if promise is None or _blocks():
            raise
        logger.exception("A view failed on its own 202, which is sent without what the view adds.")
    asked, response = promise
    return APIView.finalize_response(asked.parser_context["view"], asked, response, *args, **kwargs)


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
    own = getattr(request._request, "accept_transactions", None)
    if own is not None:
        return len(connections[database()].atomic_blocks) == int(own.depth)
    return not _blocks()


def _blocks() -> list[Any]:
    """Return the transactions that are open, but for those that a ``TestCase`` opens around its tests."""
    blocks: Any = connections[database()].atomic_blocks
    return [] if blocks and blocks[-1]._from_testcase else blocks


def commit_early(request: Any) -> bool:
    """Commit what *request* has written, if its transactions are its own; tell whether everybody sees it now."""
    own = getattr(request._request, "accept_transactions", None)
    if own is not None and own.are_outermost and can_wait(request):
        own.close()
    return not connections[database()].in_atomic_block
