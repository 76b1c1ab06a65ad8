"""Products, orders, payments and price lists.

An order goes from `placed` to `paid`, `declined` or `canceled`. If too few are in stock, it is `out_of_stock` from
the start. A placed order has taken its stock. If it ends unpaid, it gives the stock back in the same transaction.
"""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.urls import reverse

__all__ = ["DiscountRule", "GatewayCharge", "Order", "OrderLine", "Payment", "PriceList", "Product"]


class Product(models.Model):
    """A product that the shop sells."""

    sku = models.CharField("SKU", max_length=32, unique=True)
    name = models.CharField("name", max_length=120)
    price = models.DecimalField(
        "price", max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    # How many can still be ordered. Placed and paid orders have taken theirs already.
    stock = models.PositiveIntegerField("stock", default=0)

    class Meta:
        ordering = ["sku"]
        verbose_name = "product"
        verbose_name_plural = "products"

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"


class DiscountRule(models.Model):
    """Some percent off an order line, from a minimum quantity on. With a code, only for customers who give it."""

    name = models.CharField("name", max_length=80, unique=True)
    # None: no code is needed. None and not "", because a unique column can hold None many times.
    code = models.CharField("code", max_length=32, unique=True, null=True, blank=True)
    min_quantity = models.PositiveIntegerField(
        "minimum quantity", default=1, validators=[MinValueValidator(1)]
    )
    percent = models.PositiveSmallIntegerField(
        "percent", validators=[MinValueValidator(1), MaxValueValidator(90)]
    )

    class Meta:
        ordering = ["name"]
        verbose_name = "discount rule"
        verbose_name_plural = "discount rules"

    def __str__(self) -> str:
        return f"{self.name} (-{self.percent} %)"


class Order(models.Model):
    """An order of a customer."""

    class Status(models.TextChoices):
        PLACED = "placed", "placed"
        PAID = "paid", "paid"
        DECLINED = "declined", "declined"
        OUT_OF_STOCK = "out_of_stock", "out of stock"
        CANCELED = "canceled", "canceled"

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="orders",
        verbose_name="customer",
    )
    # The customer's own name of the order. The same reference again means the same order.
    reference = models.CharField("reference", max_length=64)
    status = models.CharField("status", max_length=16, choices=Status.choices, default=Status.PLACED)
    code = models.CharField("discount code", max_length=32, blank=True)
    discount = models.DecimalField("discount", max_digits=12, decimal_places=2, default=Decimal("0.00"))
    total = models.DecimalField("total", max_digits=12, decimal_places=2, default=Decimal("0.00"))
    note = models.CharField("note", max_length=200, blank=True)
    # How often it was placed. A canceled order can be placed again, and is then charged as a new purchase.
    placing = models.PositiveSmallIntegerField("placing", default=1, editable=False)
    created_at = models.DateTimeField("created at", auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "order"
        verbose_name_plural = "orders"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "reference"], name="shop_order_reference_per_customer"
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """Return the order's URL in the API."""
        return reverse("order-detail", args=[self.pk])

    @property
    def payment_key(self) -> str:
        """Return the key of this purchase at the gateway. It is the same on each attempt to pay."""
        return f"order-{self.pk}-{self.placing}"


class OrderLine(models.Model):
    """One product of an order, with its price at that time."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="order_lines", verbose_name="product"
    )
    quantity = models.PositiveIntegerField("quantity", validators=[MinValueValidator(1)])
    unit_price = models.DecimalField("unit price", max_digits=10, decimal_places=2)

    class Meta:
        verbose_name = "order line"
        verbose_name_plural = "order lines"

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"


class Payment(models.Model):
    """The gateway's answer to the charge of an order."""

    class Status(models.TextChoices):
        CAPTURED = "captured", "captured"
        DECLINED = "declined", "declined"

    order = models.OneToOneField(
        Order, on_delete=models.PROTECT, related_name="payment", verbose_name="order"
    )
    idempotency_key = models.CharField("idempotency key", max_length=80, unique=True)
    gateway_id = models.CharField("gateway's id", max_length=40)
    status = models.CharField("status", max_length=16, choices=Status.choices)
    amount = models.DecimalField("amount", max_digits=12, decimal_places=2)
    created_at = models.DateTimeField("created at", auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "payment"
        verbose_name_plural = "payments"

    def __str__(self) -> str:
        return self.gateway_id


class GatewayCharge(models.Model):
    """A charge in the books of the payment gateway. Only the module `gateway` uses it: in real life it is not ours."""

    class State(models.TextChoices):
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"
        REFUNDED = "refunded", "refunded"

    key = models.CharField(max_length=80, unique=True)
    charge_id = models.CharField(max_length=40)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    state = models.CharField(max_length=16, choices=State.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.charge_id


def _remove(storage: Storage, folder: str) -> None:
    for name in ("list.csv", "rejected.csv"):
        storage.delete(f"{folder}/{name}")
    storage.delete(folder)


def price_list_path(instance: "PriceList", filename: str) -> str:
    return f"{instance.folder(instance.attempt)}/{filename}"


class PriceList(models.Model):
    """A supplier's price list: the uploaded file, and what the worker found in it."""

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="price_lists",
        verbose_name="customer",
    )
    # The id of the job that imported it. So a second attempt of the job finds the same list.
    key = models.UUIDField("key", unique=True, editable=False)
    # The client's file name. The storage uses names of our own.
    name = models.CharField("name", max_length=200)
    size_bytes = models.PositiveBigIntegerField("size in bytes")
    sha256 = models.CharField("SHA-256", max_length=64)
    lines = models.PositiveIntegerField("lines")
    rejected = models.PositiveIntegerField("rejected lines")
    first_rejects = models.JSONField("first rejected lines", default=list)
    offers = models.JSONField("offers for what we sell", default=list)
    file = models.FileField("file", upload_to=price_list_path)
    report = models.FileField("report of rejected lines", upload_to=price_list_path, blank=True)
    created_at = models.DateTimeField("created at", auto_now_add=True)

    #: The attempt of the job that stores the files. Not a column.
    attempt = 1

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "price list"
        verbose_name_plural = "price lists"

    def __str__(self) -> str:
        return self.name

    def folder(self, attempt: int) -> str:
        """Return the folder in the storage for the files of that attempt."""
        return f"price-lists/{self.key.hex}-{attempt}"

    def store(self, attempt: int, file: "File[Any]", report: "File[Any] | None") -> None:
        """Write the files to the storage. Does not save the row."""
        self.attempt = attempt
        self.file.save("list.csv", file, save=False)
        if report is not None:
            self.report.save("rejected.csv", report, save=False)

    def discard(self, attempt: int) -> None:
        """Delete the files that the attempt stored, if there are any."""
        _remove(self.file.storage, self.folder(attempt))

    def columns(self) -> dict[str, Any]:
        """Return the values of all columns except `id` and `key`."""
        fields = (field for field in self._meta.concrete_fields if field.name not in {"id", "key"})
        return {field.attname: getattr(self, field.attname) for field in fields}

    def delete_with_files(self) -> None:
        """Delete the row, and after the commit its files."""
        storage, folder = self.file.storage, str(self.file.name).rpartition("/")[0]
        self.delete()
        transaction.on_commit(lambda: _remove(storage, folder))
