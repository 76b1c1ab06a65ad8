from decimal import Decimal

import pytest
from django.db import OperationalError
from rest_framework.test import APIClient

from async_accept.exceptions import JobCanceled
from async_accept.jobs.attempt import current_attempt
from async_accept.models import Job
from async_accept.testing import assert_accepted, run_accepted_jobs
from example_project.shop import orders, payments
from example_project.shop.reports import SalesReport
from example_project.shop.time_left import TimeLeft

URL = "/api/reports/"


@pytest.fixture
def sales(alice, tea, reference):
    """One paid order and one that is only placed, today."""
    payments.pay(orders.place(alice, reference(), [(tea, 2)]))
    orders.place(alice, reference(), [(tea, 1)])


@pytest.mark.urls("example_project.urls")
def test_report_has_the_figures_of_each_day(client, sales, follow):
    report = follow(client.post(URL, {"rows": 100, "days": 3})).data
    assert [day["orders"] for day in report["days"]] == [0, 0, 2]
    assert report["totals"] == {"orders": 2, "paid": 1, "revenue": "5.00"}


@pytest.mark.urls("example_project.urls")
@pytest.mark.parametrize(
    "wrong", [{"rows": 0}, {"rows": 1_000_001}, {"days": 0}, {"days": 367}, {"rows": "x"}]
)
def test_report_out_of_bounds_is_refused(client, wrong):
    assert client.post(URL, wrong).status_code == 400
    assert not Job.objects.exists()


def test_same_question_gets_the_same_answer(sales):
    def answer():
        report = SalesReport(rows=1000, days=2)
        for day, amount in report.draws():
            report.count(day, amount)
        return report.result()

    assert answer() == answer()


def test_estimate_is_near_the_revenue(sales):
    report = SalesReport(rows=5000, days=1)
    for day, amount in report.draws():
        report.count(day, amount)
    (today,) = report.result()["days"]
    assert today["rows"] == 5000
    assert abs(Decimal(today["estimate"]) - 5) < 1


@pytest.mark.django_db
def test_time_is_proportional_to_rows(settings, monkeypatch):
    slept = []
    monkeypatch.setattr("example_project.shop.reports.time.sleep", slept.append)
    settings.REPORT_ROWS_PER_SECOND = 10
    list(SalesReport(rows=1000, days=1).draws())
    assert slept[-1] == pytest.approx(100, abs=5)


@pytest.mark.urls("example_project.urls")
def test_same_report_asked_for_again_joins_the_running_job(client):
    first, second = (client.post(URL, {"rows": 100, "days": 3}) for _ in range(2))
    assert assert_accepted(first) == assert_accepted(second)


@pytest.mark.urls("example_project.urls")
def test_another_report_or_another_customer_gets_a_job_of_their_own(client, bob):
    first = client.post(URL, {"rows": 100, "days": 3})
    other = APIClient()
    other.force_authenticate(bob)
    for response in (client.post(URL, {"rows": 100, "days": 4}), other.post(URL, {"rows": 100, "days": 3})):
        assert assert_accepted(response) != assert_accepted(first)


@pytest.mark.urls("example_project.urls")
def test_after_the_end_the_report_is_made_anew(client, follow):
    first = client.post(URL, {"rows": 100, "days": 3})
    follow(first)
    assert assert_accepted(client.post(URL, {"rows": 100, "days": 3})) != assert_accepted(first)


@pytest.mark.urls("example_project.urls")
@pytest.mark.parametrize("error", [JobCanceled, OperationalError])
def test_a_report_that_was_broken_off_promises_no_end(client, monkeypatch, error):
    def breaks(self, *draw):
        if current_attempt().progress.message:
            raise error

    monkeypatch.setattr(SalesReport, "count", breaks)
    monkeypatch.setattr(TimeLeft, "words", lambda *args: "About 10 seconds left.")
    response = client.post(URL, {"rows": 100, "days": 3})
    (job,) = run_accepted_jobs(pk=response.data["id"], raises=False)
    assert (job.is_final, job.progress["percent"], job.progress["message"]) == (True, 1.0, "")


@pytest.mark.parametrize(
    ("seconds", "done", "words"),
    [
        (0.5, 10, ""),
        (10, 0, ""),
        (10, 20, "About 40 seconds left."),
        (10, 60, "A few seconds left."),
        (90, 20, "About 6 minutes left."),
        (10, 200, "A few seconds left."),
    ],
)
def test_time_left_is_told_in_words(seconds, done, words):
    clock = iter([100, 100 + seconds]).__next__
    assert TimeLeft(100, clock).words(done) == words


@pytest.mark.urls("example_project.urls")
@pytest.mark.parametrize("url", ["/api/reports/", "/api/trouble/", "/api/orders/bulk/", "/api/imports/"])
def test_database_that_is_away_is_a_503_from_the_authentication_on(db, monkeypatch, url):
    def away(*args):
        raise OperationalError("connection refused")

    monkeypatch.setattr("rest_framework.authentication.TokenAuthentication.authenticate", away)
    response = APIClient().post(url, {})
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)
