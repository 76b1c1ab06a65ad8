"""``AcceptMixin`` with REST framework's generic views, which have a serializer and often an object."""

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
    """Only the owner may change a note."""

    def has_object_permission(self, request: Request, view: Any, note: Note) -> bool:
        return request.method in SAFE_METHODS or note.owner in (None, request.user)


class NoteView(AcceptMixin, generics.RetrieveUpdateDestroyAPIView):
    permission_classes = (IsAuthenticated, OwnNotes)
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def post(self, request: Request, pk: int) -> Response:
        return Response({"title": self.get_object().title})


class Drafts(BasePermission):
    """A note with the title "final" cannot be changed, except by the job itself."""

    def has_object_permission(self, request: Request, view: Any, note: Note) -> bool:
        return note.title != "final" or getattr(request._request, "accept_job", None) is not None


class DraftView(AcceptUpdateMixin, generics.UpdateAPIView):
    """Has entity tags, and a permission that depends on the object."""

    permission_classes = (IsAuthenticated, Drafts)
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def get_accept_etag(self, instance: Any) -> str:
        return f'"{instance.title}"'


class ActionViewSet(viewsets.GenericViewSet):
    """An action for PUT and PATCH. ``@accepts`` names its serializer."""

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
    """PATCH, but the view has no object."""

    serializer_class = SumSerializer

    def patch(self, request: Request) -> Response:
        return Response(request.data)


class NewestNoteView(AcceptMixin, generics.UpdateAPIView):
    """Its object does not depend on the URL."""

    serializer_class = NoteSerializer

    def get_object(self) -> Note:
        return Note.objects.latest("id")


class ShelfNotesView(AcceptMixin, generics.CreateAPIView):
    """The ``pk`` in the URL is that of the shelf, not of a note."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    def perform_create(self, serializer: Any) -> None:
        serializer.save(shelf=Shelf.objects.get(pk=self.kwargs["pk"]))


class UpsertView(AcceptMixin, generics.GenericAPIView):
    """PUT creates the note if it does not exist."""

    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    lookup_field = "slug"

    def get_accept_object(self) -> Any:
        return self.queryset.filter(slug=self.kwargs["slug"]).first()

    def put(self, request: Request, slug: str) -> Response:
        note, created = Note.objects.update_or_create(slug=slug, defaults={"title": request.data["title"]})
        return Response({"title": note.title}, status=201 if created else 200)


class ChoosingView(AcceptMixin, generics.GenericAPIView):
    """Its serializer comes from a method. It has no object, although its URL has a ``pk``."""

    def get_serializer_class(self) -> Any:
        return SumSerializer

    def post(self, request: Request, pk: int) -> Response:
        return Response({"sum": int(request.data["x"]) + int(request.data["y"])})


class ChoosingPlainView(AcceptMixin, APIView):
    """The same with a plain ``APIView``."""

    def get_serializer_class(self) -> Any:
        return SumSerializer

    def post(self, request: Request) -> Response:
        return Response(status=status.HTTP_204_NO_CONTENT)


class BareView(AcceptMixin, generics.GenericAPIView):
    """A generic view without a serializer."""

    def post(self, request: Request) -> Response:
        return Response(request.data)


class ContextView(AcceptMixin, APIView):
    """Its serializer has fields that need the request."""

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
