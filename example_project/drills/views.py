"""The views of the drills: a task that is atomic or not, a file, and views that run themselves in the worker.

Each takes `{"key": "…", "ms": 0, "mode": "ok"}`; an upload takes the same as a form, with a file.
"""

from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin

from .effects import commit, note
from .serializers import DrillSerializer, Mode, UploadSerializer
from .tasks import drill, once_drill, plain_drill, upload_drill
from .work import begin, misbehave, result, wait

__all__ = ["DrillView", "LookView", "OnceView", "PlainView", "ReplayView", "UploadView"]


class DrillView(AcceptMixin, APIView):
    """A task that writes its effect in one transaction with its end."""

    serializer_class = DrillSerializer
    accept_task = drill
    accept_operation = "drills.create"


class PlainView(AcceptMixin, APIView):
    """A task that is not atomic."""

    serializer_class = DrillSerializer
    accept_task = plain_drill
    accept_operation = "drills.plain"


class OnceView(AcceptMixin, APIView):
    """A task that is not atomic, and not repeated if it is lost."""

    serializer_class = DrillSerializer
    accept_task = once_drill
    accept_operation = "drills.once"


class UploadView(AcceptMixin, APIView):
    """A task that gets a file."""

    parser_classes = (MultiPartParser,)
    serializer_class = UploadSerializer
    accept_task = upload_drill
    accept_operation = "drills.upload"


class ReplayView(AcceptMixin, APIView):
    """A view that writes its effect, and answers 201."""

    serializer_class = DrillSerializer
    accept_operation = "drills.replay"

    def post(self, request: Request) -> Response:
        given = _given(request)
        attempt = begin(given["key"], given.get("asked_by", 1))
        wait(given["ms"] / 1000)
        misbehave(given["mode"])
        commit(given["key"])
        note(given["key"], "end", attempt)
        shown = {name: given[name] for name in ("key", "ms", "mode")}
        return Response(result(given["mode"], shown), status=201, headers={"X-Drill": given["key"]})


class LookView(AcceptMixin, APIView):
    """A view without effects, and without a transaction. Its own 422 is a failure."""

    serializer_class = DrillSerializer
    accept_operation = "drills.look"
    accept_atomic = False
    accept_retry_when_lost = True

    def post(self, request: Request) -> Response:
        given = _given(request)
        begin(given["key"], given.get("asked_by", 1))
        wait(given["ms"] / 1000)
        if given["mode"] == Mode.REFUSE:
            return Response({"refused": given["key"]}, status=422)
        misbehave(given["mode"])
        return Response(result(given["mode"], {"seen": given["key"]}))


def _given(request: Request) -> dict:
    serializer = DrillSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
