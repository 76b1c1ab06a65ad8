import csv
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from example_project.shop import apps
from example_project.shop.models import DiscountRule, Product
from example_project.shop.seed import ACCOUNTS, seed

pytestmark = pytest.mark.django_db

SAMPLE = Path(apps.__file__).parent / "static" / "shop" / "orders-500.csv"


@pytest.fixture
def sample() -> list[dict]:
    with SAMPLE.open(newline="") as file:
        return [{**row, "quantity": int(row["quantity"])} for row in csv.DictReader(file)]


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.username)
def test_accounts_can_log_in_by_password_and_token(account):
    seed()
    user = User.objects.get(username=account.username)
    assert user.check_password(account.password)
    assert Token.objects.get(user=user).key == account.token
    assert user.is_superuser == (account.username == "admin")


@pytest.mark.urls("example_project.urls")
def test_token_opens_the_api():
    seed()
    client = APIClient(headers={"Authorization": f"Token {ACCOUNTS[0].token}"})
    assert client.get("/api/products/TEA-ASSAM/").data["name"] == "Assam tea, 100 g"


def test_seeding_again_changes_nothing():
    call_command("seed")
    Product.objects.filter(sku="MUG-BLUE").update(stock=1)
    before = list(User.objects.order_by("pk").values_list("pk", "password"))
    call_command("seed")
    assert list(User.objects.order_by("pk").values_list("pk", "password")) == before
    assert Product.objects.get(sku="MUG-BLUE").stock == 1


def test_sample_names_only_what_the_shop_has(sample):
    seed()
    assert len({row["reference"] for row in sample}) == len(sample) == 500
    assert {row["sku"] for row in sample} <= set(Product.objects.values_list("sku", flat=True))
    assert {row["code"] for row in sample} - {""} <= set(DiscountRule.objects.values_list("code", flat=True))
