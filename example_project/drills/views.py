"""The view of the drills."""

from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin

from .serializers import DrillSerializer
from .tasks import drill

__all__ = ["DrillView"]


class DrillView(AcceptMixin, APIView):
    """Start a drill: `{"key": "…", "ms": 0, "mode": "ok"}`."""

    serializer_class = DrillSerializer
    accept_task = drill
    accept_operation = "drills.create"
