"""``AcceptMixin`` over REST framework's generic views, each of which knows its serializer and its object."""

from typing import Any

from django.urls import path
from rest_framework import generics, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptMixin, AcceptUpdateMixin

from . import tasks
from .models import Note, Shelf
from .serializers import NoteSerializer, SumSerializer


class OwnNotes(BasePermission):
    """Lets nobody change another's note."""

    def has_object_permission(self, request: Request, view: Any, note: Note) -> bool:
        return request.method in SAFE_METHODS or note.owner in (None, request.user)


class NoteView(AcceptMixin, generics.RetrieveUpdateDestroyAPIView):
    permission_classes = (IsAuthenticated, OwnNotes)
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def post(self, request: Request, pk: int) -> Response:
        return Response({"title": self.get_object().title})


class Drafts(BasePermission):
    """Lets nobody change what is final."""

    def has_object_permission(self, request: Request, view: Any, note: Note) -> bool:
        return note.title != "final" or getattr(request._request, "accept_job", None) is not None


class DraftView(AcceptUpdateMixin, generics.UpdateAPIView):
    """Has entity tags, and an end of all changes."""

    permission_classes = (IsAuthenticated, Drafts)
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def get_accept_etag(self, instance: Any) -> str:
        return f'"{instance.title}"'


class ActionViewSet(viewsets.GenericViewSet):
    """Takes PUT and PATCH in an action, and names the serializer beside it."""

    permission_classes = (IsAuthenticated,)
    queryset = Note.objects.all()

    @action(detail=True, methods=["put", "patch"])
    @accepts(serializer_class=NoteSerializer)
    def revise(self, request: Request, pk: int) -> Response:
        note = self.get_object()
        note.title = request.data["title"]
        note.save()
        return Response({"title": note.title})


class SumChangeView(AcceptMixin, APIView):
    """Takes PATCH without any object."""

    serializer_class = SumSerializer

    def patch(self, request: Request) -> Response:
        return Response(request.data)


class NewestNoteView(AcceptMixin, generics.UpdateAPIView):
    """Has an object that no URL names."""

    serializer_class = NoteSerializer

    def get_object(self) -> Note:
        return Note.objects.latest("id")


class ShelfNotesView(AcceptMixin, generics.CreateAPIView):
    """The ``pk`` of the route is a shelf's."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def perform_create(self, serializer: Any) -> None:
        serializer.save(shelf=Shelf.objects.get(pk=self.kwargs["pk"]))


class UpsertView(AcceptMixin, generics.GenericAPIView):
    """PUT makes what is not there yet."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    lookup_field = "slug"

    def get_accept_object(self) -> Any:
        return self.queryset.filter(slug=self.kwargs["slug"]).first()

    def put(self, request: Request, slug: str) -> Response:
        note, created = Note.objects.update_or_create(slug=slug, defaults={"title": request.data["title"]})
        return Response({"title": note.title}, status=201 if created else 200)


class ChoosingView(AcceptMixin, generics.GenericAPIView):
    """Names its serializer by a method, and has no objects, whatever its route says."""

    def get_serializer_class(self) -> Any:
        return SumSerializer

    def post(self, request: Request, pk: int) -> Response:
        return Response({"sum": int(request.data["x"]) + int(request.data["y"])})


class ChoosingPlainView(AcceptMixin, APIView):
    """The same without REST framework's generics."""

    def get_serializer_class(self) -> Any:
        return SumSerializer

    def post(self, request: Request) -> Response:
        return Response(status=status.HTTP_204_NO_CONTENT)


class BareView(AcceptMixin, generics.GenericAPIView):
    """Has no serializer at all."""

    def post(self, request: Request) -> Response:
        return Response(request.data)


class ContextView(AcceptMixin, APIView):
    """Has fields that ask for the request."""

    accept_task = tasks.echo

    class serializer_class(serializers.Serializer):  # noqa: N801
        user = serializers.HiddenField(default=serializers.CurrentUserDefault())
        note = serializers.HyperlinkedRelatedField("note-detail", queryset=Note.objects.all())


urlpatterns = [
    path("notes/<int:pk>/", NoteView.as_view()),
    path("drafts/<int:pk>/", DraftView.as_view()),
    path("actions/<int:pk>/", ActionViewSet.as_view({"put": "revise", "patch": "revise"}, detail=True)),
    path("sum-changes/", SumChangeView.as_view()),
    path("newest-note/", NewestNoteView.as_view()),
    path("shelves/<int:pk>/notes/", ShelfNotesView.as_view()),
    path("upserts/<slug:slug>/", UpsertView.as_view()),
    path("choosing/<int:pk>/", ChoosingView.as_view()),
    path("choosing-plain/", ChoosingPlainView.as_view()),
    path("bare/", BareView.as_view()),
    path("context/", ContextView.as_view()),
]
