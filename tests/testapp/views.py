"""One view for each way to accept, and some of them once more without accepting."""

from typing import Any

from rest_framework import generics, status, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.versioning import URLPathVersioning
from rest_framework.views import APIView

from async_accept.decorators import accepts, accepts_task
from async_accept.mixins import AcceptCreateMixin, AcceptMixin, AcceptModelMixin

from . import tasks
from .models import Note
from .serializers import LinkedNoteSerializer, NoteSerializer, SumSerializer


class PlainNoteViewSet(viewsets.ModelViewSet):
    """An ordinary view that does not accept."""

    queryset = Note.objects.order_by("id")
    serializer_class = NoteSerializer
    permission_classes = (IsAuthenticated,)

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer[Any]:
        if isinstance(kwargs.get("data"), list):
            kwargs["many"] = True
        return super().get_serializer(*args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        serializer.save(owner=self.request.user)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        if isinstance(data, list):
            return {}
        return {"Location": self.reverse_action("detail", args=[data["id"]])}


class NoteViewSet(AcceptModelMixin, PlainNoteViewSet):
    """The same view, but it accepts."""

    @action(detail=True, methods=["post"])
    @accepts(operation="notes.shout")
    def shout(self, request: Request, pk: str) -> Response:
        note = self.get_object()
        note.title = note.title.upper()
        note.save()
        return Response({"title": note.title})

    @action(detail=False, methods=["post"])
    @accepts_task(tasks.add)
    def total(self, request: Request) -> dict[str, Any]:
        serializer = SumSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class ShelfNoteViewSet(AcceptModelMixin, PlainNoteViewSet):
    """Notes below a shelf, with a nested URL."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(shelf=self.kwargs["shelf_pk"])

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        serializer.save(owner=self.request.user, shelf_id=self.kwargs["shelf_pk"])

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": self.reverse_action("detail", args=[self.kwargs["shelf_pk"], data["id"]])}


class PlainLinkedNoteViewSet(viewsets.ModelViewSet):
    queryset = Note.objects.order_by("id")
    serializer_class = LinkedNoteSerializer
    lookup_field = "slug"


class LinkedNoteViewSet(AcceptModelMixin, PlainLinkedNoteViewSet):
    """Hyperlinked serializer, own lookup field, version in the path, format suffixes."""

    versioning_class = URLPathVersioning


class NoteCreateView(AcceptCreateMixin, generics.CreateAPIView):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer


class SumView(AcceptMixin, APIView):
    """An ``APIView`` whose validated data are the arguments of a task."""

    serializer_class = SumSerializer
    accept_task = tasks.add
    accept_operation = "sums.create"


class ShoutView(AcceptMixin, APIView):
    """An ``APIView`` whose own ``post()`` runs in the worker."""

    def post(self, request: Request, word: str) -> Response:
        return Response({"word": word.upper(), "data": request.data}, status=status.HTTP_201_CREATED)


@api_view(["GET", "POST"])
@accepts(idempotency="required")
def listed(request: Request) -> Response:
    return Response({"method": request.method})


@api_view(["POST"])
@accepts(serializer_class=SumSerializer)
def multiply(request: Request) -> Response:
    return Response({"product": int(request.data["x"]) * int(request.data["y"])})


@api_view(["POST"])
@accepts_task(tasks.add)
def add(request: Request) -> Any:
    serializer = SumSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    if serializer.validated_data["x"] == 0:
        return Response(serializer.validated_data["y"])
    return serializer.validated_data


class TaskView(AcceptMixin, APIView):
    """Runs any task of the tests by name: ``/run/<name>/``."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.accept_task = getattr(tasks, kwargs["name"])
        super().initial(request, *args, **kwargs)

    def post(self, request: Request, name: str) -> Response:
        raise AssertionError("A task does this view's work.")
