"""The company's views, as they were before anybody thought of 202."""

import io
from typing import Any

from django.db import transaction
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework import generics, mixins, viewsets
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.decorators import action, api_view, parser_classes, renderer_classes
from rest_framework.parsers import FileUploadParser, FormParser, MultiPartParser
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from tests.foreign.ledger.models import Entry

from . import renderers, tasks, works
from .authentication import KeyAuthentication
from .errors import Conflict, VersionMismatch
from .models import Customer, Line, Order, User
from .negotiation import FirstOfAll
from .parsers import CamelCaseParser, ExactParser, RawParser
from .permissions import HasKey, HasScope, MayChange, TeamFilter
from .serializers import (
    AccountSerializer,
    CustomerSerializer,
    DocumentSerializer,
    LineSerializer,
    OrderSerializer,
)

TABLE = [
    {"sku": "TEA", "name": "Tee für zwei", "sold_units": 3},
    {"sku": "CUP", "name": "Çay", "sold_units": 1},
]

# --- View sets, nested ------------------------------------------------------------------------------------


class Customers(viewsets.ModelViewSet[Customer]):
    """The current tenant's customers."""

    serializer_class = CustomerSerializer

    def get_queryset(self) -> Any:
        return Customer.objects.order_by("pk")


class Orders(viewsets.ModelViewSet[Order]):
    """A customer's orders: one or many at a time, with their lines, and with a version."""

    serializer_class = OrderSerializer
    permission_classes = (IsAuthenticated, MayChange)
    filter_backends = (TeamFilter,)

    def get_queryset(self) -> Any:
        return Order.objects.filter(customer=self.kwargs["customer_pk"]).prefetch_related("lines")

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer[Any]:
        if isinstance(kwargs.get("data"), list):
            kwargs["many"] = True
        return super().get_serializer(*args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        customer = get_object_or_404(Customer.objects.all(), pk=self.kwargs["customer_pk"])
        serializer.save(owner=self.request.user, customer=customer)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {} if isinstance(data, list) else {"Location": data["url"]}

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = request.headers.get("If-Match")
        if asked not in (None, f'"{self.get_object().version}"'):
            raise VersionMismatch
        response = super().update(request, *args, **kwargs)
        response["ETag"] = f'"{response.data["version"]}"'
        return response

    @action(detail=True, methods=["post"])
    def approve(self, request: Request, **kwargs: Any) -> Response:
        order = self.get_object()
        if order.state != "new":
            return Response({"order_state": order.state, "allowed_states": ["new"]}, status=409)
        Order.objects.filter(pk=order.pk).update(state="approved")
        return Response({"order_state": "approved"}, headers={"X-Approved-By": str(request.user)})

    @action(detail=True, methods=["post"])
    def close(self, request: Request, **kwargs: Any) -> Response:
        order = self.get_object()
        if order.state == "closed":
            raise Conflict
        Order.objects.filter(pk=order.pk).update(state="closed")
        return Response(status=303, headers={"Location": self.get_serializer(order).data["url"]})

    @action(detail=True, methods=["post"])
    def pay(self, request: Request, **kwargs: Any) -> Response:
        """Book first, in the other database; then see whether the amount was right."""
        order = self.get_object()
        cents = int(request.data["paid_cents"])
        Entry.objects.create(reference=order.reference, text="paid", cents=cents)
        Order.objects.filter(pk=order.pk).update(state="paid")
        if cents != order.total * 100:
            raise Conflict("That is not the total.")
        return Response({"order_state": "paid", "paid_cents": cents})

    @action(detail=True, methods=["post"])
    def invoice(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        order = self.get_object()
        letter = renderers.PDFRenderer().render({"title": f"Rechnung {order.reference}"})
        return FileResponse(io.BytesIO(letter), as_attachment=True, filename=f"Rechnung für {order.pk}.pdf")

    @action(detail=True, methods=["post"])
    def packing(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        lines = self.get_object().lines.all()
        rows = (f"{line.sku};{line.quantity}\r\n" for line in lines)
        headers = {"Content-Disposition": 'inline; filename="packing.csv"'}
        return StreamingHttpResponse(rows, content_type="text/csv; charset=utf-8", headers=headers)

    @action(detail=True, methods=["delete"])
    def lines(self, request: Request, **kwargs: Any) -> Response:
        removed, _ = self.get_object().lines.all().delete()
        return Response(status=204, headers={"X-Removed": str(removed)})


class BulkOrders(Orders):
    """Many at a time, on the URL of the list, by handlers of its own; a header must say that it is meant."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method != "GET" and "X-Bulk" not in request.headers:
            raise VersionMismatch("X-Bulk is missing.")

    def patch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        changed = self.get_queryset().update(state=request.data["new_state"])
        return Response({"changed_orders": changed})

    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.get_queryset().filter(state=request.query_params["state"]).delete()
        return Response(status=204)


class Import(generics.GenericAPIView[Line]):
    """Lines of one order; the serializer is that of one line."""

    serializer_class = LineSerializer

    def post(self, request: Request, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        serializer.save(order_id=1)
        return Response({"imported_lines": len(serializer.data)}, status=201)


class Me(generics.RetrieveUpdateAPIView[User]):
    """The caller's own account: its URL names nobody."""

    serializer_class = AccountSerializer

    def get_object(self) -> Any:
        return self.request.user


class Documents(mixins.CreateModelMixin, viewsets.GenericViewSet[Any]):
    """Files that belong to an order, two levels below."""

    serializer_class = DocumentSerializer
    parser_classes = (MultiPartParser, FileUploadParser)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        serializer.save(order=get_object_or_404(Order, pk=self.kwargs["order_pk"]))


# --- Renderers --------------------------------------------------------------------------------------------


class Report(APIView):
    """A table in every form: by ``Accept``, by ``?format=`` or by suffix."""

    renderer_classes = (
        renderers.EnvelopeRenderer,
        renderers.CSVRenderer,
        renderers.XMLRenderer,
        renderers.XLSXRenderer,
    )

    def post(self, request: Request, **kwargs: Any) -> Response:
        if (request.data or {}).get("month") == "never":
            raise Conflict("There is no such month.")
        return Response(TABLE, status=201, headers={"Content-Language": "de"})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if getattr(response, "accepted_renderer", None) and response.accepted_renderer.format == "xlsx":
            response["Content-Disposition"] = 'attachment; filename="report.xlsx"'
        return response


class Office(Report):
    renderer_classes = (renderers.OfficeCSVRenderer,)


class Fixed(Report):
    """Does not ask what the client would like: a table is CSV."""

    content_negotiation_class = FirstOfAll
    renderer_classes = (renderers.CSVRenderer, renderers.XMLRenderer)


class Sheet(Report):
    renderer_classes = (renderers.XLSXRenderer,)


class Letter(APIView):
    """Only ever a PDF."""

    renderer_classes = (renderers.PDFRenderer,)

    def post(self, request: Request) -> Response:
        if not (request.data or {}).get("subject"):
            raise Conflict("A letter needs a subject.")
        return Response({"title": request.data["subject"]})


class Legacy(Report):
    """From before the envelope."""

    renderer_classes = (renderers.CamelCaseRenderer,)


class Bare(Report):
    """For partners who want REST framework's own JSON, and may want it indented."""

    renderer_classes = (JSONRenderer,)


@api_view(["POST"])
@renderer_classes([renderers.XMLRenderer])
@parser_classes([CamelCaseParser, FormParser])
def quote(request: Request) -> Response:
    """The price of some units, for a client that reads XML."""
    units = int(request.data["units"])
    if units > 100:
        return Response({"error": {"message": "Ask us."}}, status=422)
    return Response({"units": units, "price": f"{units * 4.2:.2f}"})


# --- Who asks ---------------------------------------------------------------------------------------------


class Whoami(APIView):
    """By the project's own authentication."""

    def post(self, request: Request) -> Response:
        return Response({"user_name": str(request.user)})


class WhoamiBasic(Whoami):
    authentication_classes = (BasicAuthentication,)


class WhoamiKey(Whoami):
    authentication_classes = (KeyAuthentication,)


class WhoamiSession(Whoami):
    authentication_classes = (SessionAuthentication,)


class WhoamiAnybody(Whoami):
    permission_classes = (AllowAny,)


class Gate(Whoami):
    """For machines, which are nobody: a permission looks at their key."""

    authentication_classes = ()
    permission_classes = (HasKey,)


class Scoped(Whoami):
    """Only for tokens that may do this."""

    permission_classes = (HasScope,)
    scope = "orders"


# --- Everything else, a function at a time -------------------------------------------------------------------


class Work(APIView):
    """Does one of the ``works``."""

    parser_classes = (CamelCaseParser, FormParser, MultiPartParser, RawParser)

    def post(self, request: Request, name: str) -> HttpResponseBase:
        return works.WORKS[name](request)


class Asked(Work):
    """The same; its accepting twin keeps what the work needs of its request."""


class Exact(Work):
    parser_classes = (ExactParser,)


class Loose(Work):
    """In no transaction of the request, nor of the job."""

    @transaction.non_atomic_requests
    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(*args, **kwargs)


class Untied(Loose):
    """In no transaction of the request; of the job its accepting twin says nothing."""


class Stock(APIView):
    """What the accepting twin lets a task count; rendered by the view."""

    renderer_classes = Report.renderer_classes

    def post(self, request: Request, **kwargs: Any) -> Any:
        return Response(tasks.stock(refused=request.data.get("refused", False)))


class Restock(Stock):
    """The same; the task answers with a status of its own."""

    def post(self, request: Request, **kwargs: Any) -> Any:
        return tasks.restock(refused=request.data.get("refused", False))


class Table(APIView):
    """What the accepting twin lets a task make."""

    def post(self, request: Request) -> Any:
        return tasks.table()
