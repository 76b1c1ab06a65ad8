"""Prometheus watches web and two workers: its figures are those of the table, and its alerts tell of an outage."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client
from .conftest import need
from .installation import QUICK, installed
from .monitored import Monitored
from .processes import until

pytestmark = pytest.mark.faults

OUTAGE = {"AsyncAcceptJobsStalled", "AsyncAcceptWorkersDown"}
ENDED = "sum(async_accept_jobs_ended_total)"


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    need("redis-server", shutil.which("redis-server"))
    need("PostgreSQL's programs", any(Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    need("prometheus", shutil.which("prometheus"))
    with installed(QUICK, kind=Monitored) as installation:
        for part in installation.parts():
            if not part.runs:
                part.start()
        until(lambda: installation.prometheus.targets_up() == 3, 20, "three targets to be up")
        yield installation


def rows(monitored: Monitored, condition: str) -> int:
    ((count,),) = monitored.database.execute(f"SELECT count(*) FROM async_accept_job WHERE {condition}")
    return int(count)


def test_prometheus_counts_what_the_table_has(monitored: Monitored) -> None:
    """Also what a process has counted that was killed."""
    client = Client(monitored)
    jobs = [client.drill(mode, ms=50) for mode in ("ok", "ok", "raise", "retry", "exit") * 4]
    for job in jobs:
        client.wait_for_end(job, seconds=90)
    found = monitored.prometheus
    until(lambda: found.value(ENDED) == len(jobs), 10, f"{len(jobs)} jobs to be counted")
    assert found.value("sum(async_accept_jobs_accepted_total)") == len(jobs)
    for state in ("succeeded", "failed"):
        counted = found.value(f'sum(async_accept_jobs_ended_total{{state="{state}"}})')
        assert counted == rows(monitored, f"state = '{state}'")
    assert found.value("sum(async_accept_wait_seconds_count)") == len(jobs)
    assert found.value("sum(async_accept_retries_total)") == 2 * 4
    # A job of the mode "exit" kills each process that runs it, five in all.
    assert found.value("sum(async_accept_attempts_lost_total)") == 5 * 4
    assert found.value("max(async_accept_jobs_stalled)") == 0


def test_files_of_killed_processes_do_not_stay(monitored: Monitored) -> None:
    counts = monitored.folder / "metrics-worker-one"
    processes = {f"counter_{pid}.db" for pid in (monitored.workers[0].pid, *monitored.workers[0].children())}

    def only_theirs() -> bool:
        return {file.name for file in counts.glob("counter_*.db")} <= processes | {"counter_gone.db"}

    until(only_theirs, 10, "the files of processes that are gone to be removed")


def test_an_alert_fires_while_the_workers_are_stopped_and_clears_when_they_are_back(
    monitored: Monitored,
) -> None:
    client, found = Client(monitored), monitored.prometheus
    assert not OUTAGE & found.firing()
    assert monitored.ready() == 200
    for worker in monitored.workers:
        worker.stop()
    jobs = [client.drill() for _ in range(3)]
    until(lambda: "AsyncAcceptWorkersDown" in found.firing(), 20, "the alert for workers")
    assert monitored.ready() == 200  # the jobs are in time
    # The time of the jobs is past after REPUBLISH_AFTER, and a minute is forgiven.
    until(lambda: "AsyncAcceptJobsStalled" in found.firing(), 90, "the alert for stalled jobs")
    assert (monitored.ready(), found.value("max(async_accept_jobs_stalled)")) == (503, 3)
    for worker in monitored.workers:
        worker.start(wait=False)
    until(lambda: not OUTAGE & found.firing(), 60, "no alert")
    assert monitored.ready() == 200
    for job in jobs:
        assert client.wait_for_end(job)["state"] == "succeeded"
    ended = rows(monitored, "finished_at IS NOT NULL")
    until(lambda: found.value(ENDED) == ended, 10, "what was counted before the stop to be there")


def test_a_directory_that_is_gone_costs_metrics_and_no_job(monitored: Monitored) -> None:
    client = Client(monitored)
    worker = monitored.workers[0]
    for other in monitored.workers[1:]:
        other.stop()
    shutil.rmtree(monitored.folder / "metrics-worker-one")
    for child in worker.children():
        os.kill(child, signal.SIGKILL)  # the next ones cannot make their files
    assert client.wait_for_end(client.drill(), seconds=30)["state"] == "succeeded"
    until(lambda: "Metrics are not counted" in worker.text(), 10, "a warning")
