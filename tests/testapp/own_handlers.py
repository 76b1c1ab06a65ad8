"""View sets with handlers of their own. Each handler adds a "!" to the header ``X-Own`` of the response."""

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
    """Defines the handlers itself."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().update(request, *args, **kwargs))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().destroy(request, *args, **kwargs))

    @action(detail=False, methods=["post"])
    @accepts(serializer_class=NoteSerializer)
    def copy(self, request: Request) -> Response:
        """Calls a handler that accepts."""
        return self.create(request)


class Inherited(OwnHandlers, AcceptModelMixin, Notes):
    """Inherits the handlers from a class that does not accept."""


class Accepted(AcceptModelMixin, Notes):
    pass


class Extended(OwnHandlers, Accepted):
    """Adds handlers to a view that accepts already."""


class Twice(Written):
    """Extends a handler that extends another."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))


class Beside(Accepted, OwnHandlers, Notes):
    """The class with the handlers comes after the accepting view, and before REST framework's class."""


class Last(
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    AcceptModelMixin,
    viewsets.GenericViewSet,
):
    """Lists REST framework's mixins before ``AcceptModelMixin``."""

    permission_classes = (IsAuthenticated,)
    queryset = Note.objects.order_by("id")
    serializer_class = NoteSerializer


class Decorated(Accepted):
    """One handler has its own options, by ``@accepts``."""

    @accepts(operation="notes.write", serializer_class=NoteSerializer)
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return marked(super().create(request, *args, **kwargs))


class Alone(AcceptModelMixin, viewsets.GenericViewSet):
    """Its handler calls no ``super()``, and it has no other."""

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
