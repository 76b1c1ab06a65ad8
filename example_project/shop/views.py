"""The views of the shop's API. They show two ways to accept a request with 202.

With `AcceptCreateMixin`, the worker runs the view's own `create()`: orders and price lists.
With a task, the request is validated and the task does the work: batches, by `@accepts_task`, and reports, by
`AcceptMixin` with `accept_task`.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiRequest, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from async_accept.decorators import accepts_task
from async_accept.mixins import AcceptCreateMixin, AcceptMixin

from . import payments
from .batches import BatchSerializer, CSVParser, read_batch
from .models import Order, PriceList, Product
from .serializers import (
    BulkSerializer,
    OrderSerializer,
    PlacedOrderSerializer,
    PriceListSerializer,
    ProductSerializer,
    ReportSerializer,
    TroubleSerializer,
)
from .tasks import build_report, fulfil_orders
from .trouble import make_trouble

__all__ = ["OrderViewSet", "PriceListViewSet", "ProductViewSet", "ReportView", "TroubleView"]


class OrderHasPayment(APIException):
    """409: a paid or declined order cannot be deleted."""

    status_code = 409
    default_code = "order_has_payment"
    default_detail = "An order that has a payment cannot be deleted."


class ProductViewSet(viewsets.ReadOnlyModelViewSet):
    """The products of the shop."""

    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    lookup_field = "sku"
    # All but a slash, and NUL: PostgreSQL has no text with NUL, and its driver raises an error for it.
    lookup_value_regex = r"[^/\x00]+"


@extend_schema_view(
    update=extend_schema(responses=OrderSerializer),
    partial_update=extend_schema(responses=OrderSerializer),
    destroy=extend_schema(
        responses={204: None, 409: OpenApiResponse(description="The order has a payment.")}
    ),
)
class OrderViewSet(AcceptCreateMixin, viewsets.ModelViewSet):
    """Your orders. A new order is accepted with 202. The result of its job is the 201 with the order."""

    queryset = Order.objects.none()  # for the schema; get_queryset() decides
    serializer_class = OrderSerializer
    accept_operation = "orders.create"

    def get_serializer_class(self) -> type[OrderSerializer]:
        is_placed = self.action in {"update", "partial_update"}
        return PlacedOrderSerializer if is_placed else super().get_serializer_class()

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(customer=self.request.user).prefetch_related("lines__product")

    def perform_create(self, serializer: OrderSerializer) -> None:
        serializer.save(customer=self.request.user)

    def perform_destroy(self, instance: Order) -> None:
        with transaction.atomic():
            order = payments.cancel(instance)
            if order.status in {Order.Status.PAID, Order.Status.DECLINED}:
                raise OrderHasPayment
            order.delete()

    @extend_schema(
        request={
            "application/json": BatchSerializer,
            "text/csv": OpenApiTypes.BINARY,
            "multipart/form-data": OpenApiRequest(
                BulkSerializer, encoding={"file": {"contentType": "text/csv"}}
            ),
        }
    )
    @action(
        detail=False,
        methods=["post"],
        parser_classes=[JSONParser, CSVParser, MultiPartParser, FormParser],
        serializer_class=BulkSerializer,  # only for the form of the browsable API
    )
    @accepts_task(fulfil_orders, operation="orders.bulk")
    def bulk(self, request: Request) -> dict[str, Any]:
        """Place and pay many orders, each with reference, sku, quantity and code: JSON, text/csv or a file `file`."""
        return {"customer": request.user.pk, "orders": read_batch(request)}


@extend_schema_view(
    create=extend_schema(
        request=OpenApiRequest(PriceListSerializer, encoding={"file": {"contentType": "text/csv"}})
    )
)
class PriceListViewSet(AcceptCreateMixin, viewsets.ModelViewSet):
    """Price lists of suppliers. A new one is accepted with 202 as soon as its file is uploaded."""

    http_method_names = ["get", "post", "delete", "head", "options"]
    queryset = PriceList.objects.none()  # for the schema; get_queryset() decides
    serializer_class = PriceListSerializer
    parser_classes = (MultiPartParser,)
    accept_operation = "imports.create"
    # No transaction around the whole import: for minutes, others would wait for its locks. Without it, a second
    # attempt is safe all the same, because it finds what the first one has stored.
    accept_atomic = False
    accept_retry_when_lost = True

    @property
    def accept_max_bytes(self) -> int:
        """The largest upload. A property, so that tests can change the setting."""
        return settings.IMPORT_MAX_BYTES

    def get_queryset(self) -> QuerySet[PriceList]:
        return PriceList.objects.filter(customer=self.request.user)

    def perform_create(self, serializer: PriceListSerializer) -> None:
        serializer.save(customer=self.request.user)

    def perform_destroy(self, instance: PriceList) -> None:
        instance.delete_with_files()

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.BINARY})
    @action(detail=True)
    def file(self, request: Request, pk: str) -> FileResponse:
        """The uploaded file."""
        price_list = self.get_object()
        return _download(price_list.file, price_list.name)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.BINARY})
    @action(detail=True)
    def report(self, request: Request, pk: str) -> FileResponse:
        """The rejected lines, each with its reason."""
        price_list = self.get_object()
        if not price_list.report:
            raise Http404
        return _download(price_list.report, f"rejected-{price_list.pk}.csv")


def _download(file: Any, name: str) -> FileResponse:
    # As an attachment: a browser must not display what somebody has uploaded.
    return FileResponse(file.open(), as_attachment=True, filename=name, content_type="text/csv")


class ReportView(AcceptMixin, APIView):
    """The sales report: an estimate with `rows` draws from the orders of the last `days` days.

    The result of its job has the figures of each day.
    """

    serializer_class = ReportSerializer
    accept_task = build_report
    accept_operation = "reports.create"

    def accept_active_key(self, request: Request, validated: dict[str, Any]) -> str:
        """While a customer's job with this key is active, a request for the same report gets that job."""
        return f"{request.user.pk} {validated['rows']} {validated['days']}"


class TroubleView(AcceptMixin, APIView):
    """Jobs that go wrong on purpose: `kind` is slow, retry, fail, lose or lose_all.

    404 if the setting TROUBLEMAKER is off.
    """

    serializer_class = TroubleSerializer
    accept_task = make_trouble
    accept_operation = "trouble.create"

    @property
    def is_offered(self) -> bool:
        """Whether there is this view at all; also read by the schema."""
        return settings.TROUBLEMAKER

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not self.is_offered:
            raise Http404
        super().initial(request, *args, **kwargs)
