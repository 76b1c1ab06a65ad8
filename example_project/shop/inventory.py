"""Take stock, and give it back.

`SELECT … FOR UPDATE` locks the row of the product. SQLite has no such lock; there the conditional UPDATE alone decides.
Both run in the caller's transaction. Keep it short: until it ends, everybody else who orders this product waits.
"""

from collections.abc import Iterable

from django.db.models import F, Sum

from .models import Order, OrderLine, Product

__all__ = ["OutOfStock", "give_back", "take"]


class OutOfStock(Exception):
    """There are fewer in stock than were ordered."""

    def __init__(self, product: Product, asked: int) -> None:
        self.product, self.asked = product, asked
        super().__init__(f"{product.name}: {asked} asked for, {product.stock} left")


def take(wanted: Iterable[tuple[Product, int]]) -> None:
    """Take these quantities from the stock. The caller's transaction must be rolled back if this raises.

    Products are locked in the order of their keys, so that two orders never wait for each other (a deadlock).

    Raises:
        OutOfStock: too few of a product are left.
    """
    for product, quantity in sorted(wanted, key=lambda pair: pair[0].pk):
        locked = Product.objects.select_for_update().get(pk=product.pk)
        taken = Product.objects.filter(pk=product.pk, stock__gte=quantity).update(stock=F("stock") - quantity)
        if not taken:
            raise OutOfStock(locked, quantity)


def give_back(*orders: Order) -> None:
    """Give back the stock of these orders, in the caller's transaction. Locks in the same order as `take()`."""
    lines = OrderLine.objects.filter(order__in=orders).values("product_id").order_by("product_id")
    for product, quantity in lines.annotate(taken=Sum("quantity")).values_list("product_id", "taken"):
        Product.objects.filter(pk=product).update(stock=F("stock") + quantity)
