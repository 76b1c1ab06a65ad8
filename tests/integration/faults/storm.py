"""A storm of faults over a small installation. Afterwards, every 202 is checked.

    python -m tests.integration.faults.storm --seed 1 --seconds 60 --jobs 200

Clients send drills, each with its own Idempotency-Key. They repeat a request with the same key until the response is
202, and sometimes once more after that. Meanwhile parts are killed, frozen and restarted.
The same seed gives the same faults and the same jobs. What happens to them also depends on the machine.
"""

import argparse
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests

from .account import Break, Death, Record, Request, account, broken_promises, table, too_slow
from .client import FINAL, Client
from .installation import QUICK, TOKEN, Installation, installed
from .plan import Fault, Promise, plan_faults, plan_jobs
from .processes import Part, until

__all__ = ["Storm"]

CLIENTS = 4
#: A trigger that stores every change of a job's state, whoever makes it. Polls could miss one.
WITNESS = """
CREATE TABLE transitions (job uuid, before text, after text);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO transitions VALUES (NEW.id, OLD.state, NEW.state); RETURN NEW; END $$;
CREATE TRIGGER witness AFTER UPDATE OF state ON async_accept_job
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION witness();
"""


class Storm:
    """One storm over an installation whose servers run."""

    def __init__(
        self, shop: Installation, seed: int, seconds: float, jobs: int, say: Callable[[str], None]
    ) -> None:
        self.shop = shop
        self.say = say
        promises, self.dice = plan_jobs(seed, seconds, jobs)
        lease = shop.times.get("LEASE", 15.0)
        self.record = Record(shop, lease, plan_faults(seed, seconds), promises)
        self.over = threading.Event()
        #: Parts that have a fault now. The supervisor restarts the others if they end.
        self.under_fault: set[str] = set()
        #: By part: a slow start can last until the next fault of the same part, which then waits.
        self.one_at_a_time: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def run(self) -> dict[str, Any]:
        """Let the storm pass, and return its account."""
        for part in self._own_parts():
            part.start(wait=False)
        for part in self.shop.parts():
            part.wait_until_ready()
        self._warm_up()
        self.shop.database.execute(WITNESS)
        self.began = time.monotonic()
        self.record.began = time.time()
        promises = self.record.promises
        lots = [sorted(promises[n::CLIENTS], key=lambda promise: promise.at) for n in range(CLIENTS)]
        clients = [threading.Thread(target=self._client, args=(n, lot)) for n, lot in enumerate(lots)]
        watcher = threading.Thread(target=self._watch)
        supervisor = threading.Thread(target=self._supervise)
        for thread in (*clients, watcher, supervisor):
            thread.start()
        self._break_parts()
        self.record.back = time.time()
        self.say(f"all parts are back after {self._now():.0f} s")
        for thread in clients:
            thread.join()
        self._wait_for_ends()
        self.over.set()
        watcher.join()
        supervisor.join()
        return account(self.record)

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _own_parts(self) -> list[Part]:
        return [self.shop.web, *self.shop.workers, self.shop.relay]

    def _warm_up(self) -> None:
        """Send some requests first: the first request of a process is slow, because it imports modules."""
        client = Client(self.shop)
        for number in range(12):
            client.post(key=f"warm-{number}")

    def _wait_for_ends(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        query = "SELECT count(*) FROM async_accept_job WHERE finished_at IS NULL"
        while time.monotonic() < deadline and self.shop.database.execute(query)[0][0]:
            time.sleep(0.2)

    # --- Faults ---------------------------------------------------------------------------------------------

    def _break_parts(self) -> None:
        parts: dict[str, Part] = {part.name: part for part in self._own_parts()}
        parts |= {"broker": self.shop.broker, "database": self.shop.database}
        threads: list[threading.Thread] = []
        for fault in self.record.faults:
            time.sleep(max(fault.at - self._now(), 0))
            thread = threading.Thread(target=self._break, args=(parts[fault.part], fault))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        for part in parts.values():
            until(part.is_ready, 60, part.name)

    def _break(self, part: Part, fault: Fault) -> None:
        with self.one_at_a_time[part.name]:
            try:
                self._break_and_repair(part, fault)
            except Exception as error:
                self.record.mishaps.append(f"{fault}: {error!r}")
            finally:
                self.under_fault.discard(part.name)

    def _break_and_repair(self, part: Part, fault: Fault) -> None:
        began = self._now()
        self.under_fault.add(part.name)
        self.say(f"{began:5.1f} s  {fault.kind} {fault.part} for {fault.seconds:.1f} s")
        match fault.kind:
            case "kill":
                self.record.deaths.append(Death(part.name, fault.kind, time.time()))
                part.kill()
            case "freeze":
                part.freeze()
            case "child":
                self.record.deaths.append(Death(part.name, fault.kind, time.time()))
                self._kill_child(part)
            case "warm":
                part.ask_to_stop()
            case "cold":
                part.ask_to_stop(signal.SIGQUIT)
            case "empty":
                self.shop.broker.empty()  # type: ignore[attr-defined]
        time.sleep(fault.seconds)
        if fault.kind == "freeze":
            part.thaw()
        elif fault.kind in ("kill", "warm", "cold"):
            if part.runs and fault.kind != "kill":
                part.kill()  # its time to stop by itself is over
            part.start(wait=False)
            until(lambda: part.is_ready() or not part.runs, 60, part.name)
        self.record.breaks.append(Break(fault.part, began, self._now()))

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

    # --- Clients --------------------------------------------------------------------------------------------

    def _client(self, number: int, lot: list[Promise]) -> None:
        dice = random.Random(number)
        session = self._session()
        for promise in lot:
            time.sleep(max(promise.at - self._now(), 0))
            while not self._send(session, promise):
                time.sleep(0.2)
            if dice.random() < 0.3:
                # The same request twice at once.
                again = threading.Thread(target=self._send, args=(self._session(), promise))
                again.start()
                self._send(session, promise)
                again.join()

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = f"Token {TOKEN}"
        return session

    def _send(self, session: requests.Session, promise: Promise) -> bool:
        """Send a drill once. Return whether it was accepted."""
        body = {"key": promise.key, "ms": promise.ms, "mode": promise.mode}
        headers = {"Idempotency-Key": promise.key}
        response = self._request(
            "accept",
            lambda: session.post(f"{self.shop.url}/api/drills/", json=body, headers=headers, timeout=30),
        )
        if response is None or response.status_code != 202:
            return False
        promise.urls.add(response.headers["Operation-Location"])
        return True

    def _watch(self) -> None:
        """Poll the jobs, and note every final status that a client sees."""
        session = self._session()
        while not self.over.wait(0.05):
            known = [url for promise in self.record.promises for url in list(promise.urls)]
            if not known:
                continue
            url = self.dice.choice(known)
            response = self._request("status", lambda url=url: session.get(url, timeout=30))  # type: ignore[misc]
            if response is not None and response.status_code == 200 and response.json()["status"] in FINAL:
                self.record.seen[url].add(response.json()["status"])

    def _request(self, what: str, send: Callable[[], requests.Response]) -> requests.Response | None:
        """Send a request and record it. Return None if there is no response."""
        began = self._now()
        try:
            response = send()
        except requests.RequestException:
            self.record.requests.append(Request(what, began, self._now(), 0, False))
            return None
        retry_after = "Retry-After" in response.headers
        self.record.requests.append(Request(what, began, self._now(), response.status_code, retry_after))
        return response


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--quick", action="store_true", help="short times, such as a lease of 3 s")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    chosen = parser.parse_args()
    logging.captureWarnings(True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    with installed(QUICK if chosen.quick else None, chosen.broker, processes=4) as shop:
        storm = Storm(shop, chosen.seed, chosen.seconds, chosen.jobs, say)
        found = storm.run()
    for line in [json.dumps(found)] if chosen.json else table(found):
        print(line)  # noqa: T201
    late = too_slow(found, storm.record.lease)
    for line in late:
        say(f"too slow: {line}")
    return 1 if broken_promises(found) or late else 0


if __name__ == "__main__":
    raise SystemExit(main())
