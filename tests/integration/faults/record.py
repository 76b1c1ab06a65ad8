"""What a storm did, and what its clients saw."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from .plan import Fault, Promise
from .weather import StormyInstallation

__all__ = ["Break", "Death", "Record", "Request"]

#: Requests within this many seconds of a fault of the web or the database count as requests during the fault.
MARGIN = 1.0


@dataclass(frozen=True)
class Request:
    """One request of a client. Times are in seconds since the beginning of the storm; status 0: no response."""

    what: str
    began: float
    ended: float
    status: int
    retry_after: bool
    has_file: bool = False
    #: Why there is no response.
    error: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.status} at {self.began:.1f} {self.error}".rstrip()


@dataclass(frozen=True)
class Break:
    """The time in which a part, or a way ("web to database"), was broken, in seconds since the storm began."""

    part: str
    began: float
    ended: float


@dataclass(frozen=True)
class Death:
    """A worker was killed (kind "kill"), or one of its children ("child"), at this Unix time."""

    worker: str
    kind: str
    at: float


@dataclass
class Record:
    """What a storm did, and what its clients saw."""

    shop: StormyInstallation
    lease: float
    faults: list[Fault]
    promises: list[Promise]
    requests: list[Request] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    #: The final statuses that clients have seen, by the URL of the job.
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: The URLs of deleted jobs, and when their clients knew that.
    deleted: dict[str, float] = field(default_factory=dict)
    #: What was wrong with a response, whatever was broken at the time.
    untrue: list[str] = field(default_factory=list)
    #: Errors of the storm itself.
    mishaps: list[str] = field(default_factory=list)
    #: The Unix times at which the storm began, and at which all parts were back.
    began: float = 0.0
    back: float = 0.0

    def touches(self, request: Request, *parts: str, margin: float = MARGIN) -> bool:
        """Whether one of the parts was broken during the request, or up to *margin* seconds before or after it."""
        return self.touched(request.began, request.ended, parts, margin)

    def touched(self, began: float, ended: float, parts: Collection[str], margin: float = MARGIN) -> bool:
        """Whether one of the parts was broken between two times, or up to *margin* seconds before or after them."""
        return any(
            broken.part in parts and ended > broken.began - margin and began < broken.ended + margin
            for broken in self.breaks
        )

    def database_away(self, start: float, end: float) -> float:
        """Return for how many seconds between two Unix times the database was broken."""
        breaks = [
            (broken.began + self.began, broken.ended + self.began)
            for broken in self.breaks
            if broken.part == "database"
        ]
        return sum(max(min(ended, end) - max(began, start), 0) for began, ended in breaks)
