"""A throttle for polls alone: a project-wide limit per day would stop honest polling after minutes."""

import logging
from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from ..conf import conf
from .monitor import job_id

__all__ = ["PollThrottle"]

logger = logging.getLogger(__name__)


class PollThrottle(SimpleRateThrottle):
    """Refuses a caller that reads one job more often than ``POLL_RATE`` (429, with Retry-After).

    Only reads are counted and refused: an eager client can still cancel, rerun and delete. While the cache that counts
    is away, nobody is refused.
    """

    scope = "async_accept_poll"
    #: Whether this process has logged that the cache is away. It logs each outage once.
    cache_is_away = False

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.method not in SAFE_METHODS:
            return True
        try:
            allowed: bool = super().allow_request(request, view)
        except Exception as error:  # every cache has exceptions of its own
            if not PollThrottle.cache_is_away:
                PollThrottle.cache_is_away = True
                logger.warning("The cache is away, so polls are not throttled: %s", type(error).__name__)
            return True
        PollThrottle.cache_is_away = False
        return allowed

    def get_rate(self) -> str | None:
        rate: str | None = conf.POLL_RATE
        return rate

    def get_cache_key(self, request: Request, view: Any) -> str:
        user: Any = request.user  # None if UNAUTHENTICATED_USER is
        caller = user.pk if user and user.is_authenticated else self.get_ident(request)
        return f"async_accept_poll:{caller}:{job_id(view.kwargs.get('pk', ''))}"

    def wait(self) -> float:
        return max(super().wait() or 1, 1)  # REST framework sends no Retry-After for 0
