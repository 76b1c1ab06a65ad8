"""A check that is made once: in the request, and not again in the worker."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.generics import CreateAPIView, GenericAPIView
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.models import Job
from async_accept.once import once
from async_accept.testing import follow
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

#: The codes that can still be used, and how often a check was made.
codes: set[str] = set()
made: list[str] = []


def redeem(code):
    made.append(code)
    if code not in codes:
        raise serializers.ValidationError("This code was used.")
    codes.remove(code)


class HasKey(BasePermission):
    """Knows a header that is not kept."""

    @once
    def has_permission(self, request, view):
        made.append("key")
        return request.headers.get("X-Key") == "hunter2"


class OwnsNote(BasePermission):
    @once
    def has_object_permission(self, request, view, obj):
        made.append(obj.slug)
        return request.headers.get("X-Key") == "hunter2"


class LooksBelow(BasePermission):
    """Checks Django's own request."""

    def has_permission(self, request, view):
        return self.check(request._request)

    @once
    def check(self, request):
        made.append("below")
        return request.headers.get("X-Key") == "hunter2"


class Never(BasePermission):
    def has_permission(self, request, view):
        return False


class CodeField(serializers.CharField):
    """Spends the code where it is parsed."""

    @once
    def run_validation(self, data=serializers.empty):
        code = super().run_validation(data)
        redeem(code)
        return code.upper()


once_redeemed = once(redeem)


class Order(serializers.Serializer):
    code = serializers.CharField(required=False)
    field = CodeField(required=False)
    checked = serializers.CharField(required=False, validators=[once_redeemed])
    note = serializers.CharField(required=False)
    pair = serializers.CharField(required=False)

    @once
    def validate_code(self, value):
        redeem(value)
        return {"code": value, "worth": (1, 2)}

    @once
    def validate_note(self, value):
        redeem(value)
        return Note.objects.get(slug=value)

    @once
    def validate(self, attrs):
        if "pair" in attrs:
            redeem(attrs["pair"])
            attrs["paired"] = True
        return attrs

    def create(self, validated_data):
        return validated_data

    def to_representation(self, instance):
        return {name: repr(value) for name, value in instance.items()}


class Orders(AcceptCreateMixin, CreateAPIView):
    permission_classes = (HasKey | Never,)
    serializer_class = Order


class Bulk(AcceptMixin, GenericAPIView):
    serializer_class = Order

    def post(self, request):
        serializer = self.get_serializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.data)


class Bare(AcceptMixin, APIView):
    """Makes its serializer itself, without a context."""

    def validate_accept(self, request, instance=None):
        return self.validated(request)

    def validated(self, request):
        serializer = Order(data=request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def post(self, request):
        return Response({name: repr(value) for name, value in self.validated(request).items()})


class Notes(AcceptMixin, GenericAPIView):
    """Looks at the objects that the request names, of which the URL names the first."""

    queryset = Note.objects.all()
    lookup_field = "slug"
    permission_classes = (OwnsNote,)

    def post(self, request, slug):
        for each in [slug, *request.data["more"]]:
            self.kwargs["slug"] = each
            self.get_object()
        return Response("ok")


@api_view(["POST"])
@permission_classes([HasKey])
@accepts(serializer_class=Order)
def function(request):
    serializer = Order(data=request.data)
    serializer.is_valid(raise_exception=True)
    return Response(serializer.data)


class Unkept(HasKey):
    @once
    def has_permission(self, request, view):
        return object()


class Below(AcceptMixin, APIView):
    permission_classes = (LooksBelow,)

    def post(self, request):
        return Response()


class Odd(AcceptMixin, APIView):
    permission_classes = (Unkept,)

    def post(self, request):
        return Response()


urlpatterns = [
    path("orders/", Orders.as_view()),
    path("prefer/", Orders.as_view(accept_mode="prefer")),
    path("bulk/", Bulk.as_view()),
    path("bare/", Bare.as_view()),
    path("function/", function),
    path("notes/<slug:slug>/", Notes.as_view()),
    path("odd/", Odd.as_view()),
    path("below/", Below.as_view()),
    path("api/jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def _project(settings):
    settings.ROOT_URLCONF = __name__
    codes.clear()
    codes.update("abc")
    made.clear()


@pytest.fixture
def client(alice):
    client = APIClient(headers={"X-Key": "hunter2"})
    client.force_authenticate(alice)
    return client


def test_a_code_is_spent_once_and_what_came_of_it_reaches_the_work(client):
    for url in ("/orders/", "/bare/", "/function/"):
        for field, told in {
            "code": "{'code': 'a', 'worth': (1, 2)}",
            "field": "'A'",
            "checked": "'a'",
            "pair": "'a'",
        }.items():
            codes.add("a")
            answer = follow(client, client.post(url, {field: "a"}))
            assert answer.json()[field] == told
            assert (answer.json().get("paired") == "True") == (field == "pair")
            assert [each for each in made if each != "key"] == ["a"]
            made.clear()


def test_a_code_that_was_used_is_refused_at_once(client):
    codes.clear()
    assert client.post("/orders/", {"code": "a"}).status_code == 400
    assert not Job.objects.exists()


def test_a_row_that_a_check_returned_is_loaded_again(client):
    note = Note.objects.create(slug="a", title="A")
    assert follow(client, client.post("/orders/", {"note": "a"})).json() == {"note": repr(note)}


def test_each_of_many_has_its_own(client):
    answer = follow(
        client, client.post("/bulk/", [{"code": "b"}, {"field": "a"}, {"code": "c"}], format="json")
    )
    assert answer.json() == [
        {"code": "{'code': 'b', 'worth': (1, 2)}"},
        {"field": "'A'"},
        {"code": "{'code': 'c', 'worth': (1, 2)}"},
    ]
    assert made == ["b", "a", "c"]


def test_a_permission_that_reads_a_credential_is_asked_once(client):
    assert follow(client, client.post("/orders/", {})).status_code == 201
    assert made == ["key"]
    assert "hunter2" not in str(Job.objects.values().get())
    assert client.post("/orders/", {}, headers={"X-Key": "other"}).status_code == 403


def test_an_object_that_was_not_checked_is_checked_in_the_worker(client):
    for slug in "ab":
        Note.objects.create(slug=slug, title="A")
    assert follow(client, client.post("/notes/a/", {"more": ["a"]}, format="json")).json() == "ok"
    assert made == ["a"]
    assert follow(client, client.post("/notes/a/", {"more": ["b"]}, format="json")).status_code == 403
    assert made == ["a", "a", "b"]


def test_a_second_attempt_and_a_rerun_have_it_too(client):
    accepted = client.post("/orders/", {"code": "a"})
    assert follow(client, accepted).status_code == 201
    again = client.post(accepted["Operation-Location"] + "rerun/")
    assert follow(client, again).status_code == 201
    assert made == ["key", "a", "key"]  # a rerun is a request: permissions are asked anew


def test_a_check_of_djangos_own_request_is_made_once(client):
    assert follow(client, client.post("/below/", {})).status_code == 200
    assert made == ["below"]


def test_a_rerun_asks_the_checks_of_a_function_by_the_same_names(client):
    accepted = client.post("/function/", {"code": "a"})
    again = client.post(accepted["Operation-Location"] + "rerun/")
    assert again.status_code == 409
    assert follow(client, accepted).status_code == 200
    again = client.post(accepted["Operation-Location"] + "rerun/")
    first, second = Job.objects.order_by("created_at")
    assert (again.json()["id"], second.request["checks"].keys()) == (
        str(second.pk),
        first.request["checks"].keys(),
    )


def test_a_synchronous_request_is_checked_as_ever(client):
    assert client.post("/prefer/", {"code": "a"}).status_code == 201
    assert client.post("/prefer/", {"code": "a"}).status_code == 400


def test_what_cannot_be_kept_is_refused_at_accept(client):
    with pytest.raises(ImproperlyConfigured, match=r"Unkept\.has_permission\(\) returned cannot be kept"):
        client.post("/odd/", {})
    assert not Job.objects.exists()
