from typing import Any

from django.db import transaction
from rest_framework import serializers

from .models import Customer, Document, Line, Order, User


class AccountSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("email", "team")
        read_only_fields = ("email",)


class CustomerSerializer(serializers.ModelSerializer[Customer]):
    class Meta:
        model = Customer
        fields = ("id", "name", "tenant")
        read_only_fields = ("tenant",)


class LineSerializer(serializers.ModelSerializer[Line]):
    class Meta:
        model = Line
        fields = ("sku", "quantity")


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order with its lines; its URL is that of the version that was asked."""

    unit_total = serializers.DecimalField(source="total", max_digits=12, decimal_places=2)
    lines = LineSerializer(many=True, required=False)
    url = serializers.SerializerMethodField()

    class Meta:
        model = Order
        fields = ("id", "url", "reference", "placed_at", "unit_total", "state", "version", "lines")
        read_only_fields = ("state", "version")

    def get_url(self, order: Order) -> str:
        return str(self.context["view"].reverse_action("detail", args=[order.customer_id, order.pk]))

    @transaction.atomic
    def create(self, validated_data: dict[str, Any]) -> Order:
        lines = validated_data.pop("lines", [])
        order = super().create(validated_data)
        Line.objects.bulk_create([Line(order=order, **line) for line in lines])
        return order

    def update(self, instance: Order, validated_data: dict[str, Any]) -> Order:
        validated_data.pop("lines", None)
        return super().update(instance, validated_data | {"version": instance.version + 1})


class DocumentSerializer(serializers.ModelSerializer[Document]):
    class Meta:
        model = Document
        fields = ("id", "title", "file")
