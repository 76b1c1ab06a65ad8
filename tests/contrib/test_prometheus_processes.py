"""Several processes count together by files; what goes wrong with these costs a metric, and no job."""

import errno
import os
import threading
import time
from types import SimpleNamespace

import pytest
from django.utils import timezone
from prometheus_client import CollectorRegistry, values

from async_accept.contrib.prometheus import checks, counting, directory, names
from async_accept.contrib.prometheus.counting import Counts
from async_accept.contrib.prometheus.directory import Directory
from async_accept.jobs.accept import accept
from async_accept.testing import run_accepted_jobs
from tests.forks import in_child

from .metrics import exposed, new

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_fresh_figures")]


def raises(error, do):
    try:
        do()
    except error:
        return True
    return False


class Processes:
    """Counts of several processes, made by one that pretends to have several ids."""

    def __init__(self, path):
        self.path, self.pid = path, None

    def count(self, pid, *receive):
        """Let process *pid* count; each of *receive* gets its counts."""
        self.pid = pid
        counts = Counts(CollectorRegistry())
        for do in receive:
            do(counts)


@pytest.fixture
def processes(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    made = Processes(tmp_path)
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(lambda: made.pid))
    monkeypatch.setattr(counting.os, "getpid", lambda: made.pid)
    yield made
    values.close_all_multiprocess_files()


def accepted(operation="o"):
    return lambda counts: counts.count_accepted(job=SimpleNamespace(operation=operation))


GONE = 2**22 + 1  # no process has such an id


def test_processes_count_together(processes):
    processes.count(os.getppid(), accepted())
    processes.count(1, accepted(), accepted())
    assert exposed()["jobs_accepted_total", "o"] == 3


def test_what_a_process_has_counted_outlives_it_and_its_files_do_not(processes):
    processes.count(GONE, accepted())
    processes.count(1, accepted())
    assert [exposed()["jobs_accepted_total", "o"] for _ in range(2)] == [2, 2]
    processes.count(GONE + 1, accepted())
    assert exposed()["jobs_accepted_total", "o"] == 3
    assert sorted(file.name for file in processes.path.glob("*.db")) == [
        *("counter_1.db", "counter_gone.db", "histogram_1.db", "histogram_gone.db")
    ]


def test_histograms_of_processes_that_are_gone_are_added_up(processes):
    job = SimpleNamespace(operation="o", attempt=1, created_at=timezone.now(), started_at=timezone.now())
    for pid in (GONE, GONE + 1):
        processes.count(pid, lambda counts: counts.count_started(job=job))
        assert exposed()
    found = exposed()
    assert found["wait_seconds_count", "o"] == found["wait_seconds_bucket", "0.1", "o"] == 2


def test_operations_of_several_processes_are_bounded_together(processes, monkeypatch):
    monkeypatch.setattr(names, "MOST", 2)
    processes.count(1, accepted("a"), accepted("b"), accepted("c"))
    processes.count(os.getppid(), accepted("c"), accepted("d"))
    found = {key[1]: value for key, value in exposed().items() if key[0] == "jobs_accepted_total"}
    assert found == {"a": 1, "b": 1, "other": 3}


def test_the_files_have_room_for_all_that_is_counted(processes):
    """A file that grows on a full disk would kill its process."""
    counts = [accepted(f"{number:0>100}") for number in range(names.MOST + 1)]
    processes.count(1, *counts)
    sizes = {kind: (processes.path / f"{kind}_1.db").stat().st_size for kind in directory.SIZES}
    assert sizes == directory.SIZES


def test_a_broken_file_costs_its_own_counts_only(processes, caplog, monkeypatch):
    processes.count(1, accepted())
    for number, content in enumerate(
        (b"", b"\xff" * 64, b"\x40\0\0\0\0\0\0\0\x08\0\0\0not json" + bytes(60))
    ):
        (processes.path / f"counter_{GONE + number}.db").write_bytes(content)
        (processes.path / f"summary_x{number}.db").write_bytes(content)
    assert exposed()["jobs_accepted_total", "o"] == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.ENOENT], ids=errno.errorcode.get)
def test_a_directory_that_takes_nothing_costs_a_metric_and_no_job(processes, monkeypatch, caplog, error):
    def refuse(*args):
        raise OSError(error, "refused")

    monkeypatch.setattr(directory.Path, "write_bytes", refuse)
    monkeypatch.setattr(counting, "counts", counts := Counts(CollectorRegistry()))
    processes.pid = 1
    for _ in range(3):
        accepted()(counts)
    assert caplog.text.count("Metrics are not counted") == 1
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    monkeypatch.undo()
    assert not list(processes.path.iterdir())


def test_a_directory_that_comes_back_is_used(processes, monkeypatch):
    missing = processes.path / "missing"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(missing))
    processes.pid = 1
    counts = Counts(CollectorRegistry())
    accepted()(counts)
    assert exposed() == {}
    missing.mkdir()
    accepted()(counts)
    assert exposed()["jobs_accepted_total", "o"] == 1


def test_a_job_ends_although_nothing_can_be_counted(monkeypatch, django_capture_on_commit_callbacks):
    def broken(*args):
        raise RuntimeError

    monkeypatch.setattr(counting.counts.ended, "labels", broken)
    monkeypatch.setattr(counting.counts.accepted, "labels", broken)
    with django_capture_on_commit_callbacks(execute=True):
        job = accept(new("unheard-of"))
    run_accepted_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded"


def test_a_process_that_forks_while_it_counts_leaves_its_child_no_lock():
    """The job of the child would wait for ever."""
    held = threading.Event()

    def hold():
        with counting._lock:
            held.set()
            time.sleep(0.05)

    threading.Thread(target=hold).start()
    held.wait()
    assert in_child(lambda: counting._lock.acquire(timeout=2))


def test_a_process_that_is_forked_during_a_scrape_does_not_hold_its_lock(processes):
    """The next scrape would wait for its end: that of a process of a worker, which may take days."""
    files = Directory(processes.path)
    ask, tell = os.pipe()
    with files._locked():
        child = os.fork()
        if not child:
            os.read(ask, 1)
            os._exit(0)
    try:
        assert in_child(lambda: files.collect() == [])
    finally:
        os.write(tell, b"x")
        os.waitpid(child, 0)


def test_a_scrape_does_not_wait_for_ever_for_another(processes, monkeypatch):
    monkeypatch.setattr(directory, "LOCK_SECONDS", 0.05)
    files = Directory(processes.path)
    with files._locked():
        with pytest.raises(TimeoutError):
            files.collect()
        assert in_child(lambda: raises(TimeoutError, files.collect))


# --- Checks -------------------------------------------------------------------------------------------------------


def test_a_directory_that_is_none_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert checks.check_directory() == []
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    assert [message.id for message in checks.check_directory()] == ["async_accept.W018"]


def test_a_deployment_without_a_directory_is_told(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert [message.id for message in checks.check_directory_is_set()] == ["async_accept.I003"]
