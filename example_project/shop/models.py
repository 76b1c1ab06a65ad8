"""What the shop knows.

An order moves `placed → paid | declined | canceled`, or is `out_of_stock` from the start. Stock belongs to
an order from the moment it is placed, so an order that ends unpaid gives it back in the same transaction.
"""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

__all__ = ["DiscountRule", "GatewayCharge", "Order", "OrderLine", "Payment", "PriceList", "Product"]


class Product(models.Model):
    """Something on the shelf."""

    sku = models.CharField(_("SKU"), max_length=32, unique=True)
    name = models.CharField(_("name"), max_length=120)
    price = models.DecimalField(
        _("price"), max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    # What can still be ordered: stock of placed and paid orders is already taken off.
    stock = models.PositiveIntegerField(_("stock"), default=0)

    class Meta:
        ordering = ["sku"]
        verbose_name = _("product")
        verbose_name_plural = _("products")

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"


class DiscountRule(models.Model):
    """A percentage off a line, from a quantity on, for everybody or for those who know the code."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    # None: no code is needed. Null rather than empty, so that a plain unique index does on each database.
    code = models.CharField(_("code"), max_length=32, unique=True, null=True, blank=True)
    min_quantity = models.PositiveIntegerField(
        _("minimum quantity"), default=1, validators=[MinValueValidator(1)]
    )
    percent = models.PositiveSmallIntegerField(
        _("percent"), validators=[MinValueValidator(1), MaxValueValidator(90)]
    )

    class Meta:
        ordering = ["name"]
        verbose_name = _("discount rule")
        verbose_name_plural = _("discount rules")

    def __str__(self) -> str:
        return f"{self.name} (-{self.percent} %)"


class Order(models.Model):
    """What a customer asked for under a reference of their own."""

    class Status(models.TextChoices):
        PLACED = "placed", _("placed")
        PAID = "paid", _("paid")
        DECLINED = "declined", _("declined")
        OUT_OF_STOCK = "out_of_stock", _("out of stock")
        CANCELED = "canceled", _("canceled")

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="orders",
        verbose_name=_("customer"),
    )
    # The customer's own word for it: asking twice under one reference is asking once.
    reference = models.CharField(_("reference"), max_length=64)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PLACED)
    code = models.CharField(_("discount code"), max_length=32, blank=True)
    discount = models.DecimalField(_("discount"), max_digits=12, decimal_places=2, default=Decimal("0.00"))
    total = models.DecimalField(_("total"), max_digits=12, decimal_places=2, default=Decimal("0.00"))
    note = models.CharField(_("note"), max_length=200, blank=True)
    # How often it was placed: a canceled order that is sent again is a new purchase to the gateway.
    placing = models.PositiveSmallIntegerField(_("placing"), default=1, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "reference"], name="shop_order_reference_per_customer"
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """The order in the API."""
        return reverse("order-detail", args=[self.pk])

    @property
    def payment_key(self) -> str:
        """What the gateway knows this purchase by: the same on each attempt to pay it."""
        return f"order-{self.pk}-{self.placing}"


class OrderLine(models.Model):
    """One product of an order, at the price of the day."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="order_lines", verbose_name=_("product")
    )
    quantity = models.PositiveIntegerField(_("quantity"), validators=[MinValueValidator(1)])
    unit_price = models.DecimalField(_("unit price"), max_digits=10, decimal_places=2)

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"


class Payment(models.Model):
    """What became of charging an order."""

    class Status(models.TextChoices):
        CAPTURED = "captured", _("captured")
        DECLINED = "declined", _("declined")

    order = models.OneToOneField(
        Order, on_delete=models.PROTECT, related_name="payment", verbose_name=_("order")
    )
    idempotency_key = models.CharField(_("idempotency key"), max_length=80, unique=True)
    gateway_id = models.CharField(_("gateway's id"), max_length=40)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("payment")
        verbose_name_plural = _("payments")

    def __str__(self) -> str:
        return self.gateway_id


class GatewayCharge(models.Model):
    """A row in the books of the payment gateway, which is somebody else: only `gateway` touches it."""

    class State(models.TextChoices):
        APPROVED = "approved", _("approved")
        DECLINED = "declined", _("declined")
        REFUNDED = "refunded", _("refunded")

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
    """A supplier's price list as it was sent in, with what was found in it."""

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="price_lists",
        verbose_name=_("customer"),
    )
    # The job that took it in: each of its attempts finds the same list.
    key = models.UUIDField(_("key"), unique=True, editable=False)
    # What the client called it is data; the storage has names of our own.
    name = models.CharField(_("name"), max_length=200)
    size_bytes = models.PositiveBigIntegerField(_("size in bytes"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    lines = models.PositiveIntegerField(_("lines"))
    rejected = models.PositiveIntegerField(_("rejected lines"))
    first_rejects = models.JSONField(_("first rejected lines"), default=list)
    offers = models.JSONField(_("offers for what we sell"), default=list)
    file = models.FileField(_("file"), upload_to=price_list_path)
    report = models.FileField(_("report of rejected lines"), upload_to=price_list_path, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    #: Which attempt of its job stores it; not a column.
    attempt = 1

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("price list")
        verbose_name_plural = _("price lists")

    def __str__(self) -> str:
        return self.name

    def folder(self, attempt: int) -> str:
        """Where that attempt keeps its files in the storage."""
        return f"price-lists/{self.key.hex}-{attempt}"

    def store(self, attempt: int, file: "File[Any]", report: "File[Any] | None") -> None:
        """Write the files to the storage; the row is not saved."""
        self.attempt = attempt
        self.file.save("list.csv", file, save=False)
        if report is not None:
            self.report.save("rejected.csv", report, save=False)

    def discard(self, attempt: int) -> None:
        """Remove what that attempt has stored, if anything."""
        _remove(self.file.storage, self.folder(attempt))

    def columns(self) -> dict[str, Any]:
        """Everything but the two keys."""
        fields = (field for field in self._meta.concrete_fields if field.name not in {"id", "key"})
        return {field.attname: getattr(self, field.attname) for field in fields}

    def delete_with_files(self) -> None:
        """Delete the row, and its files after the commit."""
        storage, folder = self.file.storage, str(self.file.name).rpartition("/")[0]
        self.delete()
        transaction.on_commit(lambda: _remove(storage, folder))
