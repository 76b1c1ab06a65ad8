"""The transactions of a request that an accepting view opens itself, where Django would have."""

import json
import threading

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django_celery_results.models import TaskResult
from rest_framework.decorators import action, api_view
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from async_accept.decorators import accepts
from async_accept.http.transactions import OptedOut
from async_accept.mixins import AcceptingView, AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def leave(slug):
    Note.objects.create(slug=slug, title=slug)


class Base(APIView):
    authentication_classes = permission_classes = ()

    def post(self, request):
        leave("work")
        return Response({"open": len(connection.atomic_blocks)}, status=201)


class Accepting(AcceptMixin, Base):
    pass


class Refusing(AcceptMixin, Base):
    """Writes in the request, and then refuses."""

    def validate_accept(self, request, instance=None):
        leave("checked")
        if request.data.get("odd"):
            raise ValidationError("Odd.")
        return super().validate_accept(request, instance)


class Crashing(AcceptMixin, Base):
    """Fails when all is done."""

    def dispatch(self, request, *args, **kwargs):
        leave("dispatched")
        super().dispatch(request, *args, **kwargs)
        raise RuntimeError


@method_decorator(transaction.atomic, name="dispatch")
class Wrapped(Accepting):
    pass


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Free(Accepting):
    pass


class Refused(AcceptMixin, Base):
    def post(self, request):
        leave("kept")
        how = request.data["how"]
        if how == "raise":
            raise ValidationError("No.")
        if how == "crash":
            raise RuntimeError
        return Response({"no": how}, status=int(how))


class FreeRefused(Refused):
    dispatch = method_decorator(transaction.non_atomic_requests)(Refused.dispatch)


class Nowhere(AcceptMixin, Base):
    """Refers to what is not there, or does what only autocommit allows."""

    def post(self, request):
        if request.data.get("by_hand"):
            raise TransactionManagementError
        Note.objects.create(slug="nowhere", owner_id=999)
        return Response(status=201)


class Actions(ViewSet):
    authentication_classes = permission_classes = ()

    @action(detail=False, methods=["post"])
    @accepts()
    def act(self, request):
        return Response(status=201)


class AcceptingActions(AcceptingView, Actions):
    pass


@api_view(["POST"])
@accepts()
def below(request):
    return Response(status=201)


@accepts()
@api_view(["POST"])
def above(request):
    return Response(status=201)


@transaction.non_atomic_requests
@api_view(["POST"])
@accepts()
def free_below(request):
    return Response(status=201)


def outer(request):
    """A view of the project's that calls an accepting one."""
    leave("outer")
    return inner(request)


inner = Accepting.as_view()
router = SimpleRouter()
router.register("actions", Actions, basename="actions")
router.register("accepting", AcceptingActions, basename="accepting")
urlpatterns = [
    path("accepting/", Accepting.as_view()),
    path("refusing/", Refusing.as_view()),
    path("crashing/", Crashing.as_view()),
    path("wrapped/", Wrapped.as_view()),
    path("free/", Free.as_view()),
    path("free-route/", transaction.non_atomic_requests(Accepting.as_view())),
    path("refused/", Refused.as_view()),
    path("free-refused/", FreeRefused.as_view()),
    path("nowhere/", Nowhere.as_view()),
    path("below/", below),
    path("above/", above),
    path("free-below/", free_below),
    path("outer/", outer),
    path("sets/", include(router.urls)),
    path("api/jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def urls(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def worker():
    """Run what was accepted, as soon as it is there to be seen."""
    stop = threading.Event()

    def run():
        while not stop.wait(0.05):
            run_accepted_jobs(raises=False)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()


def post(client, url, data=None, **headers):
    return client.post(url, json.dumps(data or {}), content_type="application/json", headers=headers)


def slugs():
    return sorted(Note.objects.values_list("slug", flat=True))


WAITS = {
    "/accepting/": True,
    "/wrapped/": False,  # the project's own transaction is around the handler
    "/free/": True,
    "/free-route/": True,
    "/above/": True,
    "/below/": False,  # Django's transaction is, and nothing of ours
    "/free-below/": True,
    "/sets/actions/act/": False,
    "/sets/accepting/act/": True,
}


@pytest.mark.parametrize(("url", "waits"), WAITS.items())
def test_a_client_waits_where_options_says_so(client, worker, url, waits):
    """Contract 4: what is promised is done, and nothing else is promised."""
    terms = client.options(url).json().get("accepts", {}).get("POST")
    response = post(client, url, Prefer="wait=9")
    assert response.status_code == (201 if waits else 202)
    assert response.headers.get("Preference-Applied") == ("wait=9" if waits else None)
    if terms is not None:
        assert any(preference.startswith("wait=") for preference in terms["prefer"]) == waits


def test_what_the_request_has_written_is_committed_before_the_wait(client, worker):
    assert post(client, "/refusing/", Prefer="wait=9").status_code == 201
    assert slugs() == ["checked", "work"]


def test_a_refusal_takes_back_what_the_request_has_written(client):
    assert post(client, "/refusing/", {"odd": 1}).status_code == 400
    assert slugs() == []


def test_a_refused_repeat_takes_it_back_too_and_waits(client, worker, monkeypatch):
    """It gets the answer of the first request; what its own checks have written goes."""
    key = {"Idempotency-Key": "k", "Prefer": "wait=9"}
    with monkeypatch.context() as before:
        before.setattr(Refusing, "validate_accept", AcceptingView.validate_accept)
        assert post(client, "/refusing/", {"odd": 1}, **key).status_code == 201
    again = post(client, "/refusing/", {"odd": 1}, **key)
    assert (again.status_code, again["Preference-Applied"]) == (201, "wait=9")
    assert slugs() == ["work"]


def test_an_error_outside_of_the_handler_takes_back_the_job(client):
    """The transaction is around the whole view, as Django's is."""
    assert post(client, "/crashing/").status_code == 500
    assert not Job.objects.exists()
    assert slugs() == []


@pytest.mark.parametrize(
    ("url", "opened"), [("/accepting/", 1), ("/free/", 0), ("/free-route/", 0), ("/wrapped/", 2)]
)
def test_what_a_view_answers_at_once_is_in_the_same_transaction(client, monkeypatch, url, opened):
    monkeypatch.setattr(Accepting, "accept_mode", "never")
    assert post(client, url).json() == {"open": opened}


def test_a_view_that_is_called_by_another_one_is_in_its_transaction(client, monkeypatch):
    monkeypatch.setattr(Accepting, "accept_mode", "never")
    assert post(client, "/outer/").json() == {"open": 1}


def test_a_view_without_a_route_opens_its_transaction():
    assert Accepting.as_view()(RequestFactory().post("/")).status_code == 202


def test_a_route_that_opted_out_is_remembered():
    marked = transaction.non_atomic_requests(Accepting.as_view())._non_atomic_requests
    assert isinstance(marked, OptedOut)
    assert set(marked) == {"default"}
    assert "any" in marked


@pytest.mark.parametrize(
    ("url", "how", "left"),
    [
        ("/refused/", "422", ["kept"]),
        ("/refused/", "500", ["kept"]),
        ("/refused/", "raise", []),
        ("/refused/", "crash", []),
        ("/free-refused/", "422", ["kept"]),
        ("/free-refused/", "raise", ["kept"]),
        # Nobody has answered; the work may be done again.
        ("/free-refused/", "crash", []),
    ],
)
@pytest.mark.parametrize("setting", [True, False])
def test_a_replay_rolls_back_where_the_request_would(client, monkeypatch, setting, url, how, left):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", setting)
    if not setting:
        left = [] if how == "crash" else ["kept"]
    answer = follow(client, post(client, url, {"how": how}), raises=False)
    assert 400 <= answer.status_code < 500
    assert Job.objects.get().state == "failed"
    assert slugs() == left


def test_a_returned_error_and_the_end_of_its_job_are_one(client, monkeypatch):
    """An attempt that has lost its job commits nothing."""
    post(client, "/refused/", {"how": "422"})
    monkeypatch.setattr(Job, "fail", lambda *args, **kwargs: False)
    run_accepted_jobs(raises=False)
    assert Job.objects.get().state == "running"
    assert slugs() == []


@pytest.mark.parametrize("data", [{}, {"by_hand": 1}], ids=["at the commit", "in the view"])
@pytest.mark.parametrize("atomic", [True, False])
def test_what_only_the_jobs_transaction_has_broken_says_so(client, monkeypatch, caplog, data, atomic):
    """In the log and in the traceback that the admin shows, with the two ways out."""
    if connection.vendor != "sqlite" and not data:
        pytest.skip("Only SQLite finds the reference at the commit.")
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    monkeypatch.setattr(Nowhere, "accept_atomic", atomic)
    post(client, "/nowhere/", data)
    run_accepted_jobs(raises=False)
    job = Job.objects.get(operation__contains="nowhere")
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    told = "accept_atomic = False"
    assert (told in TaskResult.objects.get(task_id=str(job.pk)).traceback) == atomic
    assert (told in caplog.text) == atomic
