"""The kinds of work in a storm: how each is sent, and what each promises."""

from dataclasses import dataclass
from typing import Any

__all__ = ["WORKS", "Work", "expected", "is_sound"]


@dataclass(frozen=True)
class Work:
    """One kind of work.

    Args:
        path: its URL below /api/drills/.
        weight: how often it is used.
        modes: the modes of the drill, and how often each is used.
        effects: how many effects a job has in the database, at least and at most: if it succeeded, and if not.
        sound: whether a job of a sound mode must succeed, whatever happens to the installation.
        has_file: whether a file is sent.
        status: the HTTP status of its result.
    """

    path: str
    weight: int
    modes: dict[str, int]
    effects: dict[bool, tuple[int, int]]
    sound: bool = True
    has_file: bool = False
    status: int = 200


MANY = 1_000_000
EXACTLY_ONCE = {True: (1, 1), False: (0, 0)}

WORKS = {
    "drill": Work(
        "",
        40,
        {
            "ok": 70,
            "retry": 12,
            "raise": 4,
            "refuse": 4,
            "exit": 4,
            "unpicklable": 3,
            "nan": 3,
            "unserializable": 2,
        },
        EXACTLY_ONCE,
    ),
    "plain": Work(
        "plain/",
        15,
        {"ok": 80, "retry": 10, "raise": 10},
        {True: (1, MANY), False: (0, MANY)},
    ),
    # It is not repeated if it is lost, so it may fail.
    "once": Work("once/", 5, {"ok": 100}, {True: (1, 1), False: (0, 1)}, sound=False),
    "upload": Work("upload/", 15, {"ok": 90, "retry": 10}, EXACTLY_ONCE, has_file=True),
    "replay": Work("replay/", 15, {"ok": 85, "raise": 10, "exit": 5}, EXACTLY_ONCE, status=201),
    "look": Work("look/", 10, {"ok": 80, "refuse": 20}, {True: (0, 0), False: (0, 0)}),
}
#: The modes that end well.
SOUND_MODES = ("ok", "retry")


def is_sound(work: str, mode: str) -> bool:
    """Whether such a job must succeed if nobody cancels or deletes it."""
    return WORKS[work].sound and mode in SOUND_MODES


def expected(work: str, mode: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a job that succeeded. A newer version of the drills adds its number."""
    match work:
        case "upload":
            return {name: sent[name] for name in ("key", "size", "sha256")}
        case "look":
            return {"seen": sent["key"]}
    return {"key": sent["key"], "ms": sent["ms"], "mode": mode}
