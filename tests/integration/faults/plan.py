"""The plan of a storm: which part breaks when, and which jobs are sent. The same seed gives the same plan."""

import random
from dataclasses import dataclass, field

__all__ = ["MUST_SUCCEED", "Fault", "Promise", "plan_faults", "plan_jobs"]

#: The modes of the drills, and how often each is used.
MODES = {"ok": 75, "retry": 10, "raise": 4, "exit": 3, "unpicklable": 3, "nan": 3, "unserializable": 2}
#: The modes that must succeed, whatever happens to the installation.
MUST_SUCCEED = ("ok", "retry")
#: For each part: the kinds of fault, each with its shortest and longest time in seconds.
KINDS = {
    "worker-one": (("kill", 1.0, 4.0), ("freeze", 2.0, 22.0), ("child", 0.0, 0.1), ("warm", 1.0, 4.0)),
    "worker-two": (("kill", 1.0, 4.0), ("freeze", 2.0, 6.0), ("child", 0.0, 0.1), ("cold", 1.0, 4.0)),
    "relay": (("kill", 1.0, 6.0), ("freeze", 2.0, 6.0)),
    "web": (("kill", 0.2, 1.0), ("freeze", 0.5, 2.0)),
    "broker": (("kill", 0.5, 4.0), ("freeze", 1.0, 5.0), ("empty", 0.0, 0.1)),
    "database": (("kill", 0.5, 4.0), ("freeze", 1.0, 4.0)),
}


@dataclass(frozen=True)
class Fault:
    """One fault of one part. Times are in seconds since the beginning of the storm."""

    at: float
    seconds: float
    part: str
    kind: str


@dataclass
class Promise:
    """A drill with its Idempotency-Key, and the URLs of all 202 for it. There must be exactly one URL."""

    key: str
    mode: str
    ms: int
    at: float
    urls: set[str] = field(default_factory=set)


def plan_faults(seed: int, seconds: float) -> list[Fault]:
    """Return the faults in their order. A part has one fault at a time."""
    # Its own random numbers, so that a change of the jobs does not change the faults.
    dice = random.Random(f"faults {seed}")
    free = dict.fromkeys(KINDS, 0.0)
    faults = []
    at = 1.0
    while (at := at + dice.uniform(0.5, 3.0)) < seconds:
        candidates = [part for part in KINDS if free[part] <= at]
        if not candidates:
            continue
        part = dice.choice(candidates)
        kind, least, most = dice.choice(KINDS[part])
        length = min(dice.uniform(least, most), max(seconds - at, 0.1))
        # After a fault, the part has some time to work before the next one.
        free[part] = at + length + (12.0 if part == "database" else 5.0)
        faults.append(Fault(at, length, part, kind))
    return faults


def plan_jobs(seed: int, seconds: float, jobs: int) -> tuple[list[Promise], random.Random]:
    """Return the jobs, and the random numbers that continue them."""
    dice = random.Random(f"jobs {seed}")
    modes = dice.choices(list(MODES), weights=list(MODES.values()), k=jobs)
    promises = [
        Promise(f"{mode}-{seed}-{number}", mode, _milliseconds(mode, dice), dice.uniform(0, seconds))
        for number, mode in enumerate(modes)
    ]
    return promises, dice


def _milliseconds(mode: str, dice: random.Random) -> int:
    """Return a random length: 0.4 s on average. Jobs that kill their process are short, as each runs five times."""
    milliseconds = int(dice.expovariate(1 / 400))
    return min(milliseconds, 300) if mode == "exit" else milliseconds
