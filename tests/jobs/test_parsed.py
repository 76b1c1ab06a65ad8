"""What a parser returned, and what was validated for a task, reaches the work equal and of the same type."""

from collections import OrderedDict
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.http import QueryDict
from django.urls import include, path
from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.jobs.parsed import capture_data, payload
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs
from tests.jobs.test_values import KEPT, REFUSED, India, kinds
from tests.testapp import tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

#: What the parser returns, and what the views have found.
parsed: list[object] = []
found: list[object] = []


class Parser(BaseParser):
    media_type = "*/*"

    def parse(self, stream, media_type=None, parser_context=None):
        return parsed[0]


class Caller(BaseAuthentication):
    def authenticate(self, request):
        return callers[0] if callers else None


callers: list[object] = []


class Data(AcceptMixin, APIView):
    authentication_classes = ()
    permission_classes = ()
    parser_classes = (Parser,)
    accept_mode = "prefer"

    def post(self, request):
        found.append((request.data, request.FILES))
        return Response()


class Who(Data):
    authentication_classes = (Caller,)

    def post(self, request):
        found.append((type(request.user), request._request.user.__class__))
        return Response([str(request.user), getattr(request.user, "label", None)])


class Task(AcceptMixin, APIView):
    authentication_classes = ()
    permission_classes = ()
    accept_task = tasks.describe

    def get_accept_input(self, request, validated):
        return {"value": parsed[0]}


class Validated(AcceptMixin, APIView):
    authentication_classes = ()
    permission_classes = ()
    accept_task = tasks.describe

    class serializer_class(serializers.Serializer):  # noqa: N801
        price = serializers.DecimalField(max_digits=30, decimal_places=2)
        day = serializers.DateField()
        span = serializers.DurationField()
        id = serializers.UUIDField()
        note = serializers.SlugRelatedField(slug_field="slug", queryset=Note.objects.all())


urlpatterns = [
    path("data/", Data.as_view()),
    path("who/", Who.as_view()),
    path("task/", Task.as_view()),
    path("validated/", Validated.as_view()),
    path("api/jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def _project(settings, tmp_path):
    settings.ROOT_URLCONF = __name__
    settings.MEDIA_ROOT = tmp_path
    for each in (parsed, found, callers):
        each.clear()


def twins(value):
    """Return what a view gets, now and in the worker."""
    parsed[:] = [value]
    for wish in ({}, {"prefer": "respond-async"}):
        answer = APIClient().post("/data/", "x", content_type="text/x", headers=wish)
        assert answer.status_code in (200, 202), answer.content
    run_accepted_jobs()
    return found


#: The data itself, not only a part of it: a form, a scalar, nothing.
WHOLE = [
    None,
    7,
    "a=b",
    b"\xff",
    Decimal("1.10"),
    (1,),
    QueryDict("a=1&a=2&b="),
    QueryDict("a=1", mutable=True),
]
WHOLE += [QueryDict("a=%E4", encoding="latin-1"), MultiValueDict({"a": [1, "2"], "b": []}), KEPT]


@pytest.mark.parametrize("value", WHOLE, ids=lambda value: type(value).__name__)
def test_what_a_parser_returns_reaches_the_view(value):
    (now, _), (later, files) = twins(value)
    assert kinds(later) == kinds(now)
    if value is KEPT:  # a zone of a class of its own has no equality
        now, later = ([each for each in data if type(each) is not India] for data in (now, later))
    assert later == now
    for name in ("_mutable", "encoding"):
        assert getattr(later, name, None) == getattr(now, name, None)
    assert (type(files), files) == (MultiValueDict, {})


@pytest.mark.parametrize("value", [Decimal("1.10"), b"\xff", {"a": {1: (2,)}}, frozenset("a")])
def test_what_is_given_to_a_task_reaches_it(value):
    parsed[:] = [value]
    answer = follow(APIClient(), APIClient().post("/task/", {}))
    assert answer.json() == {"value": repr(value)}


def test_validated_data_reaches_a_task():
    note = Note.objects.create(slug="a", title="A")
    sent = {"price": "1.10", "day": "2026-01-02", "span": "3", "id": "0" * 32, "note": "a"}
    told = follow(APIClient(), APIClient().post("/validated/", sent, format="json")).json()
    assert told == {
        "price": "Decimal('1.10')",
        "day": "datetime.date(2026, 1, 2)",
        "span": "datetime.timedelta(seconds=3)",
        "id": "UUID('00000000-0000-0000-0000-000000000000')",
        "note": repr(note.pk),
    }


@pytest.mark.parametrize("url", ["/data/", "/task/"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_kept_stores_nothing(kind, url):
    parsed[:] = [REFUSED[kind]()]
    with pytest.raises(ImproperlyConfigured, match="cannot be kept for the worker"):
        APIClient().post(url, "{}", content_type="application/json", headers={"prefer": "respond-async"})
    assert not Job.objects.exists()


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)
ODD = [float("nan"), float("-inf"), "a\0", "\ud800", CIRCLE, (("x",),), {"a": {0: float("nan")}}]


@pytest.mark.parametrize("value", ODD)
def test_what_json_has_not_is_the_clients_fault(value):
    """Contract 16."""
    for _ in range(300 if value == (("x",),) else 0):
        value = (value,)
    parsed[:] = [value]
    answer = APIClient().post("/data/", "x", content_type="text/x", headers={"prefer": "respond-async"})
    assert answer.status_code == 400
    assert not Job.objects.exists()


def file(name):
    return SimpleUploadedFile(name, name.encode(), "text/x")


FORMS = {
    "in a tuple": lambda: {"a": ({"b": file("x")}, Decimal(1)), "c": b"\0"},
    "apart": lambda: DataAndFiles({"n": Decimal("1.10")}, MultiValueDict({"f": [file("x"), file("y")]})),
    "apart from a dict of its own": lambda: DataAndFiles(OrderedDict(n=1), {"f": file("x")}),
    "apart in a dict": lambda: DataAndFiles({"n": 1}, {"f": file("x")}),
    "apart from lists": lambda: DataAndFiles(
        MultiValueDict({"n": ["1", Decimal(2)]}), MultiValueDict({"f": [file("x")]})
    ),
    "in lists": lambda: MultiValueDict({"f": [file("x"), "y"]}),
    "apart under the same name": lambda: DataAndFiles(QueryDict("f=1&f=2&g=3"), MultiValueDict({"f": [file("x")]})),
}  # fmt: skip


def contents(value):
    if isinstance(value, UploadedFile):
        value.seek(0)
        return [value.name, value.content_type, value.size, value.read()]
    if isinstance(value, MultiValueDict):
        return [type(value), {key: contents(value.getlist(key)) for key in value}]
    if isinstance(value, dict):
        return [type(value), {key: contents(item) for key, item in value.items()}]
    return [type(value), *map(contents, value)] if isinstance(value, list | tuple) else value


class Files(Data):
    def post(self, request):
        found.append([contents(request.data), contents(request.FILES)])
        return Response()


@pytest.mark.parametrize("kind", FORMS)
def test_files_come_with_the_data(kind, monkeypatch):
    monkeypatch.setattr(Data, "post", Files.post)
    for wish in ({}, {"prefer": "respond-async"}):
        parsed[:] = [FORMS[kind]()]
        APIClient().post("/data/", "x", content_type="text/x", headers=wish)
    run_accepted_jobs()
    now, later = found
    assert later == now


def test_input_of_an_earlier_release_is_read():
    """It was plain JSON, and still is if the data is."""
    parsed[:] = [{"a": 1}]
    for stored in ({"data": {"a": 1, "b": "1.5"}}, {"form": [["a", ["1", "2"]], ["b", []]]}):
        APIClient().post("/data/", "x", content_type="text/x", headers={"prefer": "respond-async"})
        Job.objects.filter(state="accepted").update(input=stored)
        run_accepted_jobs()
    assert found[0][0] == {"a": 1, "b": "1.5"}
    assert (type(found[1][0]), dict(found[1][0].lists())) == (QueryDict, {"a": ["1", "2"], "b": []})


# --- Who the user is ----------------------------------------------------------------------------------------------


class Guest(AnonymousUser):
    label = "guest"


class Named(AnonymousUser):
    def __init__(self, label="nobody"):
        self.label = label


class Employee(get_user_model()):
    class Meta:
        proxy = True
        app_label = "testapp"


def who():
    for wish in ({}, {"prefer": "respond-async"}):
        last = APIClient().post("/who/", {}, format="json", headers=wish)
    return last


def test_a_proxy_of_the_user_model_stays_one(alice):
    callers[:] = [(Employee.objects.get(pk=alice.pk), None)]
    parsed[:] = [{}]
    who()
    run_accepted_jobs()
    assert found == [(Employee, Employee)] * 2


def test_an_anonymous_user_keeps_its_class():
    callers[:] = [(Guest(), None)]
    parsed[:] = [{}]
    who()
    run_accepted_jobs()
    assert found == [(Guest, Guest)] * 2


def test_an_anonymous_user_that_knows_more_is_missed_aloud():
    callers[:] = [(Named("acme"), None)]
    parsed[:] = [{}]
    accepted = who()
    run_accepted_jobs(raises=False)
    assert "request.user" in APIClient().get(accepted["Location"]).json()["detail"]


def test_one_form_is_one_payload():
    """Contract 5: the shop's page hands over a form that can be changed, and curl sends the same."""

    def told(data):
        return payload(capture_data(data))

    sent, handed_over = QueryDict("a=1&b=2"), QueryDict(mutable=True, encoding="latin-1")
    handed_over.update({"a": "1", "b": "2"})
    assert told(sent) == told(handed_over) != told(QueryDict("a=1&b=3"))
