"""The shop's API.

Two ways to answer 202: an order and a price list are created by the view's own logic in the worker; a batch
and a report are handed to a task as soon as their input is found valid.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, Http404
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from async_accept.decorators import accepts_task
from async_accept.mixins import AcceptCreateMixin, AcceptMixin

from . import payments
from .batches import CSVParser, read_batch
from .models import Order, PriceList, Product
from .serializers import (
    BulkSerializer,
    OrderSerializer,
    PriceListSerializer,
    ProductSerializer,
    ReportSerializer,
    TroubleSerializer,
)
from .tasks import build_report, fulfil_orders
from .trouble import stumble

__all__ = ["OrderViewSet", "PriceListViewSet", "ProductViewSet", "ReportView", "TroubleView"]


class OrderStands(APIException):
    """409: a paid order is not deleted."""

    status_code = 409
    default_code = "order_stands"
    default_detail = "Only an order that is not paid can be deleted."


class ProductViewSet(viewsets.ReadOnlyModelViewSet):
    """What is on the shelf."""

    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    lookup_field = "sku"


class OrderViewSet(AcceptCreateMixin, viewsets.ModelViewSet):
    """Your orders. A new one is accepted with 202; its result is the 201 of the order that was created."""

    serializer_class = OrderSerializer
    accept_operation = "orders.create"

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(customer=self.request.user).prefetch_related("lines__product")

    def perform_create(self, serializer: OrderSerializer) -> None:
        serializer.save(customer=self.request.user)

    def perform_destroy(self, instance: Order) -> None:
        with transaction.atomic():
            ended = payments.cancel(instance)
            if ended.status in {Order.Status.PAID, Order.Status.DECLINED}:
                # A payment belongs into the books, declined or not.
                raise OrderStands
            ended.delete()

    @action(
        detail=False,
        methods=["post"],
        parser_classes=[JSONParser, CSVParser, MultiPartParser, FormParser],
        serializer_class=BulkSerializer,  # draws the form; what else may be sent, read_batch() knows
    )
    @accepts_task(fulfil_orders, operation="orders.bulk")
    def bulk(self, request: Request) -> dict[str, Any]:
        """Place and pay many orders: JSON, text/csv, or a CSV file as `file`, with reference, sku, quantity, code."""
        return {"customer": request.user.pk, "orders": read_batch(request)}


class PriceListViewSet(
    AcceptCreateMixin,
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Price lists of suppliers. A new one, however large, is accepted with 202 as soon as it is uploaded."""

    serializer_class = PriceListSerializer
    parser_classes = (MultiPartParser,)
    accept_operation = "imports.create"
    # Minutes in one transaction would keep others waiting. Instead each attempt finds what is finished.
    accept_atomic = False
    accept_retry_when_lost = True

    @property
    def accept_max_bytes(self) -> int:
        return settings.IMPORT_MAX_BYTES

    def get_queryset(self) -> QuerySet[PriceList]:
        return PriceList.objects.filter(customer=self.request.user)

    def perform_create(self, serializer: PriceListSerializer) -> None:
        serializer.save(customer=self.request.user)

    def perform_destroy(self, instance: PriceList) -> None:
        instance.delete_with_files()

    @action(detail=True)
    def file(self, request: Request, pk: str) -> FileResponse:
        """The file as it was sent in."""
        found = self.get_object()
        return _download(found.file, found.name)

    @action(detail=True)
    def report(self, request: Request, pk: str) -> FileResponse:
        """The rejected lines, each with its reason."""
        found = self.get_object()
        if not found.report:
            raise Http404
        return _download(found.report, f"rejected-{found.pk}.csv")


def _download(file: Any, name: str) -> FileResponse:
    # Never shown by the browser: what is in it is somebody's word.
    return FileResponse(file.open(), as_attachment=True, filename=name, content_type="text/csv")


class ReportView(AcceptMixin, APIView):
    """The sales report: `rows` orders drawn from the last `days` days; its result has the figures of each day."""

    serializer_class = ReportSerializer
    accept_task = build_report
    accept_operation = "reports.create"

    def accept_active_key(self, request: Request, validated: dict[str, Any]) -> str:
        """While a customer's report is under way, asking for the same one again joins it."""
        return f"{request.user.pk} {validated['rows']} {validated['days']}"


class TroubleView(AcceptMixin, APIView):
    """Jobs that go wrong, to be watched: `{"kind": "slow"}`, or retry, fail, lose, lose_all.

    Only if the setting TROUBLEMAKER says so, else 404.
    """

    serializer_class = TroubleSerializer
    accept_task = stumble
    accept_operation = "trouble.create"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not settings.TROUBLEMAKER:
            raise Http404
        super().initial(request, *args, **kwargs)
