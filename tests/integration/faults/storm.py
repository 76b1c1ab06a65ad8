"""A storm of faults over a small installation. Afterwards, every 202 is checked.

    python -m tests.integration.faults.storm --seed 1 --seconds 60 --jobs 200

Clients send drills of all kinds, each with its own Idempotency-Key. They repeat a request with the same key until the
response is 202, and sometimes twice more at once. They cancel, rerun or delete some jobs. Meanwhile parts are killed,
frozen, cut off, restarted and replaced by a newer version.
The same seed gives the same faults and the same jobs. What happens to them also depends on the machine.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import witness
from .account import account, broken_promises, table
from .client import Client
from .customers import Customers
from .inbox import moods, well
from .installation import QUICK, installed
from .plan import Fault, plan_faults, plan_jobs
from .processes import Part, until
from .record import Break, Death, Record
from .times import too_slow
from .weather import StormyInstallation

__all__ = ["BROKERS", "DATABASES", "Storm", "run"]

DATABASES = ("postgres", "mariadb")
BROKERS = ("redis", "rabbitmq")
#: How long an old version may take to end its jobs, in seconds, before it is killed.
WARM_SECONDS = 20.0
#: How long a part may take until it works again. RabbitMQ needs half a minute on a busy machine, and Celery's pauses
#: between two tries to reach it grow to half a minute.
REPAIR_SECONDS = 150.0
#: What is there until a storm is over.
LEFT = (
    "async_accept_job WHERE finished_at IS NULL OR forgotten OR uploads IS NOT NULL",
    "async_accept_webhooks_delivery WHERE publish_at IS NOT NULL",
)


class Storm:
    """One storm over an installation whose servers run."""

    def __init__(
        self, shop: StormyInstallation, seed: int, seconds: float, jobs: int, say: Callable[[str], None]
    ) -> None:
        self.shop = shop
        self.seed = seed
        self.say = say
        lease = shop.times.get("LEASE", 15.0)
        faults = plan_faults(seed, seconds)
        self.record = Record(shop, lease, faults, plan_jobs(seed, seconds, jobs, faults))
        self.customers = Customers(self.record, seed, self._now)
        self.over = threading.Event()
        self.parts: dict[str, Any] = {part.name: part for part in self._own_parts()}
        self.parts |= {"broker": shop.broker, "database": shop.database, "inbox": shop.inbox}
        #: Parts that have a fault now. The supervisor restarts the others if they end.
        self.under_fault: set[str] = set()
        #: By part: a slow start can last until the next fault of the same part, which then waits.
        self.one_at_a_time: dict[str, threading.Lock] = defaultdict(threading.Lock)
        #: By part: whether its newer version has replaced it.
        self.replaced: dict[str, threading.Event] = defaultdict(threading.Event)

    def run(self) -> dict[str, Any]:
        """Let the storm pass, and return its account."""
        for part in self._own_parts():
            part.start(wait=False)
        for part in self.shop.parts():
            part.wait_until_ready()
        witness.install(self.shop.database)
        self._warm_up()
        self.shop.inbox.choose = moods(self.seed)
        self.began = time.monotonic()
        self.record.began = time.time()
        supervisor = threading.Thread(target=self._supervise)
        supervisor.start()
        self.customers.start()
        self._break_parts()
        self.record.back = time.time()
        self.say(f"all parts are back after {self._now():.0f} s")
        self.shop.inbox.choose = well
        self.customers.wait_for_clients()
        self._wait_for_ends()
        self.customers.stop_polling()
        self.over.set()
        supervisor.join()
        return account(self.record)

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _own_parts(self) -> list[Part]:
        return [self.shop.web, *self.shop.workers, self.shop.teller, self.shop.relay]

    def _warm_up(self) -> None:
        """Send some requests first: the first request of a process is slow, because it imports modules."""
        client = Client(self.shop)
        for number in range(12):
            client.post(key=f"warm-{number}")

    def _wait_for_ends(self, seconds: float = 120) -> None:
        """Wait until all jobs have ended, deleted ones are gone with their files, and all notices are sent."""
        deadline = time.monotonic() + seconds
        for rows in LEFT:
            query = f"SELECT count(*) FROM {rows}"
            while time.monotonic() < deadline and self.shop.database.execute(query)[0][0]:
                time.sleep(0.2)

    # --- Faults ---------------------------------------------------------------------------------------------

    def _break_parts(self) -> None:
        threads: list[threading.Thread] = []
        for fault in self.record.faults:
            time.sleep(max(fault.at - self._now(), 0))
            thread = threading.Thread(target=self._break, args=(fault,))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        for part in self.parts.values():
            until(part.is_ready, REPAIR_SECONDS, part.name)

    def _break(self, fault: Fault) -> None:
        try:
            if fault.kind == "deploy" and fault.part == "web":
                self._wait_until_no_worker_is_old()
            with self.one_at_a_time[fault.part]:
                began = self._now()
                self.say(f"{began:5.1f} s  {fault.kind} {fault.part} for {fault.seconds:.1f} s")
                try:
                    self._break_and_repair(fault)
                finally:
                    self.under_fault.discard(fault.part)
                self.record.breaks.append(Break(_broken(fault), began, self._now()))
        except Exception as error:
            self.record.mishaps.append(f"{fault}: {error!r}")

    def _wait_until_no_worker_is_old(self) -> None:
        for worker in self.shop.workers:
            assert self.replaced[worker.name].wait(REPAIR_SECONDS), f"{worker.name} is still old"

    def _break_and_repair(self, fault: Fault) -> None:
        sort, _, server = fault.kind.partition(" ")
        if server:
            way, wires = self.shop.ways[fault.part, server], self.shop.wires
            wires.do({"cut": way.cut, "hold": way.hold, "slow": way.slow}[sort])
            time.sleep(fault.seconds)
            wires.do(way.mend)
        elif sort == "clock":
            self.shop.clock.set_wrong(fault.shift)
            time.sleep(fault.seconds)
            self.shop.clock.set_wrong(0.0)
        elif sort == "full":
            self.shop.disk.fill()
            time.sleep(fault.seconds)
            self.shop.disk.free()
        else:
            self.under_fault.add(fault.part)
            self._stop_and_start(self.parts[fault.part], fault)

    def _stop_and_start(self, part: Part, fault: Fault) -> None:
        if fault.kind in ("kill", "child"):
            self.record.deaths.append(Death(part.name, fault.kind, time.time()))
        match fault.kind:
            case "kill":
                part.kill()
            case "freeze":
                part.freeze()
            case "child":
                self._kill_child(part)
            case "warm":
                part.ask_to_stop()
            case "cold":
                part.ask_to_stop(signal.SIGQUIT)
            case "empty":
                self.shop.broker.empty()  # type: ignore[attr-defined]
            case "deploy":
                self._replace(part)
        time.sleep(fault.seconds)
        if fault.kind == "freeze":
            part.thaw()
        elif fault.kind in ("kill", "warm", "cold"):
            if part.runs and fault.kind != "kill":
                part.kill()  # its time to stop by itself is over
            part.start(wait=False)
            self._wait_until_ready(part)

    def _wait_until_ready(self, part: Part) -> None:
        until(lambda: part.is_ready() or not part.runs, REPAIR_SECONDS, part.name)

    def _replace(self, part: Part) -> None:
        """Let the old version end its work, and start the new one."""
        if part.runs:
            part.ask_to_stop()
        with suppress(AssertionError):
            until(lambda: not part.runs, WARM_SECONDS)
        part.kill()
        part.env["DRILLS_VERSION"] = "2"
        self.replaced[part.name].set()
        part.start(wait=False)
        self._wait_until_ready(part)

    def _supervise(self) -> None:
        while not self.over.wait(0.5):
            for part in self._own_parts():
                if not part.runs and part.name not in self.under_fault:
                    self.say(f"{self._now():5.1f} s  {part.name} has ended, and is started again")
                    part.start(wait=False)

    def _kill_child(self, worker: Part) -> None:
        for pid in worker.children()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _broken(fault: Fault) -> str:
    """Return what is broken: the part, its way to a server, or its clock."""
    sort, _, server = fault.kind.partition(" ")
    if server:
        return f"{fault.part} to {server}"
    return f"clock of {fault.part}" if sort == "clock" else fault.part


def run(
    seed: int,
    seconds: float,
    jobs: int,
    database: str,
    broker: str,
    say: Callable[[str], None],
    *,
    quick: bool = False,
    processes: int = 4,
) -> tuple[dict[str, Any], list[str]]:
    """Run one storm over an installation of its own; return its account, and the times above their goals."""
    times = QUICK if quick else None
    with installed(times, broker, database, processes=processes, kind=StormyInstallation) as shop:
        storm = Storm(shop, seed, seconds, jobs, say)
        found = storm.run()
    return found, too_slow(found, storm.record.lease)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--database", choices=DATABASES, default="postgres")
    parser.add_argument("--broker", choices=BROKERS, default="redis")
    parser.add_argument("--quick", action="store_true", help="short times, such as a lease of 3 s")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    chosen = parser.parse_args()
    logging.captureWarnings(True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    found, late = run(
        chosen.seed, chosen.seconds, chosen.jobs, chosen.database, chosen.broker, say, quick=chosen.quick
    )
    for line in [json.dumps(found)] if chosen.json else table(found):
        print(line)  # noqa: T201
    for line in late:
        say(f"too slow: {line}")
    return 1 if broken_promises(found) or late else 0


if __name__ == "__main__":
    raise SystemExit(main())
