"""Callbacks that one request names for its own job."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db.models import F
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView
from standardwebhooks import Webhook

from async_accept.db import clock
from async_accept.exceptions import JobFailed
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow
from async_accept.webhooks import callbacks, guard
from async_accept.webhooks.models import Callback, Delivery
from tests.webhooks.conftest import send_due
from tests.webhooks.test_guard import HOSTILE

pytestmark = pytest.mark.django_db


class View(AcceptMixin, APIView):
    accept_callbacks = True

    def post(self, request):
        if request.data.get("fail"):
            raise JobFailed("no")
        return Response({"sum": 3})


class Deaf(View):
    accept_callbacks = False


urlpatterns = [
    path("api/jobs/", include("async_accept.urls")),
    path("api/webhooks/", include("async_accept.webhooks.urls")),
    path("work/", View.as_view()),
    path("deaf/", Deaf.as_view()),
]


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = __name__
    cache.clear()


@pytest.fixture
def secret(alices, receiver):
    response = alices.post("/api/webhooks/", {"callbacks": True, "include_result": True})
    assert response.status_code == 201, response.content
    assert response.json()["url"] is None
    return response.json()["secret"]


def post(client, receiver, url="/work/", **data):
    subscriber = {"successUri": f"{receiver.url}/ok", "failedUri": f"{receiver.url}/failed"}
    return client.post(url, {"subscriber": subscriber, **data})


def test_nobody_makes_us_look_names_up_without_an_endpoint(alices, monkeypatch):
    asked = []
    monkeypatch.setattr(guard, "lookup", lambda host, port: asked.append(host) or ["93.184.215.14"])
    for client in (alices, APIClient()):
        response = client.post(
            "/work/", {"subscriber": {"successUri": "https://hooks.example/"}}, format="json"
        )
        assert response.status_code == 400
    assert asked == []


@pytest.mark.parametrize("fail", [False, True])
def test_the_job_of_the_request_is_told(alices, receiver, secret, fail):
    response = post(alices, receiver, fail=fail)
    assert response.status_code == 202
    follow(alices, response)
    follow(alices, alices.post("/work/", {}))  # names none
    assert send_due() == 1
    [(headers, body)] = receiver.got
    notice = Webhook(secret).verify(body, headers)
    assert notice["type"] == ("job.failed" if fail else "job.succeeded")
    assert notice["data"].get("result") == (None if fail else {"sum": 3})
    assert Delivery.objects.get().url.endswith("/failed" if fail else "/ok")


@pytest.mark.parametrize("fail", [False, True])
def test_the_start_is_told_to_who_asks_for_it(
    alices, receiver, secret, fail, django_capture_on_commit_callbacks
):
    urls = {"inProgressUri": f"{receiver.url}/begun", "successUri": f"{receiver.url}/ok"}
    with django_capture_on_commit_callbacks(execute=True):
        follow(alices, alices.post("/work/", {"subscriber": urls, "fail": fail}))
    send_due()
    told = {(row.event, row.url.rpartition("/")[2]) for row in Delivery.objects.all()}
    assert told == {("job.running", "begun")} | (set() if fail else {("job.succeeded", "ok")})


def test_the_start_is_told_once_and_its_document_says_that_the_job_runs(
    alices, alice, receiver, secret, django_capture_on_commit_callbacks
):
    alices.post("/work/", {"subscriber": {"inProgressUri": receiver.url}})
    for _ in range(2):
        job = Job.objects.get()
        with django_capture_on_commit_callbacks(execute=True):
            assert job.claim()
        send_due()
        assert job.give_back(timedelta(), "retry")
    [(headers, body)] = receiver.got
    assert Webhook(secret).verify(body, headers)["data"]["status"] == "running"


def test_other_jobs_start_without_a_query(
    alices, receiver, secret, django_assert_num_queries, django_capture_on_commit_callbacks
):
    post(alices, receiver)
    job = Job.objects.get()
    with django_assert_num_queries(1), django_capture_on_commit_callbacks(execute=True):
        assert job.claim()


def test_a_view_that_does_not_allow_it_ignores_it(alices, receiver, secret):
    follow(alices, post(alices, receiver, "/deaf/"))
    assert not Callback.objects.exists()
    assert not Delivery.objects.exists()


def test_hostile_urls_leave_no_job(alices, secret, settings, resolver):
    settings.ASYNC_ACCEPT = {}
    for url in [*HOSTILE[::9], 7, ["x"]]:
        response = alices.post("/work/", {"subscriber": {"successUri": url}})
        assert response.status_code == 400, url
    assert alices.post("/work/", {"subscriber": "https://hooks.example/"}).status_code == 400
    assert not Job.objects.exists()
    assert not Callback.objects.exists()


def test_callbacks_need_an_account_and_its_endpoint(alices, receiver):
    assert post(alices, receiver).status_code == 400
    assert post(APIClient(), receiver).status_code == 400
    assert not Job.objects.exists()


def test_nobody_floods_others_through_us(alices, receiver, secret, monkeypatch):
    monkeypatch.setattr(callbacks, "MAX_PER_HOUR", 2)
    assert [post(alices, receiver).status_code for _ in range(3)] == [202, 202, 429]


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_databases_clock_decides_who_floods(alices, receiver, secret, monkeypatch, hours):
    monkeypatch.setattr(callbacks, "MAX_PER_HOUR", 2)
    ours = clock.now
    monkeypatch.setattr(clock, "now", lambda using: ours(using) + timedelta(hours=hours))
    assert [post(alices, receiver).status_code for _ in range(3)] == [202, 202, 429]
    Callback.objects.update(created_at=F("created_at") - timedelta(hours=2))
    assert post(alices, receiver).status_code == 202


def test_a_repeat_tells_once(alices, receiver, secret):
    one, two = (
        alices.post("/work/", {"subscriber": {"successUri": receiver.url}}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert one["Location"] == two["Location"]
    follow(alices, two)
    assert Delivery.objects.count() == 1


def test_an_endpoint_for_callbacks_has_no_url(alices, receiver, secret):
    [made] = alices.get("/api/webhooks/").json()["results"]
    at = f"/api/webhooks/{made['id']}/"
    assert made["callbacks"] is True
    assert alices.patch(at, {"url": receiver.url}).status_code == 400
    assert alices.patch(at, {"callbacks": False}).status_code == 400
    refused = alices.post(f"{at}ping/")  # by the state of the endpoint, not by what was sent
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint-without-url")
    for wrong in ({}, {"callbacks": True, "url": receiver.url}, {"callbacks": False}):
        assert alices.post("/api/webhooks/", wrong).status_code == 400
