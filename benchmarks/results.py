"""Rows of figures: medians of ratios with their spread, as a table and as JSON with the facts of the machine."""

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from . import databases
from .processes import ROOT

FOLDER = ROOT / "benchmarks" / "results"
PACKAGES = (
    "Django",
    "djangorestframework",
    "celery",
    "kombu",
    "django-celery-results",
    "psycopg",
    "gunicorn",
)


class Row(NamedTuple):
    """What was measured of one figure in each round."""

    figure: str
    measure: str
    unit: str
    #: Ours.
    ours: list[float]
    #: What it is compared with, of the same rounds; empty if there is nothing.
    other: list[float] = []
    #: What the ratio shall be, or the figure itself if there is nothing to compare with.
    goal: str = ""

    @property
    def ratios(self) -> list[float]:
        return [ours / other for ours, other in zip(self.ours, self.other, strict=False) if other]

    def text(self) -> str:
        ratios = self.ratios
        spread = f"{median(ratios):8.2f} {min(ratios):6.2f} to {max(ratios):5.2f}" if ratios else " " * 24
        other = f"{median(self.other):10.4g}" if self.other else " " * 10
        ours = median(self.ours)
        return f"{self.figure:26}{self.measure:26}{other}{ours:10.4g} {self.unit:8}{spread}  {self.goal}"

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self._asdict(), "median": median(self.ours)}
        if ratios := self.ratios:
            found["ratio"] = {"median": median(ratios), "least": min(ratios), "most": max(ratios)}
        return found


HEADING = f"{'figure':26}{'measure':26}{'other':>10}{'ours':>10} {'unit':8}{'ratio':>8} {'spread':>15}  goal"


class Report:
    """Prints rows as they come, and writes them at the end."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.options = options
        self.rows: list[Row] = []
        self.load = [os.getloadavg()[0]]
        self.began = datetime.now(UTC)
        print(HEADING)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(row.text(), flush=True)

    def write(self, path: Path | None = None) -> Path:
        self.load.append(os.getloadavg()[0])
        path = path or FOLDER / f"{self.name}-{self.began:%Y%m%d-%H%M%S}.json"
        document = {
            "benchmark": self.name,
            "began": self.began.isoformat(timespec="seconds"),
            "options": self.options,
            "machine": machine(),
            "load_average": self.load,
            "rows": [row.document() for row in self.rows],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"\nLoad average {self.load[0]:.1f} at the beginning, {self.load[1]:.1f} at the end; {path}")
        return path


def machine() -> dict[str, Any]:
    """Return what figures depend on; nothing that tells which machine it is."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "database": databases.version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def quiet(seconds: float = 0, below: float = 1.0) -> None:
    """Wait until the load average is *below* a number, so many seconds at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and os.getloadavg()[0] >= below:
        time.sleep(5)
    if seconds and os.getloadavg()[0] >= below:
        print(f"The machine is busy: load average {os.getloadavg()[0]:.1f}.", file=sys.stderr)
