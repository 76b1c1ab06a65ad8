"""The clients of a storm: they send drills, cancel, rerun and delete some of them, and poll."""

import heapq
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

from .client import FINAL
from .installation import TOKEN
from .plan import Promise
from .record import Record, Request

__all__ = ["Customers"]

CLIENTS = 4
#: How long the clients go on after the storm's time, if a request is not answered as it should be.
PATIENCE = 120.0
#: What to do next, and after how many seconds; None: nothing.
Step = tuple[float, Callable[[requests.Session, Promise], Any]] | None


class Customers:
    """Some clients, each in its own thread, and one that polls.

    Args:
        now: returns the seconds since the beginning of the storm.
    """

    def __init__(self, record: Record, seed: int, now: Callable[[], float]) -> None:
        self.record = record
        self.url = f"{record.shop.url}/api/drills/"
        self.now = now
        self.over = threading.Event()
        #: The URLs of jobs of which a client has begun to ask for the deletion.
        self.deleting: set[str] = set()
        lots = [record.promises[number::CLIENTS] for number in range(CLIENTS)]
        self.clients = [
            threading.Thread(target=self._serve, args=(random.Random(f"client {seed} {n}"), lot))
            for n, lot in enumerate(lots)
        ]
        self.watcher = threading.Thread(target=self._watch, args=(random.Random(f"watch {seed}"),))

    def start(self) -> None:
        for thread in (*self.clients, self.watcher):
            thread.start()

    def wait_for_clients(self) -> None:
        for thread in self.clients:
            thread.join()

    def stop_polling(self) -> None:
        self.over.set()
        self.watcher.join()

    # --- Clients --------------------------------------------------------------------------------------------

    def _serve(self, dice: random.Random, lot: list[Promise]) -> None:
        """Do what is planned for each promise of the lot, step by step, at its times."""
        steps: list[tuple[float, int, Any]] = [(promise.at, n, self._accept) for n, promise in enumerate(lot)]
        heapq.heapify(steps)
        last = max((promise.at for promise in lot), default=0.0) + PATIENCE
        session = _session()
        while steps:
            at, number, do = heapq.heappop(steps)
            if self.now() > last:
                self.record.mishaps.append(f"{lot[number].key}: no time left for {do.__name__}")
                continue
            time.sleep(max(at - self.now(), 0))
            try:
                step: Step = do(session, lot[number])
            except Exception as error:
                self.record.mishaps.append(f"{lot[number].key}: {error!r}")
                continue
            if step is not None:
                heapq.heappush(steps, (self.now() + step[0], number, step[1]))
            if do == self._accept and lot[number].urls and dice.random() < 0.3:
                self._send_twice_at_once(lot[number])

    def _accept(self, session: requests.Session, promise: Promise) -> Step:
        if not self._send(session, promise):
            return 0.2, self._accept
        return (promise.after, getattr(self, f"_{promise.next}")) if promise.next else None

    def _send(self, session: requests.Session, promise: Promise) -> bool:
        """Send a drill once. Return whether it was accepted."""
        given: dict[str, Any] = {"key": promise.key, "ms": promise.ms, "mode": promise.mode}
        body: dict[str, Any] = {"json": given}
        if promise.kind.has_file:
            body = {"data": given, "files": {"file": ("drill.bin", promise.content)}}
            session = (
                _session()
            )  # gunicorn closes a connection after it has refused a body that it has not read
        headers = {"Idempotency-Key": promise.key}
        url = self.url + promise.kind.path
        response = self._request(
            "accept", lambda: session.post(url, **body, headers=headers, timeout=30), promise
        )
        if response is None or response.status_code != 202:
            return False
        promise.urls.add(response.headers["Operation-Location"])
        return True

    def _send_twice_at_once(self, promise: Promise) -> None:
        threads = [threading.Thread(target=self._send, args=(_session(), promise)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # --- What they do next ----------------------------------------------------------------------------------

    def _cancel(self, session: requests.Session, promise: Promise) -> Step:
        (url,) = promise.urls
        status = self._ask(promise, lambda: session.post(f"{url}cancel/", timeout=30))
        return None if 200 <= status < 500 else (0.3, self._cancel)

    def _rerun(self, session: requests.Session, promise: Promise) -> Step:
        """Ask for a rerun until the job has ended; then once more, with the same Idempotency-Key."""
        (url,) = promise.urls
        headers = {"Idempotency-Key": f"again-{promise.key}"}
        response = self._request(
            "rerun", lambda: session.post(f"{url}rerun/", headers=headers, timeout=30), promise
        )
        status = response.status_code if response is not None else 0
        promise.answers.append((status, ""))
        if response is not None and status == 202:
            promise.rerun_urls.add(response.headers["Operation-Location"])
            return None if [answer[0] for answer in promise.answers].count(202) > 1 else (0.1, self._rerun)
        return None if status in (404, 410) else (0.5, self._rerun)

    def _delete(self, session: requests.Session, promise: Promise) -> Step:
        (url,) = promise.urls
        self.deleting.add(url)
        status = self._ask(promise, lambda: session.delete(url, timeout=30))
        if not 200 <= status < 500:
            return 0.3, self._delete
        self.record.deleted[url] = self.now()
        return None

    def _ask(self, promise: Promise, send: Callable[[], requests.Response]) -> int:
        """Send a request about a job, note the answer, and return its HTTP status; 0: no response."""
        response = self._request(promise.next, send, promise)
        if response is None:
            promise.answers.append((0, ""))
            return 0
        known = response.status_code in (200, 202)
        promise.answers.append((response.status_code, response.json()["status"] if known else ""))
        return response.status_code

    # --- Polls ----------------------------------------------------------------------------------------------

    def _watch(self, dice: random.Random) -> None:
        """Poll the jobs, and note every final status that a client sees, and what cannot be true."""
        session = _session()
        while not self.over.wait(0.05):
            known = [
                url
                for promise in self.record.promises
                for url in (*tuple(promise.urls), *tuple(promise.rerun_urls))
            ]
            if not known:
                continue
            url = dice.choice(known)
            was_deleted = url in self.record.deleted
            response = self._request("status", lambda url=url: session.get(url, timeout=30))  # type: ignore[misc]
            if response is None or response.status_code >= 500:
                continue
            # While the deletion is under way, both are true.
            allowed = {404} if was_deleted else {200, 404} if url in self.deleting else {200}
            if response.status_code not in allowed:
                self.record.untrue.append(f"{response.status_code} for {url}, deleted: {was_deleted}")
            if response.status_code == 200 and response.json()["status"] in FINAL:
                self.record.seen[url].add(response.json()["status"])

    def _request(
        self, what: str, send: Callable[[], requests.Response], promise: Promise | None = None
    ) -> requests.Response | None:
        """Send a request and record it. Return None if there is no response."""
        has_file = what == "accept" and promise is not None and promise.kind.has_file
        began = self.now()
        try:
            response = send()
        except requests.RequestException as error:
            self.record.requests.append(Request(what, began, self.now(), 0, False, has_file, repr(error)))
            return None
        retry_after = "Retry-After" in response.headers
        self.record.requests.append(
            Request(what, began, self.now(), response.status_code, retry_after, has_file)
        )
        return response


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Token {TOKEN}"
    return session
