"""A storm of seeded faults over a small installation, and the account of every 202 that it gave.

    python -m tests.integration.faults.storm --seed 1 --seconds 60 --jobs 200

Clients submit drills with an Idempotency-Key each, and repeat a request with the same key until it is answered by a
202, often once more after that. Meanwhile parts are killed, frozen and restarted. At the end each 202 is called to
account.
The same seed gives the same plan of faults and the same jobs; what they meet is up to the machine.
"""

import argparse
import json
import logging
import math
import os
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from .client import FINAL, Client
from .installation import QUICK, TOKEN, Installation, installed
from .processes import Part, until

__all__ = ["Storm", "table"]

#: How jobs behave, and how often.
MODES = {"ok": 75, "retry": 10, "raise": 4, "exit": 3, "unpicklable": 3, "nan": 3, "unserializable": 2}
#: Modes that must succeed whatever happens to the installation.
SOUND = ("ok", "retry")
CLIENTS = 4
#: Writes down every change of a state, by whomever: what no poll can miss.
WITNESS = """
CREATE TABLE transitions (job uuid, before text, after text);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO transitions VALUES (NEW.id, OLD.state, NEW.state); RETURN NEW; END $$;
CREATE TRIGGER witness AFTER UPDATE OF state ON async_accept_job
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION witness();
"""
#: Requests that touch a moment at which the web or the database was broken, or has just come back, are counted apart.
MARGIN = 1.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one part, and for how long."""

    at: float
    seconds: float
    part: str
    kind: str


@dataclass
class Promise:
    """What a client asked for under one key, and every 202 it got for it."""

    key: str
    mode: str
    ms: int
    at: float
    urls: set[str] = field(default_factory=set)


@dataclass
class Request:
    """One request of a client."""

    what: str
    began: float
    ended: float
    status: int
    retry_after: bool


def plan(seed: int, seconds: float) -> list[Fault]:
    """Return the faults in their order; a part is broken in one way at a time."""
    # Seeded apart from the jobs, so that either can be changed alone.
    dice = random.Random(f"faults {seed}")
    kinds = {
        "worker-one": (("kill", 1.0, 4.0), ("freeze", 2.0, 22.0), ("child", 0.0, 0.1), ("warm", 1.0, 4.0)),
        "worker-two": (("kill", 1.0, 4.0), ("freeze", 2.0, 6.0), ("child", 0.0, 0.1), ("cold", 1.0, 4.0)),
        "relay": (("kill", 1.0, 6.0), ("freeze", 2.0, 6.0)),
        "web": (("kill", 0.2, 1.0), ("freeze", 0.5, 2.0)),
        "broker": (("kill", 0.5, 4.0), ("freeze", 1.0, 5.0), ("empty", 0.0, 0.1)),
        "database": (("kill", 0.5, 4.0), ("freeze", 1.0, 4.0)),
    }
    free = dict.fromkeys(kinds, 0.0)
    faults = []
    at = 1.0
    while (at := at + dice.uniform(0.5, 3.0)) < seconds:
        candidates = [part for part in kinds if free[part] <= at]
        if not candidates:
            continue
        part = dice.choice(candidates)
        kind, least, most = dice.choice(kinds[part])
        length = min(dice.uniform(least, most), max(seconds - at, 0.1))
        # A part that has just come back gets some time to do its work in.
        free[part] = at + length + (12.0 if part == "database" else 5.0)
        faults.append(Fault(at, length, part, kind))
    return faults


class Storm:
    """One run over an installation whose servers are up."""

    def __init__(
        self, shop: Installation, seed: int, seconds: float, jobs: int, say: Callable[[str], None]
    ) -> None:
        self.shop = shop
        self.lease = shop.times.get("LEASE", 15.0)
        self.seconds = seconds
        self.say = say
        self.faults = plan(seed, seconds)
        dice = random.Random(f"jobs {seed}")
        modes = dice.choices(list(MODES), weights=list(MODES.values()), k=jobs)
        self.promises = [
            Promise(f"{mode}-{seed}-{number}", mode, self._length(mode, dice), dice.uniform(0, seconds))
            for number, mode in enumerate(modes)
        ]
        self.dice = dice
        self.requests: list[Request] = []
        #: (part, from, to) of everything that was broken.
        self.broken: list[tuple[str, float, float]] = []
        #: (worker, Unix time) of each power cut and each death of a child.
        self.deaths: list[tuple[str, str, float]] = []
        self.seen: dict[str, set[str]] = defaultdict(set)
        #: What went wrong with the storm itself.
        self.mishaps: list[str] = []
        self.over = threading.Event()
        #: Parts that are broken now; the others are started again when they end, as any supervisor would.
        self.under_fault: set[str] = set()
        #: A slow start may outlast the time until the next fault of the same part.
        self.one_at_a_time: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def _length(self, mode: str, dice: random.Random) -> int:
        """Most jobs are short; those that kill their process do so soon, and five times."""
        milliseconds = int(dice.expovariate(1 / 400))
        return min(milliseconds, 300) if mode == "exit" else milliseconds

    # --- Running --------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        for part in (self.shop.web, *self.shop.workers, self.shop.relay):
            part.start(wait=False)
        for part in self.shop.parts():
            part.wait_until_ready()
        self._warm_up()
        self.shop.database.execute(WITNESS)
        self.began = time.monotonic()
        lots = [sorted(self.promises[n::CLIENTS], key=lambda promise: promise.at) for n in range(CLIENTS)]
        clients = [threading.Thread(target=self._client, args=(n, lot)) for n, lot in enumerate(lots)]
        watcher = threading.Thread(target=self._watch)
        supervisor = threading.Thread(target=self._supervise)
        for thread in (*clients, watcher, supervisor):
            thread.start()
        self._break_parts()
        self.back = time.time()
        self.say(f"all parts are back after {self._now():.0f} s")
        for thread in clients:
            thread.join()
        self._wait_for_ends()
        self.over.set()
        watcher.join()
        supervisor.join()
        return self._account()

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _warm_up(self) -> None:
        """A process's first request loads modules; that is no fault's doing."""
        client = Client(self.shop)
        for number in range(12):
            client.post(key=f"warm-{number}")

    # --- Faults ---------------------------------------------------------------------------------------------

    def _break_parts(self) -> None:
        parts: dict[str, Part] = {
            part.name: part for part in (self.shop.web, *self.shop.workers, self.shop.relay)
        }
        parts |= {"broker": self.shop.broker, "database": self.shop.database}
        mends: list[threading.Thread] = []
        for fault in self.faults:
            time.sleep(max(fault.at - self._now(), 0))
            thread = threading.Thread(target=self._break, args=(parts[fault.part], fault))
            thread.start()
            mends.append(thread)
        for thread in mends:
            thread.join()
        for part in parts.values():
            until(part.is_ready, 60, part.name)

    def _break(self, part: Part, fault: Fault) -> None:
        with self.one_at_a_time[part.name]:
            try:
                self._break_and_mend(part, fault)
            except Exception as error:
                self.mishaps.append(f"{fault}: {error!r}")
            finally:
                self.under_fault.discard(part.name)

    def _break_and_mend(self, part: Part, fault: Fault) -> None:
        began = self._now()
        self.under_fault.add(part.name)
        self.say(f"{began:5.1f} s  {fault.kind} {fault.part} for {fault.seconds:.1f} s")
        match fault.kind:
            case "kill":
                self.deaths.append((part.name, fault.kind, time.time()))
                part.kill()
            case "freeze":
                part.freeze()
            case "child":
                self.deaths.append((part.name, fault.kind, time.time()))
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
                part.kill()  # its time to go home is over
            part.start(wait=False)
            until(lambda: part.is_ready() or not part.runs, 60, part.name)
        self.broken.append((fault.part, began, self._now()))

    def _supervise(self) -> None:
        while not self.over.wait(0.5):
            for part in (self.shop.web, *self.shop.workers, self.shop.relay):
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
            while not self._submit(session, promise):
                time.sleep(0.2)
            if dice.random() < 0.3:
                # Eager clients: the same request from two places at once.
                again = threading.Thread(target=self._submit, args=(self._session(), promise))
                again.start()
                self._submit(session, promise)
                again.join()

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = f"Token {TOKEN}"
        return session

    def _submit(self, session: requests.Session, promise: Promise) -> bool:
        body = {"key": promise.key, "ms": promise.ms, "mode": promise.mode}
        response = self._ask(
            "submit",
            lambda: session.post(
                f"{self.shop.url}/api/drills/",
                json=body,
                headers={"Idempotency-Key": promise.key},
                timeout=30,
            ),
        )
        if response is None or response.status_code != 202:
            return False
        promise.urls.add(response.headers["Operation-Location"])
        return True

    def _watch(self) -> None:
        """Poll the jobs and note every final status that anybody was told."""
        session = self._session()
        while not self.over.wait(0.05):
            known = [url for promise in self.promises for url in list(promise.urls)]
            if not known:
                continue
            url = self.dice.choice(known)
            response = self._ask("status", lambda url=url: session.get(url, timeout=30))  # type: ignore[misc]
            if response is not None and response.status_code == 200 and response.json()["status"] in FINAL:
                self.seen[url].add(response.json()["status"])

    def _ask(self, what: str, ask: Callable[[], requests.Response]) -> requests.Response | None:
        began = self._now()
        try:
            response = ask()
        except requests.RequestException:
            self.requests.append(Request(what, began, self._now(), 0, False))
            return None
        has_retry_after = "Retry-After" in response.headers
        self.requests.append(Request(what, began, self._now(), response.status_code, has_retry_after))
        return response

    # --- The account ------------------------------------------------------------------------------------------

    def _wait_for_ends(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        query = "SELECT count(*) FROM async_accept_job WHERE finished_at IS NULL"
        while time.monotonic() < deadline and self.shop.database.execute(query)[0][0]:
            time.sleep(0.2)

    def _account(self) -> dict[str, Any]:
        rows = self.shop.database.execute(
            "SELECT id::text, state, attempt, extract(epoch FROM finished_at), history FROM async_accept_job"
        )
        jobs = {row[0]: row for row in rows}
        states = ", ".join(f"'{state}'" for state in FINAL)
        undone = {
            job
            for (job,) in self.shop.database.execute(
                f"SELECT job::text FROM transitions WHERE before IN ({states})"
            )
        }
        effects = Counter(key for (key,) in self.shop.database.execute("SELECT key FROM drills_effect"))
        lost, changed, twice, two_urls, untrue, unsound = [], [], [], [], [], []
        ends: list[float] = []
        sound_ends: list[float] = []
        for promise in self.promises:
            if len(promise.urls) != 1:
                two_urls.append(promise.key)
            for url in promise.urls:
                job = jobs.get(url.rstrip("/").rsplit("/", 1)[1])
                if job is None or job[1] not in FINAL:
                    lost.append(promise.key)
                    continue
                if self.seen[url] - {job[1]} or job[0] in undone:
                    changed.append(promise.key)
                if effects[promise.key] > 1:
                    twice.append(promise.key)
                if (job[1] == "succeeded") != (effects[promise.key] > 0):
                    untrue.append(promise.key)
                if promise.mode in SOUND and job[1] != "succeeded":
                    unsound.append(promise.key)
                ends.append(float(job[3]))
                if promise.mode in SOUND:
                    sound_ends.append(float(job[3]))
        calm = self._requests("submit", away=("web", "database"))
        durations = sorted(request.ended - request.began for request in calm)
        # A killed web process answers nothing; any other request that got no answer counts.
        outage = [
            request
            for request in self.requests
            if self._within(request, "database") and (request.status or not self._touches(request, "web"))
        ]
        answered = [request for request in outage if request.status >= 500 or not request.status]
        noticed = self._noticed(rows)
        return {
            "accepted": sum(bool(promise.urls) for promise in self.promises),
            "faults": f"{len(self.broken)} of {len(self.faults)}",
            "mishaps of the storm": self.mishaps + (["no fault"] if not self.broken else []),
            "transitions": self.shop.database.execute("SELECT count(*) FROM transitions")[0][0],
            "attempts": sum(row[2] for row in rows),
            "accepted without a final status": lost,
            "final statuses that changed": changed,
            "effects committed twice": twice,
            "one key, two URLs": two_urls,
            "success without its effect, failure with it": untrue,
            "sound jobs failed because of faults": unsound,
            "slowest submit, s": round(durations[-1], 3) if durations else None,
            "p99 of submits, s": round(durations[math.ceil(len(durations) * 0.99) - 1], 3)
            if durations
            else None,
            "submits measured": len(durations),
            "answers while the database was down that are neither final nor 503 with Retry-After": [
                f"{r.what} {r.status} at {r.began:.1f}"
                for r in answered
                if not (r.status == 503 and r.retry_after)
            ],
            "slowest 503, s": round(max((r.ended - r.began for r in answered), default=0), 3),
            "503 answers": len(answered),
            "slowest answer of any kind while the database was down, s": round(
                max((r.ended - r.began for r in outage), default=0), 3
            ),
            "deaths of workers and of children noticed": f"{len(noticed['kill'])}; {len(noticed['child'])}",
            "slowest notice of a killed worker, s": round(max(noticed["kill"], default=0), 1),
            "slowest notice of a killed child, s": round(max(noticed["child"], default=0), 1),
            "5xx at other times": [
                f"{r.what} {r.status} at {r.began:.1f}"
                for r in self.requests
                if r.status >= 500 and r not in answered and not self._touches(r, "database")
            ],
            "slowest end after all parts were back, s": round(max(max(ends, default=0) - self.back, 0), 1),
            "the same, of jobs that do not kill their process, s": round(
                max(max(sound_ends, default=0) - self.back, 0), 1
            ),
            "the last to end": self._last_to_end(),
            "promises of the table broken": self.shop.violations(),
        }

    def _noticed(self, rows: list[tuple[Any, ...]]) -> dict[str, list[float]]:
        """How long it took until an attempt was given up whose worker, or whose process, had been killed.

        Once a lease has run out, the time is not counted in which there was no database to say so.
        """
        spans: dict[str, list[float]] = {"kill": [], "child": []}
        reasons = {"kill": "lease", "child": "worker: lost"}
        for row in rows:
            for past in json.loads(row[4]) if row[4] else []:
                began, ended = (_unix(past[name]) for name in ("started_at", "ended_at"))
                for worker, kind, at in self.deaths:
                    there = worker == f"worker-{past['worker'].split('@')[0]}" and began < at < ended
                    if there and past["reason"] == reasons[kind]:
                        spans[kind].append(ended - at - self._database_away(at + self.lease, ended))
        return spans

    def _database_away(self, start: float, end: float) -> float:
        """For how many seconds between two Unix times the database was broken."""
        zero = time.time() - self._now()
        breaks = ((began + zero, ended + zero) for name, began, ended in self.broken if name == "database")
        return sum(max(min(ended, end) - max(began, start), 0) for began, ended in breaks)

    def _last_to_end(self) -> str:
        """The story of the job that took longest, to see what it waited for."""
        query = (
            "SELECT input, state, attempt, history, created_at, started_at, finished_at FROM async_accept_job"
        )
        (row,) = self.shop.database.execute(f"{query} ORDER BY finished_at DESC NULLS FIRST LIMIT 1")
        return " ".join(map(str, row))

    def _requests(self, what: str, away: tuple[str, ...]) -> list[Request]:
        return [
            request
            for request in self.requests
            if request.what == what and not any(self._touches(request, part) for part in away)
        ]

    def _touches(self, request: Request, part: str) -> bool:
        return any(
            name == part and request.ended > began - MARGIN and request.began < ended + MARGIN
            for name, began, ended in self.broken
        )

    def _within(self, request: Request, part: str) -> bool:
        return any(
            name == part and request.ended > began and request.began < ended
            for name, began, ended in self.broken
        )


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def is_clean(account: dict[str, Any]) -> list[str]:
    """Return the promises that were not kept; the times are the machine's affair and are judged by people."""
    return [what for what, found in account.items() if isinstance(found, list) and found]


def too_slow(account: dict[str, Any], lease: float) -> list[str]:
    """Return the times above their goals, which hold on a machine that has nothing else to do."""
    goals = {
        "slowest submit, s": 2.0,
        "p99 of submits, s": 0.3,
        "slowest answer of any kind while the database was down, s": 5.0,
        "slowest end after all parts were back, s": 45.0,
        "slowest notice of a killed worker, s": lease + 5.0,
        "slowest notice of a killed child, s": 2.0,
    }
    return [
        f"{what}: {account[what]}, goal {goal}" for what, goal in goals.items() if (account[what] or 0) > goal
    ]


def table(account: dict[str, Any]) -> Iterator[str]:
    for what, found in account.items():
        shown = f"{len(found)}  {found[:5] or ''}" if isinstance(found, list) else found
        yield f"{what:<90} {shown}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--quick", action="store_true", help="a lease of 3 s in place of the default times")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    chosen = parser.parse_args()
    logging.captureWarnings(True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 a command speaks

    with installed(QUICK if chosen.quick else None, chosen.broker, processes=4) as shop:
        storm = Storm(shop, chosen.seed, chosen.seconds, chosen.jobs, say)
        account = storm.run()
    lines = [json.dumps(account)] if chosen.json else table(account)
    for line in lines:
        print(line)  # noqa: T201
    late = too_slow(account, storm.lease)
    for line in late:
        say(f"too slow: {line}")
    return 1 if is_clean(account) or late else 0


if __name__ == "__main__":
    raise SystemExit(main())
