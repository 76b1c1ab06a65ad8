"""What people read of a job: an icon, a word and a tone for each state, and times and progress in a few words.

Every page that shows a job uses this module, so that a state looks the same everywhere.
"""

import math
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import formats
from django.utils.translation import gettext, pgettext

from ..db.clock import local
from ..models import Job, database_now
from ..states import State

__all__ = [
    "LOOKS",
    "Look",
    "ago",
    "duration",
    "eta",
    "exactly",
    "number",
    "number_up_to",
    "percent",
    "progress_of",
    "progress_words",
]


class Look(NamedTuple):
    """What a state looks like. Its label is shown as well, so that nobody needs colour or icon to know the state."""

    #: One character that every font draws as text, not as an emoji.
    icon: str
    #: What style sheets colour it by: waiting, busy, warning, good, bad or quiet.
    tone: str


LOOKS: dict[str, Look] = {
    State.ACCEPTED: Look("○", "waiting"),
    State.RUNNING: Look("▸", "busy"),
    State.CANCELING: Look("…", "warning"),
    State.SUCCEEDED: Look("✓", "good"),
    State.FAILED: Look("✕", "bad"),
    State.CANCELED: Look("⊘", "quiet"),
}

#: No remaining time is shown before this: it would be a guess.
ETA_AFTER = timedelta(seconds=2)
ETA_FROM_PERCENT = 1.0

MINUTE, HOUR, DAY = 60, 3600, 86400


def progress_of(job: Job) -> dict[str, Any]:
    """Return the last progress report; empty if there is none, or somebody has stored something else by hand."""
    return job.progress if isinstance(job.progress, dict) else {}


def percent(job: Job) -> float | None:
    """Return the progress of a job in percent, 0 to 100; None if it is not known."""
    value = _figure(progress_of(job).get("percent"))
    return None if value is None else min(max(float(value), 0.0), 100.0)


def _figure(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def eta(job: Job, now: datetime | None = None) -> timedelta | None:
    """Return how much longer a running job takes if it goes on as before; None if that cannot be known yet."""
    done = percent(job)
    if job.state != State.RUNNING or job.started_at is None or done is None:
        return None
    elapsed = (now or database_now()) - job.started_at
    if elapsed < ETA_AFTER or not ETA_FROM_PERCENT <= done < 100:
        return None
    return elapsed * ((100 - done) / done)


def progress_words(job: Job, now: datetime | None = None) -> str:
    """Return the progress as people say it, such as "30/100 orders, about 40 s"; empty if there is none."""
    progress = progress_of(job)
    current, total = (_figure(progress.get(name)) for name in ("current", "total"))
    unit = progress.get("unit")
    words = []
    if total:
        amount = f"{number(current or 0)}/{number(total)}"
        words.append(f"{amount} {unit}" if unit else amount)
    elif current:
        words.append(f"{number(current)} {unit}" if unit else number(current))
    elif (done := percent(job)) is not None:
        # Translators: {} is a whole number.
        words.append(gettext("{}%").replace("{}", number(round(done))))
    left = eta(job, now)
    if left is not None:
        # Translators: how much longer a job is going to take: "about 40 s".
        words.append(gettext("about %(duration)s") % {"duration": duration(_rough(left))})
    return ", ".join(words)


def duration(span: timedelta) -> str:
    """Return *span* in at most two units: 0.4 s, 42 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 9.95 and (tenths := round(seconds, 1)) % 1:
        return _unit(formats.number_format(tenths, 1), "s")
    whole = round(seconds)
    if whole < MINUTE:
        return _unit(whole, "s")
    if whole < HOUR:
        return _pair(whole // MINUTE, "min", whole % MINUTE, "s")
    if whole < DAY:
        return _pair(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return _pair(whole // DAY, "d", whole % DAY // HOUR, "h")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return when *moment* was or will be, in one unit: 5 min ago, in 23 h; a week away or more, its date."""
    seconds = ((now or database_now()) - moment).total_seconds()
    if abs(seconds) < 5:
        return gettext("just now")
    words = gettext("%(duration)s ago") if seconds > 0 else gettext("in %(duration)s")
    for bound, size, unit in ((MINUTE, 1, "s"), (HOUR, MINUTE, "min"), (DAY, HOUR, "h"), (7 * DAY, DAY, "d")):
        if abs(seconds) < bound:
            return words % {"duration": _unit(int(abs(seconds) // size), unit)}
    return formats.date_format(local(moment), "SHORT_DATE_FORMAT")


def exactly(moment: datetime) -> str:
    """Return *moment* to the second, in the reader's language and time zone."""
    here = local(moment)
    return f"{formats.date_format(here, 'DATE_FORMAT')}, {formats.time_format(here, 'H:i:s')}"


def _rough(span: timedelta) -> timedelta:
    """Round an estimate, the more the longer it is: to 5 seconds, whole minutes, quarters of an hour."""
    seconds = span.total_seconds()
    step = 1 if seconds < 10 else 5 if seconds < 2 * MINUTE else MINUTE if seconds < 2 * HOUR else 15 * MINUTE
    return timedelta(seconds=max(step * round(seconds / step), 1))


def number(value: float) -> str:
    """Return *value* as the reader's language writes it, with at most one decimal: 12,345.6."""
    shown = int(value) if value == int(value) else round(value, 1)
    return formats.number_format(shown, use_l10n=True, force_grouping=True)


def number_up_to(count: int, cap: int) -> str:
    """Return *count* as the reader's language writes it; above *cap*, the cap with a plus: 10,000+."""
    return number(min(count, cap)) + ("+" if count > cap else "")


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    first = _unit(large, large_unit)
    return f"{first} {_unit(small, small_unit)}" if small else first


def _unit(amount: int | str, unit: str) -> str:
    words = {
        "s": pgettext("duration", "%(amount)s s"),
        "min": pgettext("duration", "%(amount)s min"),
        "h": pgettext("duration", "%(amount)s h"),
        "d": pgettext("duration", "%(amount)s d"),
    }
    # No line break between a number and its unit.
    return (words[unit] % {"amount": amount}).replace(" ", "\u00a0")
