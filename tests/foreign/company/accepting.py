"""The same views, accepting: each its plain twin and a mixin."""

from typing import Any

from rest_framework.decorators import action, api_view, parser_classes, renderer_classes
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptCreateMixin, AcceptMixin, AcceptModelMixin, AcceptUpdateMixin

from . import plain, renderers, tasks, tenancy
from .parsers import CamelCaseParser


class Customers(AcceptModelMixin, plain.Customers):
    """Of one tenant; so whose request it was is kept."""

    def get_accept_context(self, request: Request) -> Any:
        return {"tenant": request.tenant}  # type: ignore[attr-defined]

    def restore_accept_context(self, request: Request, context: Any) -> None:
        tenancy.tenant.set(context["tenant"])


class Orders(AcceptModelMixin, plain.Orders):
    @action(detail=True, methods=["post"])
    @accepts()
    def approve(self, request: Request, **kwargs: Any) -> Any:
        return super().approve(request, **kwargs)

    @action(detail=True, methods=["post"])
    @accepts()
    def close(self, request: Request, **kwargs: Any) -> Any:
        return super().close(request, **kwargs)

    @action(detail=True, methods=["post"])
    @accepts()
    def pay(self, request: Request, **kwargs: Any) -> Any:
        return super().pay(request, **kwargs)

    @action(detail=True, methods=["post"])
    @accepts()
    def invoice(self, request: Request, **kwargs: Any) -> Any:
        return super().invoice(request, **kwargs)

    @action(detail=True, methods=["post"])
    @accepts()
    def packing(self, request: Request, **kwargs: Any) -> Any:
        return super().packing(request, **kwargs)

    @action(detail=True, methods=["delete"])
    @accepts()
    def lines(self, request: Request, **kwargs: Any) -> Any:
        return super().lines(request, **kwargs)


class BulkOrders(AcceptMixin, plain.BulkOrders):
    accept_headers = ("X-Bulk",)


class Import(AcceptMixin, plain.Import):
    pass


class Me(AcceptUpdateMixin, plain.Me):
    pass


class Documents(AcceptCreateMixin, plain.Documents):
    pass


class Report(AcceptMixin, plain.Report):
    pass


class Office(AcceptMixin, plain.Office):
    pass


class Fixed(AcceptMixin, plain.Fixed):
    pass


class Sheet(AcceptMixin, plain.Sheet):
    pass


class Letter(AcceptMixin, plain.Letter):
    pass


class Legacy(AcceptMixin, plain.Legacy):
    pass


class Bare(AcceptMixin, plain.Bare):
    pass


@api_view(["POST"])
@renderer_classes([renderers.XMLRenderer])
@parser_classes([CamelCaseParser, FormParser])
@accepts()
def quote(request: Request) -> Any:
    return plain.quote.cls.post(None, request)


class Whoami(AcceptMixin, plain.Whoami):
    pass


class WhoamiBasic(AcceptMixin, plain.WhoamiBasic):
    pass


class WhoamiKey(AcceptMixin, plain.WhoamiKey):
    pass


class WhoamiSession(AcceptMixin, plain.WhoamiSession):
    pass


class WhoamiAnybody(AcceptMixin, plain.WhoamiAnybody):
    pass


class Gate(AcceptMixin, plain.Gate):
    """Its permission looks at the key again before the work."""

    def get_accept_context(self, request: Request) -> Any:
        return {"key": request.headers["X-Api-Key"]}

    def restore_accept_context(self, request: Request, context: Any) -> None:
        request.META["HTTP_X_API_KEY"] = context["key"]


class Scoped(AcceptMixin, plain.Scoped):
    """Its permission reads the token."""

    def get_accept_context(self, request: Request) -> Any:
        return {"claims": request.auth}

    def restore_accept_context(self, request: Request, context: Any) -> None:
        request.auth = context["claims"]


class Work(AcceptMixin, plain.Work):
    """Keeps nothing but what is kept by default."""


class Asked(AcceptMixin, plain.Asked):
    """Keeps all that its work may ask for."""

    accept_headers = ("X-Trace",)

    def get_accept_context(self, request: Request) -> Any:
        return {"tenant": request.tenant, "claims": request.auth}  # type: ignore[attr-defined]

    def restore_accept_context(self, request: Request, context: Any) -> None:
        request._request.tenant = context["tenant"]  # type: ignore[attr-defined]
        tenancy.tenant.set(context["tenant"])
        request.auth = context["claims"]


class Exact(AcceptMixin, plain.Exact):
    pass


class Loose(AcceptMixin, plain.Loose):
    accept_atomic = False


class Untied(AcceptMixin, plain.Untied):
    pass


class Table(AcceptMixin, plain.Table):
    accept_task = tasks.make_table


class Stock(AcceptMixin, plain.Stock):
    accept_task = tasks.count_stock


class Restock(AcceptMixin, plain.Restock):
    accept_task = tasks.order_stock


class Status(AcceptMixin, APIView):
    """Lets a task choose its status."""

    accept_task = tasks.answer_status

    def post(self, request: Request, status: int) -> Response:
        raise AssertionError("A task does this view's work.")

    def get_accept_input(self, request: Request, validated: Any) -> Any:
        return {"status": self.kwargs["status"]}


class Decline(AcceptMixin, APIView):
    accept_task = tasks.decline


class Stumble(AcceptMixin, APIView):
    accept_task = tasks.stumble


class Flood(AcceptMixin, APIView):
    accept_task = tasks.flood


class Divide(AcceptMixin, APIView):
    accept_task = tasks.divide


class Buggy(AcceptMixin, APIView):
    """Its own logic has the bug."""

    def post(self, request: Request) -> Response:
        return Response({"total": self.total(request.data)})

    def total(self, data: Any) -> int:
        return sum(data["missing"])
