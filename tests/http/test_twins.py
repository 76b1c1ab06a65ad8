"""Views as other people write them answer in the worker what they answer at once.

Each view is asked twice: at once, and with ``Prefer: respond-async``.
"""

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.urls import include, path
from rest_framework import generics, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptCreateMixin, AcceptMixin, AcceptUpdateMixin
from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.testapp.models import Note
from tests.testapp.serializers import NoteSerializer

pytestmark = pytest.mark.django_db


class Twin:
    accept_mode = "prefer"


class Popping(serializers.ModelSerializer):
    """Takes from the data what is none of its fields."""

    class Meta:
        model = Note
        fields = ("slug", "title")

    def to_internal_value(self, data):
        self.extra = data.pop("extra", None)
        return super().to_internal_value(data)

    def create(self, validated_data):
        return super().create(validated_data | {"title": str(self.extra)})


class Pops(Twin, AcceptCreateMixin, generics.CreateAPIView):
    serializer_class = Popping


class Chooses(Twin, AcceptCreateMixin, generics.CreateAPIView):
    """Takes the kind of what is created from the data."""

    def get_serializer_class(self):
        return {"note": NoteSerializer}.get(self.request.data.pop("kind", None), Popping)


class Changes(Twin, AcceptCreateMixin, generics.CreateAPIView):
    serializer_class = NoteSerializer

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        request.data["title"] += "!"


class Prefixes(BasePermission):
    def has_permission(self, request, view):
        request.data["title"] = f"a {request.data['title']}"
        return True


class Permitted(Twin, AcceptMixin, APIView):
    permission_classes = [Prefixes]

    def post(self, request):
        return Response({"title": request.data["title"]})


class Decorated(APIView):
    @accepts(mode="prefer")
    def post(self, request):
        request.data["title"] += "!"
        return Response({"title": request.data["title"]})


class FormSerializer(serializers.Serializer):
    title = serializers.CharField()

    def __init__(self, *args, **kwargs):
        if "data" in kwargs:
            data = kwargs["data"]
            mutable, data._mutable = data._mutable, True
            data["title"] += "!"
            data._mutable = mutable
        super().__init__(*args, **kwargs)


class Form(Twin, AcceptMixin, generics.GenericAPIView):
    serializer_class = FormSerializer

    def post(self, request):
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.validated_data)


class Locks(Twin, AcceptUpdateMixin, generics.UpdateAPIView):
    """Locks what it changes, in a transaction of its handler's own."""

    serializer_class = NoteSerializer
    lookup_field = "slug"

    def get_queryset(self):
        return Note.objects.select_for_update()

    @transaction.atomic
    def update(self, request, *args, **kwargs):
        return super().update(request, *args, **kwargs)


class Bulk(Twin, AcceptCreateMixin, generics.CreateAPIView):
    """Takes one or many in a ``create()`` of its own."""

    serializer_class = NoteSerializer

    def create(self, request, *args, **kwargs):
        serializer = self.get_serializer(data=request.data, many=isinstance(request.data, list))
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response([note["slug"] for note in serializer.data], status=201)


class Notes(Twin, AcceptMixin, viewsets.GenericViewSet):
    serializer_class = NoteSerializer
    queryset = Note.objects.all()

    @action(detail=False, methods=["post"])
    def stir(self, request):
        return Response({"stirred": True})


class Upload(serializers.Serializer):
    file = serializers.FileField()

    def validate_file(self, file):
        self.context["request"].rows = self.check(file)
        return file


class Imports(Twin, AcceptMixin, generics.GenericAPIView):
    serializer_class = Upload

    def post(self, request):
        self.get_serializer(data=request.data).is_valid(raise_exception=True)
        return Response({"rows": request.rows})


class Adds(AcceptMixin, APIView):
    """Adds to each answer what its handler has found; a 202 has no such thing."""

    def post(self, request):
        self.count = 3
        return Response({"slug": "n"})

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Count"] = self.count
        return response


class AddsLate(AcceptMixin, APIView):
    def post(self, request):
        return Response({"slug": "n"})

    def dispatch(self, request, *args, **kwargs):
        response = super().dispatch(request, *args, **kwargs)
        response["X-Count"] = len(response.data["slug"]) + 2
        return response


URLS = {
    "imports": Imports.as_view(),
    "adds": Adds.as_view(),
    "adds-late": AddsLate.as_view(),
    "pops": Pops.as_view(),
    "chooses": Chooses.as_view(),
    "changes": Changes.as_view(),
    "permitted": Permitted.as_view(),
    "decorated": Decorated.as_view(),
    "bulk": Bulk.as_view(),
    "stir": Notes.as_view({"post": "stir"}),
    "form": Form.as_view(),
}
urlpatterns = [
    *(path(f"{name}/", view) for name, view in URLS.items()),
    path("locks/<slug:slug>/", Locks.as_view()),
    path("jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def _urls(settings, tmp_path):
    settings.ROOT_URLCONF = __name__
    settings.MEDIA_ROOT = tmp_path


def later(client, method, url, data, **how):
    accepted = getattr(client, method)(url, data, headers={"Prefer": "respond-async"}, **how)
    assert accepted.status_code == 202, accepted.content
    run_accepted_jobs(raises=False)
    return client.get(accepted["Location"])


def twins(client, url, data, method="post", **how):
    """Return what the view answers at once and later; in between, what it has made goes."""
    now = getattr(client, method)(url, data, **how)
    found = (now.status_code, now.json()), set(Note.objects.values_list("slug", "title"))
    Note.objects.all().delete()
    then = later(client, method, url, data, **how)
    return found, ((then.status_code, then.json()), set(Note.objects.values_list("slug", "title")))


def without_ids(found):
    (status, body), notes = found
    return (
        status,
        {k: v for k, v in body.items() if k in ("slug", "title")} if isinstance(body, dict) else body,
        notes,
    )


@pytest.mark.parametrize("name", ["pops", "chooses", "changes", "permitted", "decorated"])
def test_what_a_view_does_to_the_data_it_does_once(alices, name):
    now, then = twins(alices, f"/{name}/", {"slug": "n", "title": "t", "extra": "E", "kind": "note"})
    assert now[0][0] in (200, 201)
    assert without_ids(then) == without_ids(now)


def test_what_a_view_does_to_a_form_it_does_once(alices):
    now, then = twins(alices, "/form/", {"title": "t"}, format="multipart")
    assert then == now == ((200, {"title": "t!"}), set())


def test_a_key_stands_for_what_the_client_sent(alices):
    """A repeat is the same request, although the view changes the data of each."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": "k"}
    first, again = (alices.post("/changes/", {"slug": "n", "title": "t"}, headers=headers) for _ in range(2))
    assert first["Location"] == again["Location"]
    assert Job.objects.get().input == {"data": {"slug": "n", "title": "t"}}


@pytest.mark.django_db(transaction=True)
def test_a_view_may_lock_what_it_changes(alices):
    Note.objects.create(slug="n", title="t")
    assert later(alices, "patch", "/locks/n/", {"title": "u"}).json()["title"] == "u"
    assert alices.patch("/locks/none/", {}, headers={"Prefer": "respond-async"}).status_code == 404


@pytest.mark.parametrize("data", [{"slug": "a", "title": "A"}, [{"slug": "a", "title": "A"}]])
def test_a_handler_of_the_views_own_may_take_one_or_many(alices, data):
    if isinstance(data, list):
        now, then = twins(alices, "/bulk/", data)
        assert then == now == ((201, ["a"]), {("a", "A")})
    else:
        assert alices.post("/bulk/", {"slug": "a"}, headers={"Prefer": "respond-async"}).status_code == 400


def test_an_action_need_not_have_what_its_objects_have(alices):
    now, then = twins(alices, "/stir/", {})
    assert then == now == ((200, {"stirred": True}), set())


# --- Files ----------------------------------------------------------------------------------------------------------


def _wrapped(file):
    return [row["n"] for row in csv.DictReader(io.TextIOWrapper(file))]


def _inner(file):
    return [row["n"] for row in csv.DictReader(io.TextIOWrapper(file.file))]


def _closed(file):
    with file:
        return _inner_text(file)


def _inner_text(file):
    return file.read().decode().split()[1:]


@pytest.mark.parametrize("check", [_wrapped, _inner, _closed])
@pytest.mark.parametrize("handler", ["MemoryFileUploadHandler", "TemporaryFileUploadHandler"])
def test_a_check_may_close_the_file_that_it_reads(alices, settings, monkeypatch, check, handler):
    settings.FILE_UPLOAD_HANDLERS = [f"django.core.files.uploadhandler.{handler}"]

    monkeypatch.setattr(Upload, "check", staticmethod(check), raising=False)
    answers = [
        ask(alices, {"file": SimpleUploadedFile("n.csv", b"n\n1\n2\n")})
        for ask in (
            lambda client, data: client.post("/imports/", data, format="multipart"),
            lambda client, data: later(client, "post", "/imports/", data, format="multipart"),
        )
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"rows": ["1", "2"]})] * 2


# --- What a view adds to its answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/adds/", "/adds-late/"])
def test_what_a_view_adds_cannot_keep_the_202_from_its_client(alices, caplog, url):
    """The job is stored by then; without the 202 the client would send the request again."""
    accepted = alices.post(url, {})
    assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")
    assert "A view failed on its own 202" in caplog.text
    run_accepted_jobs()
    result = alices.get(accepted["Location"])
    assert (result.status_code, result.json()) == (200, {"slug": "n"})
    assert result["X-Count"] == "3"
