"""Which relay is on duty: one looks for the jobs of all, so that many workers cost little more than one.

One row says who it is, and until when. The others look at that row by turns: each books the next free time, so that
however many they are, they look about twice in an interval together. The first one that finds the duty over takes it.
All of it is by the database's clock. Two relays on duty at a time, as after a pause of one of them, do no harm.
"""

from datetime import datetime, timedelta
from random import uniform
from uuid import uuid4

from ..conf import conf
from ..models import RelayDuty, database_now

__all__ = ["Duty"]

#: For how many intervals a duty holds, and after how many the next of the others looks: a relay that is gone is missed
#: within two.
HELD, GAP = 1.5, 0.5
#: After how many intervals each relay looks again, however many they are: those before it may be gone.
LONGEST_REST = 20


class Duty:
    """The part of one relay in this."""

    def __init__(self) -> None:
        self.relay = uuid4()
        self.is_mine = False
        #: How long to rest while another relay is on duty.
        self.rest = timedelta()

    def take(self) -> bool:
        """Be on duty from now on; False if another relay is. One statement for the first, two for the other."""
        self.is_mine = self._prolong() or self._take_over()
        return self.is_mine

    def leave(self) -> None:
        """Let the next relay that looks take over; no statement unless this one is on duty."""
        if self.is_mine:
            self.is_mine = False
            RelayDuty.objects.filter(relay=self.relay).update(until=database_now())

    def _prolong(self) -> bool:
        return self.is_mine and self._hold(relay=self.relay)

    def _take_over(self) -> bool:
        row = self._row()
        if row.until <= database_now() and self._hold(relay=row.relay, until=row.until):
            return True
        self.rest = self._book(row.next_look)
        return False

    def _row(self) -> RelayDuty:
        row: RelayDuty | None = RelayDuty.objects.filter(pk=RelayDuty.ONLY).first()
        if row is None:
            now = database_now()
            row = RelayDuty(relay=self.relay, until=now, next_look=now)
            RelayDuty.objects.bulk_create([row], ignore_conflicts=True)
        return row

    def _hold(self, **seen: object) -> bool:
        until = database_now() + HELD * conf.RELAY_INTERVAL
        return _change(seen, relay=self.relay, until=until)

    def _book(self, free: datetime) -> timedelta:
        """Book the next time to look, if it was *free* from then on; return how long that is from now."""
        interval: timedelta = conf.RELAY_INTERVAL
        gap, longest = GAP * interval, LONGEST_REST * interval
        now = database_now()
        look = max(free, now) + gap
        if look - now > longest:
            return longest * uniform(0.5, 1)  # noqa: S311 so that not all of these look at once
        if not _change({"next_look": free}, next_look=look):  # another one looks at this moment, too
            return gap * uniform(0, 1)  # noqa: S311 no secret
        return look - now


def _change(seen: dict[str, object], **columns: object) -> bool:
    """Change the row if it still is as it was *seen*."""
    return bool(RelayDuty.objects.filter(pk=RelayDuty.ONLY, **seen).update(**columns))
