"""View sets that write their own handlers. Each of these adds a mark to the answer of those that it extends."""

from typing import Any

from django.urls import include, path
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from async_accept.decorators import accepts
from async_accept.mixins import AcceptModelMixin

from .models import Note
from .serializers import NoteSerializer


def marked(response: Response) -> Response:
    response["X-Own"] = response.get("X-Own", "") + "!"
    return response


class Notes(viewsets.ModelViewSet):
    permission_classes = (IsAuthenticated,)
    queryset = Note.objects.order_by("id")
    serializer_class = NoteSerializer


class OwnHandlers:
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().update(request, *args, **kwargs))

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().partial_update(request, *args, **kwargs)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().destroy(request, *args, **kwargs))


class Written(AcceptModelMixin, Notes):
    """Has them in its own body."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().update(request, *args, **kwargs))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().destroy(request, *args, **kwargs))

    @action(detail=False, methods=["post"])
    @accepts(serializer_class=NoteSerializer)
    def copy(self, request: Request) -> Response:
        """Hands over to a handler that accepts."""
        return self.create(request)


class Inherited(OwnHandlers, AcceptModelMixin, Notes):
    """Has them from a class that knows nothing of accepting."""


class Accepted(AcceptModelMixin, Notes):
    pass


class Extended(OwnHandlers, Accepted):
    """Adds them to a view that accepts already."""


class Twice(Written):
    """Extends what has been extended."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))


class Beside(Accepted, OwnHandlers, Notes):
    """Has them behind the view that accepts, and before REST framework's."""


class Last(
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    AcceptModelMixin,
    viewsets.GenericViewSet,
):
    """Names the mixins in another order, still before the view's class."""

    permission_classes = (IsAuthenticated,)
    queryset = Note.objects.order_by("id")
    serializer_class = NoteSerializer


class Decorated(Accepted):
    """Says its own terms at one handler."""

    @accepts(operation="notes.write", serializer_class=NoteSerializer)
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))


class Alone(AcceptModelMixin, viewsets.GenericViewSet):
    """Extends nothing, and has nothing but this."""

    permission_classes = (IsAuthenticated,)

    def create(self, request: Request) -> Response:
        return marked(Response({"made": request.data}, status=201))


VIEWS = {
    view.__name__.lower(): view
    for view in (Written, Inherited, Accepted, Extended, Twice, Beside, Last, Decorated, Alone)
}
asking = {
    f"asking-{name}": type(view.__name__, (view,), {"accept_mode": "prefer", "__module__": __name__})
    for name, view in VIEWS.items()
}

router = SimpleRouter()
for name, view in (VIEWS | asking).items():
    router.register(name, view, basename=name)

urlpatterns = [path("", include(router.urls))]
