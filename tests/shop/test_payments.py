import pytest

from example_project.shop import gateway, orders, payments
from example_project.shop.gateway import Fate
from example_project.shop.models import GatewayCharge, Order, Payment


@pytest.fixture
def placed(alice, tea, reference):
    """Places an order of two, with the fate wanted."""
    return lambda wanted=Fate.APPROVED: orders.place(alice, reference(wanted), [(tea, 2)])


def stock(tea) -> int:
    tea.refresh_from_db()
    return tea.stock


def test_paid_order_has_its_payment(placed, tea):
    order = payments.pay(placed())
    assert order.status == "paid"
    assert (order.payment.amount, order.payment.status) == (order.total, "captured")
    assert stock(tea) == 8


def test_declined_order_gives_its_stock_back(placed, tea):
    order = payments.pay(placed(Fate.DECLINED))
    assert (order.status, order.payment.status) == ("declined", "declined")
    assert stock(tea) == 10


def test_timeout_is_asked_again_and_charged_once(placed):
    assert payments.pay(placed(Fate.SILENT)).status == "paid"
    assert GatewayCharge.objects.count() == 1


def test_gateway_that_stays_silent_leaves_the_order_placed(placed, monkeypatch):
    def silent(*args):
        raise gateway.GatewayTimeout

    monkeypatch.setattr(gateway, "charge", silent)
    order = placed()
    with pytest.raises(gateway.GatewayTimeout):
        payments.pay(order)
    order.refresh_from_db()
    assert order.status == "placed"


def test_worker_that_died_after_the_charge_does_not_charge_again(placed):
    order = placed()
    gateway.charge(order.payment_key, order.total, order.reference)
    assert payments.pay(order).status == "paid"
    assert (GatewayCharge.objects.count(), Payment.objects.count()) == (1, 1)


def test_paying_twice_is_paying_once(placed):
    order = placed()
    payments.pay(order)
    payments.pay(order)
    assert (GatewayCharge.objects.count(), Payment.objects.count()) == (1, 1)


def test_released_order_gives_its_stock_back_once(placed, tea):
    order = placed()
    assert [ended.status for ended in payments.release(order)] == ["canceled"]
    assert [ended.status for ended in payments.release(order)] == ["canceled"]
    assert stock(tea) == 10


def test_released_order_that_was_charged_is_settled_instead(placed, tea):
    order = placed()
    gateway.charge(order.payment_key, order.total, order.reference)
    assert [ended.status for ended in payments.release(order)] == ["paid"]
    assert stock(tea) == 8


def test_order_canceled_while_it_is_charged_gets_its_money_back(placed, monkeypatch):
    order = placed()
    charge = gateway.charge

    def cancel_meanwhile(*args):
        made = charge(*args)
        payments.cancel(Order.objects.get(pk=order.pk))
        return made

    monkeypatch.setattr(gateway, "charge", cancel_meanwhile)
    assert payments.pay(order).status == "canceled"
    assert gateway.find(order.payment_key).state == "refunded"
    assert not Payment.objects.exists()
