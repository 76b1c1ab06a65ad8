"""The door to the drills."""

from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin

from .serializers import DrillSerializer
from .tasks import drill

__all__ = ["DrillView"]


class DrillView(AcceptMixin, APIView):
    """Ask for a job that behaves as its mode says: `{"key": "…", "ms": 0, "mode": "ok"}`.

    The mixin, not the decorator: it answers 503 also where the database fails as early as the authentication.
    """

    serializer_class = DrillSerializer
    accept_task = drill
    accept_operation = "drills.create"
