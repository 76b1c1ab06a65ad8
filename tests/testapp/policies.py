"""The same handlers with different accept options: ``/policies/<policy>/<kind of view>/``.

For each set of options (a policy) there is one view of each kind that can accept. So a test can check the same promise
with all of them.
"""

from typing import Any

from django.urls import path
from rest_framework import serializers, viewsets
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.parsers import FileUploadParser, FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from async_accept.decorators import accepts, accepts_task
from async_accept.mixins import AcceptMixin, AcceptModelMixin

from . import contract_tasks, tasks
from .models import Note
from .serializers import NoteSerializer, SumSerializer


def decide(request: Request) -> str:
    """Answer at once if the request has the header ``X-Small``."""
    return "never" if request.headers.get("X-Small") else "always"


#: The options of the views: attributes of ``Accepting`` without ``accept_``.
POLICIES: dict[str, dict[str, Any]] = {
    "always": {},
    "prefer": {"mode": "prefer"},
    "decide": {"mode": decide},
    "keyed": {"idempotency": "required"},
    "keyed-prefer": {"idempotency": "required", "mode": "prefer"},
    "unkeyed": {"idempotency": "ignored"},
    "capped": {"max_active": 2},
    "capped-each": {"max_active_per_owner": 2},
    "insisting": {"when_broker_down": "refuse"},
    "small": {"max_bytes": 200},
    "patient": {"retry_after": 7},
}


class Picky(BasePermission):
    """Answers 403 if the request has the header ``X-Forbid``."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return not request.headers.get("X-Forbid")


class Moody(BaseThrottle):
    """Answers 429 if the request has the header ``X-Throttle``."""

    def allow_request(self, request: Request, view: Any) -> bool:
        return not request.headers.get("X-Throttle")

    def wait(self) -> float:
        return 3.2


class Guarded:
    permission_classes = (IsAuthenticated, Picky)
    throttle_classes = (Moody,)
    parser_classes = (JSONParser, FormParser, MultiPartParser)


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    return {
        f"accept_{name}": staticmethod(value) if callable(value) else value for name, value in options.items()
    }


class Notes(Guarded, viewsets.ModelViewSet):
    queryset = Note.objects.order_by("id")
    serializer_class = NoteSerializer


class ShoutSerializer(serializers.Serializer):
    times = serializers.IntegerField(min_value=1, default=1)


def views_of(policy: str, options: dict[str, Any]) -> list[Any]:
    attributes = _attributes(options)

    def shout(self: Any, request: Request, pk: str) -> Response:
        note = self.get_object()
        note.title = note.title.upper()
        note.save()
        return Response({"title": note.title})

    shout = action(detail=True, methods=["post"])(accepts(serializer_class=ShoutSerializer, **options)(shout))
    view_set: Any = type("Notes", (AcceptModelMixin, Notes), {**attributes, "shout": shout})

    class SumView(AcceptMixin, Guarded, APIView):
        serializer_class = SumSerializer

        def post(self, request: Request) -> Response:
            return Response({"sum": int(request.data["x"]) + int(request.data["y"])}, status=201)

    class TaskSumView(AcceptMixin, Guarded, APIView):
        serializer_class = SumSerializer
        accept_task = tasks.add

        def post(self, request: Request) -> Response:
            return Response(int(request.data["x"]) + int(request.data["y"]))

    class MethodView(Guarded, APIView):
        @accepts(serializer_class=SumSerializer, **options)
        def post(self, request: Request) -> Response:
            return Response({"product": int(request.data["x"]) * int(request.data["y"])})

    for view in (SumView, TaskSumView):
        for name, value in attributes.items():
            setattr(view, name, value)

    def product(request: Request) -> Response:
        return Response({"product": int(request.data["x"]) * int(request.data["y"])})

    def total(request: Request) -> Any:
        serializer = SumSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = "respond-async" in request.headers.get("Prefer", "")
        if (options.get("mode") == "prefer" and not asked) or request.headers.get("X-Small"):
            return Response(sum(serializer.validated_data.values()))
        return serializer.validated_data

    for function in (product, total):
        function.permission_classes = Guarded.permission_classes
        function.throttle_classes = Guarded.throttle_classes
        function.parser_classes = Guarded.parser_classes
    function_view = api_view(["POST"])(accepts(serializer_class=SumSerializer, **options)(product))
    outer_view = accepts(serializer_class=SumSerializer, **options)(api_view(["POST"])(product))
    # With a task, the handler decides whether to accept.
    terms = {name: value for name, value in options.items() if name != "mode"}
    task_view = api_view(["POST"])(accepts_task(tasks.add, **terms)(total))

    base = f"policies/{policy}"
    detail = view_set.as_view(
        {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}, basename="note"
    )
    return [
        path(f"{base}/notes/", view_set.as_view({"get": "list", "post": "create"}, basename="note")),
        path(f"{base}/notes/<int:pk>/", detail),
        path(
            f"{base}/notes/<int:pk>/shout/", view_set.as_view({"post": "shout"}, basename="note", detail=True)
        ),
        path(f"{base}/class/", SumView.as_view()),
        path(f"{base}/class-task/", TaskSumView.as_view()),
        path(f"{base}/method/", MethodView.as_view()),
        path(f"{base}/function/", function_view),
        path(f"{base}/function-whole/", outer_view),
        path(f"{base}/function-task/", task_view),
    ]


# --- One active job ------------------------------------------------------------------------------------------


class GateView(AcceptMixin, APIView):
    """Waits at a gate. One active job per name, and any number with the name "anybody"."""

    permission_classes = (IsAuthenticated,)
    accept_task = contract_tasks.stand
    accept_operation = "gates.pass"

    class serializer_class(serializers.Serializer):  # noqa: N801
        name = serializers.CharField()
        refuse = serializers.BooleanField(default=False)

    def accept_active_key(self, request: Request, validated: Any) -> str | None:
        return None if self.kwargs["rule"] == "free" or validated["name"] == "anybody" else validated["name"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.accept_when_active = "refuse" if kwargs["rule"] == "refuse" else "join"
        super().initial(request, *args, **kwargs)


class OpenGateView(GateView):
    """The same for everybody, also without a login."""

    permission_classes = ()


# --- Uploads ---------------------------------------------------------------------------------------------------


class UploadView(AcceptMixin, APIView):
    """Its own ``post()`` reads an upload in the worker."""

    permission_classes = (IsAuthenticated,)
    parser_classes = (MultiPartParser, FileUploadParser)
    accept_max_bytes = 100_000

    def post(self, request: Request, **kwargs: Any) -> Response:
        files = request.data.getlist("file") if hasattr(request.data, "getlist") else [request.data["file"]]
        read = [{"name": file.name, "text": file.read().decode()} for file in files]
        return Response({"files": read, "label": request.data.get("label")}, status=201)


class UploadTaskView(AcceptMixin, APIView):
    """A task reads an upload."""

    permission_classes = (IsAuthenticated,)
    parser_classes = (MultiPartParser,)
    accept_task = contract_tasks.read_upload

    class serializer_class(serializers.Serializer):  # noqa: N801
        file = serializers.FileField()
        note = serializers.JSONField(required=False)


# --- Any task -------------------------------------------------------------------------------------------------


class ContractTaskView(AcceptMixin, APIView):
    """Runs a task of the contract tests by name."""

    permission_classes = (IsAuthenticated,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.accept_task = getattr(contract_tasks, kwargs["name"])
        super().initial(request, *args, **kwargs)

    def post(self, request: Request, name: str) -> Response:
        raise AssertionError("A task does this view's work.")


class ExactView(AcceptMixin, APIView):
    """The input of its task has a decimal."""

    permission_classes = (IsAuthenticated,)
    accept_task = tasks.describe

    class serializer_class(serializers.Serializer):  # noqa: N801
        price = serializers.DecimalField(max_digits=30, decimal_places=2)


# --- Function views without authentication ------------------------------------------------------------------------


@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@accepts()
def open_echo(request: Request) -> Response:
    return Response({"echo": request.data}, status=201, headers={"X-Echo": "yes"})


urlpatterns = [
    *(pattern for policy, options in POLICIES.items() for pattern in views_of(policy, options)),
    path("policies/exact/", ExactView.as_view()),
    path("gates/<str:rule>/", GateView.as_view()),
    path("open-gates/<str:rule>/", OpenGateView.as_view()),
    path("uploads/", UploadView.as_view()),
    path(
        "uploads/<str:filename>",
        UploadView.as_view(parser_classes=(FileUploadParser,), accept_max_bytes=None),
    ),
    path("upload-tasks/", UploadTaskView.as_view()),
    path("contract-tasks/<str:name>/", ContractTaskView.as_view()),
    path("open-echo/", open_echo),
]
