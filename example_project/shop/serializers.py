"""The serializers of the shop's API."""

from typing import Any

from django.core.files.base import File
from django.db import IntegrityError
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.reverse import reverse

from . import inventory, orders, price_lists
from .models import DiscountRule, Order, OrderLine, PriceList, Product
from .price_checks import InvalidHeader, read_header
from .trouble import Kind

__all__ = [
    "BulkSerializer",
    "OrderSerializer",
    "PlacedOrderSerializer",
    "PriceListSerializer",
    "ProductSerializer",
    "ReportSerializer",
    "TooFewLeft",
    "TroubleSerializer",
]


class TooFewLeft(APIException):
    """409: too few of a product are left. The detail names the product."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "out_of_stock"


class ProductSerializer(serializers.ModelSerializer):
    """A product."""

    class Meta:
        model = Product
        fields = ["sku", "name", "price", "stock"]


class ProductField(serializers.SlugRelatedField):
    """A product, by its SKU."""

    def to_internal_value(self, data: Any) -> Product:
        # PostgreSQL has no text with NUL, and its driver raises an error that REST framework does not expect.
        if "\0" in str(data):
            self.fail("does_not_exist", slug_name=self.slug_field, value=data)
        return super().to_internal_value(data)


class OrderLineSerializer(serializers.ModelSerializer):
    """A line of an order. The shop sets the price."""

    sku = ProductField("sku", source="product", queryset=Product.objects.all())
    quantity = serializers.IntegerField(min_value=1, max_value=1000)

    class Meta:
        model = OrderLine
        fields = ["sku", "quantity", "unit_price"]
        read_only_fields = ["unit_price"]


class BulkSerializer(serializers.Serializer):
    """The form for a batch of orders: a CSV file, or its text."""

    file = serializers.FileField(required=False)
    csv = serializers.CharField(required=False, style={"base_template": "textarea.html", "rows": 6})


class OrderSerializer(serializers.ModelSerializer):
    """An order with its lines."""

    reference = serializers.RegexField(r"\A[A-Za-z0-9][A-Za-z0-9._/-]*\Z", max_length=64, required=False)
    lines = OrderLineSerializer(many=True, allow_empty=False, max_length=50)

    class Meta:
        model = Order
        fields = [
            "id", "url", "reference", "status", "code", "lines", "discount", "total", "note", "created_at",
        ]  # fmt: skip
        read_only_fields = ["status", "discount", "total", "created_at"]
        # validate_reference() checks uniqueness. The default validator needs the customer, who is not a field.
        validators: list[Any] = []

    def validate_reference(self, reference: str) -> str:
        if Order.objects.filter(customer=self.context["request"].user, reference=reference).exists():
            raise serializers.ValidationError("You have used this reference before.", code="unique")
        return reference

    def validate_code(self, code: str) -> str:
        if code and not DiscountRule.objects.filter(code=code).exists():
            raise serializers.ValidationError(f"There is no discount code {code}.", code="unknown_code")
        return code

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({line["product"] for line in lines}) < len(lines):
            raise serializers.ValidationError("Name each product once.", code="repeated")
        return lines

    def create(self, validated_data: dict[str, Any]) -> Order:
        lines = validated_data.pop("lines")
        # Not a default of the field: an update would use it as well.
        validated_data.setdefault("reference", orders.new_reference())
        wanted = [(line["product"], line["quantity"]) for line in lines]
        try:
            return orders.place(wanted=wanted, **validated_data)
        except inventory.OutOfStock as error:
            raise TooFewLeft(str(error)) from error
        except IntegrityError as error:
            # Another request has used the reference after validate_reference() had checked it.
            raise serializers.ValidationError(
                {"reference": ["You have used this reference before."]}, code="unique"
            ) from error


class PlacedOrderSerializer(OrderSerializer):
    """A placed order: only the note can be changed."""

    reference = serializers.CharField(read_only=True)
    lines = OrderLineSerializer(many=True, read_only=True)

    class Meta(OrderSerializer.Meta):
        read_only_fields = [*OrderSerializer.Meta.read_only_fields, "code"]


class ReportSerializer(serializers.Serializer):
    """The input of the sales report."""

    rows = serializers.IntegerField(
        min_value=1,
        max_value=1_000_000,
        default=50_000,
        help_text="Orders to draw. The maximum takes a minute.",
    )
    days = serializers.IntegerField(
        min_value=1, max_value=366, default=30, help_text="How many days, up to today."
    )


class PriceListSerializer(serializers.ModelSerializer):
    """A price list. The input is a CSV file with the columns sku, name and price."""

    url = serializers.HyperlinkedIdentityField("import-detail")
    file = serializers.FileField(write_only=True)
    file_url = serializers.HyperlinkedIdentityField("import-file")
    report_url = serializers.SerializerMethodField(help_text="The rejected lines as CSV, or null.")

    class Meta:
        model = PriceList
        fields = [
            "id", "url", "name", "size_bytes", "sha256", "lines", "rejected", "first_rejects", "offers", "file",
            "file_url", "report_url", "created_at",
        ]  # fmt: skip
        read_only_fields = ["name", "size_bytes", "sha256", "lines", "rejected", "first_rejects", "offers"]

    def get_report_url(self, instance: PriceList) -> str | None:
        if not instance.report:
            return None
        return reverse("import-report", args=[instance.pk], request=self.context["request"])

    def validate_file(self, file: File) -> File:
        """Check the first line. The worker checks all others."""
        try:
            read_header(file)
        except InvalidHeader as error:
            raise serializers.ValidationError(str(error), code="header") from error
        return file

    def create(self, validated_data: dict[str, Any]) -> PriceList:
        return price_lists.import_list(**validated_data)


class TroubleSerializer(serializers.Serializer):
    """What is to go wrong."""

    kind = serializers.ChoiceField(Kind.choices)
