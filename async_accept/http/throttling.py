"""A throttle for polls alone: a project-wide limit per day would stop honest polling after minutes.

It counts in the memory of its process. In the project's cache it would need a key for each id that somebody asks for,
and a cache of limited size (``LocMemCache`` keeps 300 keys) would drop the project's own entries for those.
"""

import logging
from collections import OrderedDict
from threading import Lock
from typing import Any

from django.core.signals import setting_changed
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from ..conf import conf
from .links import job_id

__all__ = ["PollThrottle", "ProcessMemory"]

logger = logging.getLogger(__name__)

#: How many keys, and how many times in all, one process remembers. The oldest go first.
KEYS, TIMES = 4096, 400_000


class ProcessMemory:
    """As much of a cache as a throttle needs: lists of times by key, in this process, and not more than fit."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, tuple[list[float], int]] = OrderedDict()
        self.times = 0
        self.lock = Lock()

    def get(self, key: str, default: Any = None) -> Any:
        found = self.kept.get(key)
        return default if found is None else found[0]

    def set(self, key: str, times: list[float], timeout: float | None = None) -> None:
        """Keep *times*; the throttle itself leaves out those that are too old, so nothing expires here."""
        with self.lock:
            self._drop(key)
            self.kept[key] = times, len(times)
            self.times += len(times)
            while len(self.kept) > KEYS or self.times > TIMES:
                self._drop(next(iter(self.kept)))

    def _drop(self, key: str) -> None:
        _, count = self.kept.pop(key, ([], 0))
        self.times -= count

    def clear(self, **changed: Any) -> None:
        """Forget everything, as after a change of the settings: with another rate, counting begins anew."""
        with self.lock:
            self.kept.clear()
            self.times = 0


#: The memory of this process.
memory = ProcessMemory()
setting_changed.connect(memory.clear)


class PollThrottle(SimpleRateThrottle):
    """Refuses a caller that reads one job more often than ``POLL_RATE`` (429, with Retry-After).

    Only reads are counted and refused: an eager client can still cancel, rerun and delete. Each process counts for
    itself. To count for all processes together, give a subclass a shared ``cache`` of its own, and name it in
    ``THROTTLE_CLASSES``. While that cache is away, nobody is refused.
    """

    scope = "async_accept_poll"
    cache: Any = memory
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
