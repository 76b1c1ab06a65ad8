from decimal import Decimal

import pytest

from example_project.shop import gateway
from example_project.shop.gateway import Fate
from example_project.shop.models import GatewayCharge

pytestmark = pytest.mark.django_db

TEN = Decimal("10.00")


def test_a_reference_always_has_the_same_fate(reference):
    for wanted in Fate:
        name = reference(wanted)
        assert {gateway.fate(name) for _ in range(5)} == {wanted}


def test_one_key_is_charged_once(reference):
    name = reference(Fate.APPROVED)
    first = gateway.charge("key", TEN, name)
    assert gateway.charge("key", TEN, name) == first
    assert GatewayCharge.objects.count() == 1


def test_declined_stays_declined(reference):
    name = reference(Fate.DECLINED)
    states = {gateway.charge("key", TEN, name).state for _ in range(2)}
    assert states == {"declined"}


def test_the_call_after_a_timeout_finds_the_charge(reference):
    name = reference(Fate.SILENT)
    with pytest.raises(gateway.GatewayTimeout):
        gateway.charge("key", TEN, name)
    assert gateway.charge("key", TEN, name).state == "approved"
    assert GatewayCharge.objects.count() == 1


def test_a_declined_charge_is_not_refunded(reference):
    gateway.charge("key", TEN, reference(Fate.DECLINED))
    gateway.refund("key")
    assert gateway.find("key").state == "declined"
