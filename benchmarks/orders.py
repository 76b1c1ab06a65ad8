"""What both projects do: they take an order of 1 KB, and a worker sums it up."""

import json
from decimal import Decimal
from typing import Any

from rest_framework import serializers


class LineSerializer(serializers.Serializer):
    sku = serializers.CharField(max_length=40)
    quantity = serializers.IntegerField(min_value=1, max_value=999)
    price = serializers.DecimalField(max_digits=9, decimal_places=2)


class OrderSerializer(serializers.Serializer):
    reference = serializers.CharField(max_length=40)
    email = serializers.EmailField()
    note = serializers.CharField(max_length=500)
    lines = LineSerializer(many=True, allow_empty=False)


def summary(lines: list[dict[str, Any]]) -> dict[str, str]:
    total = sum((Decimal(line["price"]) * line["quantity"] for line in lines), Decimal())
    return {"lines": str(len(lines)), "total": str(total)}


def _body() -> bytes:
    lines = [{"sku": f"TEA-ASSAM-{n:04}", "quantity": n + 1, "price": "12.50"} for n in range(10)]
    order = {"reference": "W-58B00A30F9A3", "email": "alice@shop.example", "note": "", "lines": lines}
    short = len(json.dumps(order))
    return json.dumps({**order, "note": "x" * (1024 - short)}).encode()


#: An order of exactly 1 KB.
BODY = _body()
