"""Who may read the metrics, and where: the view of web processes, and the port of a worker."""

import os
from types import SimpleNamespace

import pytest
import requests
from celery import current_app
from celery.utils.imports import symbol_by_name
from celery.worker import components

from async_accept.contrib.prometheus import worker
from async_accept.jobs.accept import accept
from tests.forks import in_child

from .metrics import new, read

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_fresh_figures")]


def test_the_view_tells_all(monitor):
    response = monitor.get("/metrics/")
    assert response["Content-Type"].startswith("text/plain; version=")
    assert ("jobs_stalled",) in read(response.content.decode())


def test_the_view_speaks_openmetrics_if_asked(monitor):
    response = monitor.get("/metrics/", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


def test_the_view_is_not_for_everybody(monitor, client):
    assert client.get("/metrics/").status_code == 401


def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False


def test_a_port_is_free_after_its_worker_although_a_process_of_the_pool_lives_on():
    server = worker.serve("127.0.0.1:0")
    number = server.fileno()
    try:
        assert in_child(lambda: not is_open(number))
        assert is_open(number)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def served(token):
    """The metrics of a worker at a port."""
    server = worker.serve("127.0.0.1:0")
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


def test_a_worker_serves_what_it_has_counted_and_not_the_table(served, token, counted):
    counted(lambda: accept(new()))
    response = requests.get(served, headers={"Authorization": f"Bearer {token}"}, timeout=5)
    found = read(response.text)
    assert found["jobs_accepted_total", "orders.create"] >= 1
    assert ("jobs_stalled",) not in found
    assert requests.get(served, timeout=5).status_code == 401


def test_a_port_that_is_taken_costs_no_worker(settings, caplog, served):
    settings.ASYNC_ACCEPT = {"WORKER_METRICS_ADDRESS": served.split("/")[2]}
    step = worker.ServeMetrics(None)
    step.start(None)
    assert step.obj is None
    assert "serves no metrics" in caplog.text


@pytest.mark.parametrize(
    ("pool", "path", "serves"),
    [
        ("celery.concurrency.prefork", None, False),
        ("celery.concurrency.prefork", "/d", True),
        ("thread", None, True),
    ],
)
def test_a_worker_whose_processes_cannot_count_together_serves_nothing(
    settings, monkeypatch, pool, path, serves
):
    settings.ASYNC_ACCEPT = {"WORKER_METRICS_ADDRESS": "127.0.0.1:1"}
    monkeypatch.setattr(worker, "directory", lambda: path)
    assert worker.ServeMetrics(None).include_if(SimpleNamespace(pool_cls=pool)) is serves


def test_the_step_is_added_to_workers():
    # A worker that has started in this process has put the steps in the place of their names.
    assert [symbol_by_name(step) for step in worker.ServeMetrics.requires] == [components.Pool]
    worker._add_step(SimpleNamespace(app=current_app))
    assert worker.ServeMetrics in current_app.steps["worker"]
