"""What is checked before a handler of the view's own is accepted: nothing that it would not check itself."""

import json
from typing import Any

import pytest
from django.db import DataError
from django.http import Http404
from rest_framework import generics, serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from async_accept.http.generic import object_of, validate
from tests.testapp.models import Note
from tests.testapp.serializers import NoteSerializer


class PairSerializer(serializers.Serializer):
    x = serializers.IntegerField()
    y = serializers.IntegerField()


class Own(generics.GenericAPIView):
    """Each handler is the view's own."""

    serializer_class = PairSerializer
    queryset = Note.objects.all()

    def post(self, request: Request) -> Response:
        return Response()

    patch = delete = post


class Needy(Own):
    """Its serializer is made with an argument that only its handler knows."""

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        return PairSerializer(data={"x": 1, "y": kwargs["ceiling"]})


@pytest.fixture
def view(rf: Any) -> Any:
    """Make a view that stands before a request."""

    def make(kind: type, method: str = "post", data: Any = None, **kwargs: Any) -> Any:
        found: Any = kind()
        request = getattr(rf, method)("/", json.dumps(data), content_type="application/json")
        found.setup(request, **kwargs)
        found.format_kwarg = None
        found.request = Request(request, parsers=[JSONParser()])
        return found

    return make


def checked(view: Any) -> Any:
    return validate(view, view.request)


def test_own_handler_is_still_checked_by_the_serializer(view):
    assert checked(view(Own, data={"x": "1", "y": 2})) == {"x": 1, "y": 2}
    with pytest.raises(ValidationError):
        checked(view(Own, data={"x": 1}))


def test_list_is_one_of_what_the_serializer_is_of(view):
    assert checked(view(Own, data=[{"x": "1", "y": 2}])) == [{"x": 1, "y": 2}]
    with pytest.raises(ValidationError) as refused:
        checked(view(Own, data=[{"x": 1, "y": 2}, {"x": 1}]))
    assert refused.value.detail[1]["y"][0].code == "required"


def test_generic_handler_takes_a_list_as_rest_framework_does(view):
    class Create(generics.CreateAPIView):
        serializer_class = PairSerializer

    with pytest.raises(ValidationError) as refused:
        checked(view(Create, data=[{"x": 1, "y": 2}]))
    assert "non_field_errors" in refused.value.detail


@pytest.mark.parametrize("data", [{"x": 1}, [1], 7])
def test_serializer_that_is_used_in_another_way_is_left_to_the_worker(view, data):
    found = checked(view(Needy, data=data))
    assert found == (data if isinstance(data, dict) else {"data": data})


def test_a_task_needs_what_the_serializer_makes(view):
    class ForTask(Needy):
        accept_task = object()

    with pytest.raises(KeyError):
        checked(view(ForTask, data={"x": 1}))


@pytest.mark.parametrize("error", [Http404, PermissionDenied, DataError])
def test_errors_with_a_meaning_are_raised(view, error):
    class Failing(Own):
        def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
            raise error("meant")

    with pytest.raises(error):
        checked(view(Failing, data={}))


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_the_url_of_a_list_names_no_object(view, method):
    """As the bulk handlers of drf-extensions, which are called like those of one object."""

    class Bulk(generics.RetrieveUpdateDestroyAPIView):
        queryset = Note.objects.all()
        serializer_class = NoteSerializer

    class WithOwnLookup(Bulk):
        def get_object(self) -> Any:
            return super().get_object()

    assert object_of(view(Bulk, method)) is None
    assert object_of(view(WithOwnLookup, method)) is None


@pytest.mark.django_db
def test_the_url_of_one_object_names_it(view):
    class One(generics.RetrieveUpdateDestroyAPIView):
        queryset = Note.objects.all()
        serializer_class = NoteSerializer

    class Only(One):
        def get_object(self) -> Any:
            return "the only one"

    note = Note.objects.create(slug="a", title="A")
    assert object_of(view(One, "patch", pk=note.pk)) == note
    with pytest.raises(Http404):
        object_of(view(One, "patch", pk=0))
    assert object_of(view(Only, "patch")) == "the only one"
