from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from example_project.shop import inventory
from example_project.shop.models import Order, Product


def stock(product: Product) -> int:
    return Product.objects.get(pk=product.pk).stock


def test_taken_stock_is_gone(tea):
    with transaction.atomic():
        inventory.take([(tea, 4)])
    assert stock(tea) == 6


def test_too_much_is_refused_with_what_is_left(tea):
    with pytest.raises(inventory.OutOfStock, match="11 asked for, 10 left"), transaction.atomic():
        inventory.take([(tea, 11)])


def test_several_products_are_taken_all_or_none(tea):
    rare = Product.objects.create(sku="RARE", name="Rare", price="9", stock=0)
    with pytest.raises(inventory.OutOfStock), transaction.atomic():
        inventory.take([(tea, 1), (rare, 1)])
    assert stock(tea) == 10


def test_given_back_stock_is_there_again(alice, tea):
    order = Order.objects.create(customer=alice, reference="A")
    order.lines.create(product=tea, quantity=3, unit_price=tea.price)
    inventory.give_back(order)
    assert stock(tea) == 13


@pytest.mark.django_db(transaction=True)
def test_the_last_pieces_are_sold_once(tea):
    def buy(_: int) -> bool:
        try:
            with transaction.atomic():
                inventory.take([(tea, 4)])
        except inventory.OutOfStock:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as buyers:
        sold = sum(buyers.map(buy, range(4)))
    assert (sold, stock(tea)) == (2, 2)
