"""Stock: taken and given back under a lock on the product's row.

`SELECT … FOR UPDATE` holds the row where the database has it; where it has not (SQLite) Django leaves it
out, and the conditional UPDATE alone decides. Both run in the caller's transaction, which should be short:
everybody else who wants this product waits for its end.
"""

from collections.abc import Iterable

from django.db.models import F, Sum

from .models import Order, OrderLine, Product

__all__ = ["OutOfStock", "give_back", "take"]


class OutOfStock(Exception):
    """Fewer are left than were asked for."""

    def __init__(self, product: Product, asked: int) -> None:
        self.product, self.asked = product, asked
        super().__init__(f"{product.name}: {asked} asked for, {product.stock} left")


def take(wanted: Iterable[tuple[Product, int]]) -> None:
    """Take these quantities off the shelf, all or (when the caller's transaction ends) none.

    Products are locked in the order of their keys, so that two orders never wait for each other in a circle.

    Raises: OutOfStock for the first product of which too little is left.
    """
    for product, quantity in sorted(wanted, key=lambda pair: pair[0].pk):
        locked = Product.objects.select_for_update().get(pk=product.pk)
        taken = Product.objects.filter(pk=product.pk, stock__gte=quantity).update(stock=F("stock") - quantity)
        if not taken:
            raise OutOfStock(locked, quantity)


def give_back(*orders: Order) -> None:
    """Put everything that the orders took back on the shelf, in the order of `take`; in the caller's transaction."""
    lines = OrderLine.objects.filter(order__in=orders).values("product_id").order_by("product_id")
    for product, quantity in lines.annotate(taken=Sum("quantity")).values_list("product_id", "taken"):
        Product.objects.filter(pk=product).update(stock=F("stock") + quantity)
