"""The plan of a storm: which part breaks when, and which jobs are sent. The same seed gives the same plan."""

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from .work import WORKS, Work, expected, is_sound

__all__ = ["Fault", "Promise", "plan_faults", "plan_jobs"]

#: The ways of a part to a server can be cut (connections break, new ones too), on hold (nothing passes) or slow.
WIRES = (
    ("cut database", 0.2, 4.0),
    ("hold database", 0.5, 4.0),
    ("slow database", 1.0, 4.0),
    ("cut broker", 0.2, 4.0),
    ("hold broker", 0.5, 5.0),
)
#: For each part: the kinds of fault, each with its shortest and longest time in seconds.
KINDS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "worker-one": (
        ("kill", 1.0, 4.0),
        ("freeze", 2.0, 22.0),
        ("child", 0.0, 0.1),
        ("warm", 1.0, 4.0),
        *WIRES,
    ),
    "worker-two": (
        ("kill", 1.0, 4.0),
        ("freeze", 2.0, 6.0),
        ("child", 0.0, 0.1),
        ("cold", 1.0, 4.0),
        ("clock", 2.0, 10.0),
        *WIRES,
    ),
    "worker-notices": (
        ("kill", 1.0, 4.0),
        ("freeze", 2.0, 22.0),
        ("child", 0.0, 0.1),
        ("warm", 1.0, 4.0),
        *WIRES,
        ("cut inbox", 0.2, 4.0),
        ("hold inbox", 0.5, 12.0),
    ),
    "inbox": (("kill", 0.5, 6.0), ("freeze", 0.5, 12.0)),
    "relay": (("kill", 1.0, 6.0), ("freeze", 2.0, 6.0), *WIRES),
    "web": (("kill", 0.2, 1.0), ("freeze", 0.5, 2.0), *WIRES),
    "broker": (("kill", 0.5, 4.0), ("freeze", 1.0, 5.0), ("empty", 0.0, 0.1)),
    "database": (("kill", 0.5, 4.0), ("freeze", 1.0, 4.0)),
    "disk": (("full", 1.0, 5.0),),
}
#: When a newer version replaces the parts, as parts of the storm's time. The web processes come last, because
#: older workers do not know the input that a newer version stores.
DEPLOYS = {"worker-one": 0.4, "worker-two": 0.5, "worker-notices": 0.6, "web": 0.7}
#: What a client does with a job after it was accepted, and how often.
NEXT = {"": 70, "cancel": 12, "rerun": 10, "delete": 8}
#: Sizes of uploads in bytes. Django keeps those above 2.5 MB in a temporary file.
SIZES = (0, 1, 1_000, 100_000, 100_000, 3_000_000)


@dataclass(frozen=True)
class Fault:
    """One fault of one part. Times are in seconds since the beginning of the storm."""

    at: float
    seconds: float
    part: str
    kind: str
    #: The clock of the part is wrong by so many seconds, if the fault is that.
    shift: float = 0.0


@dataclass
class Promise:
    """A drill with its Idempotency-Key, what its client does with it, and what the client was told."""

    key: str
    work: str
    mode: str
    ms: int
    at: float
    #: What the client does after the job was accepted: "cancel", "rerun", "delete" or nothing.
    next: str = ""
    #: How many seconds after the job was accepted.
    after: float = 0.0
    size: int = 0
    #: The URLs of all 202 for it. There must be exactly one.
    urls: set[str] = field(default_factory=set)
    #: The URLs of all 202 for its rerun.
    rerun_urls: set[str] = field(default_factory=set)
    #: The responses to what its client did next: status, and the job's status if it was told. 0: no response.
    answers: list[tuple[int, str]] = field(default_factory=list)

    @property
    def kind(self) -> Work:
        return WORKS[self.work]

    @property
    def must_succeed(self) -> bool:
        return is_sound(self.work, self.mode) and self.next not in ("cancel", "delete")

    @property
    def content(self) -> bytes:
        """The content of its file, the same for the same key."""
        return random.Random(self.key).randbytes(self.size)

    @property
    def result(self) -> dict[str, Any]:
        """What the job returns if it succeeds."""
        sha256 = hashlib.sha256(self.content).hexdigest()
        sent = {"key": self.key, "ms": self.ms, "size": self.size, "sha256": sha256}
        return expected(self.work, self.mode, sent)


def plan_faults(seed: int, seconds: float) -> list[Fault]:
    """Return the faults in their order. A part has one fault at a time, and each sort of fault comes once early."""
    # Its own random numbers, so that a change of the jobs does not change the faults.
    dice = random.Random(f"faults {seed}")
    deploys = [Fault(share * seconds, 0.0, part, "deploy") for part, share in DEPLOYS.items()]
    free = dict.fromkeys(KINDS, 0.0)
    early = _one_of_each_sort(dice)
    faults = []
    at = 1.0
    while (at := at + dice.uniform(0.5, 2.5)) < seconds:
        chosen = next((one for one in early if free[one[0]] <= at), None)
        if chosen is None:
            candidates = [part for part in KINDS if free[part] <= at]
            if not candidates:
                continue
            part = dice.choice(candidates)
            chosen = (part, dice.choice(KINDS[part]))
        else:
            early.remove(chosen)
        part, (kind, least, most) = chosen
        length = min(dice.uniform(least, most), max(seconds - at, 0.1))
        # After a fault, the part has some time to work before the next one; servers take longer to start.
        free[part] = at + length + (12.0 if part in ("database", "broker") else 5.0)
        faults.append(Fault(at, length, part, kind, dice.choice([-5, -1, 1, 5]) * 3600.0))
    return sorted([*faults, *deploys], key=lambda fault: fault.at)


def _one_of_each_sort(dice: random.Random) -> list[tuple[str, tuple[str, float, float]]]:
    """Return one fault of each sort, such as a cut of any way, in random order."""
    by_sort: dict[str, list[tuple[str, tuple[str, float, float]]]] = {}
    for part, kinds in KINDS.items():
        for kind in kinds:
            by_sort.setdefault(kind[0].split()[0], []).append((part, kind))
    chosen = [dice.choice(ones) for ones in by_sort.values()]
    dice.shuffle(chosen)
    # First what only one part can have: later, that part may be under another fault.
    return sorted(chosen, key=lambda one: one[1][0] not in ("clock", "full"))


def plan_jobs(seed: int, seconds: float, jobs: int, faults: list[Fault]) -> list[Promise]:
    """Return the jobs. Half of the uploads come while the disk is full."""
    dice = random.Random(f"jobs {seed}")
    full = [fault for fault in faults if fault.kind == "full"]
    works = dice.choices(list(WORKS), weights=[work.weight for work in WORKS.values()], k=jobs)
    promises = [
        _plan_job(f"{work}-{seed}-{number}", work, seconds, dice) for number, work in enumerate(works)
    ]
    for promise in promises:
        if full and promise.kind.has_file and dice.random() < 0.5:
            fault = dice.choice(full)
            promise.at = fault.at + dice.uniform(0, fault.seconds)
    return promises


def _plan_job(key: str, work: str, seconds: float, dice: random.Random) -> Promise:
    modes = WORKS[work].modes
    mode = dice.choices(list(modes), weights=list(modes.values()))[0]
    milliseconds = int(dice.expovariate(1 / 400))
    then = dice.choices(list(NEXT), weights=list(NEXT.values()))[0]
    # Jobs that kill their process are short, as each runs five times, and are not run again.
    return Promise(
        key,
        work,
        mode,
        min(milliseconds, 300) if mode == "exit" else milliseconds,
        at=dice.uniform(0, seconds),
        next="" if mode == "exit" and then == "rerun" else then,
        # Some are canceled or deleted before they begin, some while they run, some after their end.
        after=dice.choice([0.0, 0.3, 1.0, 4.0]),
        size=dice.choice(SIZES) if WORKS[work].has_file else 0,
    )
