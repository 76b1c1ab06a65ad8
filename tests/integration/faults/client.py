"""A client of the shop, which also looks its jobs up in the database."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from .installation import TOKEN, Installation
from .processes import until
from .work import WORKS

__all__ = ["Accepted", "Client"]

FINAL = ("succeeded", "failed", "canceled")


@dataclass
class Accepted:
    """A 202: what was sent, and the URL of the job."""

    key: str
    mode: str
    monitor: str
    seconds: float
    headers: dict[str, str] = field(repr=False)

    @property
    def id(self) -> str:
        return self.monitor.rstrip("/").rsplit("/", 1)[1]


class Client:
    """Starts drills, and looks their jobs up in the database."""

    def __init__(self, shop: Installation) -> None:
        self.shop = shop
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {TOKEN}"

    def post(
        self, mode: str = "ok", ms: int = 0, key: str = "", work: str = "drill", **headers: str
    ) -> requests.Response:
        """Send one request for a drill, and return the response, whatever its status."""
        body = {"key": key or f"{mode}-{uuid.uuid4().hex}", "ms": ms, "mode": mode}
        url = f"{self.shop.url}/api/drills/{WORKS[work].path}"
        return self.session.post(url, json=body, headers=headers, timeout=60)

    def drill(self, mode: str = "ok", ms: int = 0, work: str = "drill") -> Accepted:
        """Start a drill. Fails if the response is no 202."""
        key = f"{mode}-{uuid.uuid4().hex}"
        began = time.monotonic()
        response = self.post(mode, ms, key, work)
        seconds = time.monotonic() - began
        assert response.status_code == 202, (response.status_code, response.text)
        return Accepted(key, mode, response.headers["Operation-Location"], seconds, dict(response.headers))

    def report(self, rows: int) -> Accepted:
        """Start a report. Its work is not atomic, and it reads the database only at its beginning."""
        began = time.monotonic()
        response = self.session.post(f"{self.shop.url}/api/reports/", json={"rows": rows}, timeout=60)
        assert response.status_code == 202, (response.status_code, response.text)
        seconds = time.monotonic() - began
        return Accepted("", "report", response.headers["Operation-Location"], seconds, dict(response.headers))

    def get(self, job: Accepted, what: str = "") -> requests.Response:
        return self.session.get(job.monitor + what, timeout=60)

    def cancel(self, job: Accepted) -> requests.Response:
        return self.session.post(f"{job.monitor}cancel/", timeout=60)

    # --- In the database ----------------------------------------------------------------------------------

    def row(self, job: Accepted) -> dict[str, Any]:
        names = "state, attempt, problem, history, worker, worker_pid, dispatches"
        (row,) = self.shop.database.execute(f"SELECT {names} FROM async_accept_job WHERE id = %s", job.id)
        return dict(zip(names.split(", "), row, strict=True))

    def state(self, job: Accepted) -> str:
        return str(self.row(job)["state"])

    def wait_for(self, job: Accepted, *states: str, seconds: float = 15) -> dict[str, Any]:
        """Wait until the job is in one of these states, and return its row."""

        def reached() -> dict[str, Any] | None:
            row = self.row(job)
            return row if row["state"] in states else None

        return until(reached, seconds, f"{job} to be {' or '.join(states)}, not {self.row(job)}")  # type: ignore[no-any-return]

    def wait_for_end(self, job: Accepted, seconds: float = 15) -> dict[str, Any]:
        return self.wait_for(job, *FINAL, seconds=seconds)

    def wait_for_begin(self, job: Accepted, attempt: int = 1, seconds: float = 15) -> dict[str, Any]:
        """Wait until this attempt has begun its work, and return the row of the job."""
        until(lambda: (job.key, "begin", attempt) in self.notes(), seconds, f"{job} to begin")
        return self.row(job)

    def effects(self, job: Accepted) -> int:
        query = "SELECT count(*) FROM drills_effect WHERE drills_effect.key = %s"
        ((count,),) = self.shop.database.execute(query, job.key)
        return int(count)

    def notes(self) -> list[tuple[str, str, int]]:
        """Return each (key, moment, attempt) that the drills have written to EFFECTS_FILE."""
        if not self.shop.effects.exists():
            return []
        lines = [line.split() for line in self.shop.effects.read_text().splitlines()]
        return [(key, moment, int(attempt)) for key, moment, _, attempt, _ in lines]
