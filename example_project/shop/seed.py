"""The data of the demo: three accounts, products, and discounts.

The passwords and tokens are fixed, so that the lines in the documentation can be pasted. Everybody knows them.
A second run changes nothing, and does not refill the stock.
"""

from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.db import transaction
from rest_framework.authtoken.models import Token

from .models import DiscountRule, Product

__all__ = ["ACCOUNTS", "Account", "seed"]


@dataclass(frozen=True)
class Account:
    """A demo login."""

    username: str
    token: str
    is_superuser: bool = False

    @property
    def password(self) -> str:
        return f"{self.username}-demo"


ACCOUNTS = (
    Account("alice", "a11ce" * 8),
    Account("bob", "b0b00" * 8),
    Account("admin", "ad317" * 8, is_superuser=True),
)

# SKU, name, price, stock. The last two run out in the sample of 500 orders.
_PRODUCTS = (
    ("BREAD-RYE", "Rye bread", "3.40", 100_000),
    ("COFFEE-250", "Coffee beans, 250 g", "6.90", 100_000),
    ("EGGS-10", "Ten eggs", "3.95", 100_000),
    ("HONEY-500", "Forest honey, 500 g", "8.75", 100_000),
    ("JAM-PLUM", "Plum jam", "4.25", 100_000),
    ("MILK-1L", "Milk, one litre", "1.29", 100_000),
    ("SOAP-LAV", "Lavender soap", "5.10", 100_000),
    ("TEA-ASSAM", "Assam tea, 100 g", "7.20", 100_000),
    ("MUG-BLUE", "Blue mug", "12.50", 24),
    ("LAMP-DESK", "Desk lamp", "49.00", 8),
)

# Name, code, minimum quantity, percent.
_RULES = (
    ("Dozen", None, 12, 5),
    ("Crate", None, 24, 10),
    ("Welcome", "WELCOME10", 1, 10),
    ("Neighbours", "CORNER15", 6, 15),
)


@transaction.atomic
def seed() -> None:
    """Create what does not exist yet."""
    for account in ACCOUNTS:
        _create(account)
    for sku, name, price, stock in _PRODUCTS:
        Product.objects.get_or_create(
            sku=sku, defaults={"name": name, "price": Decimal(price), "stock": stock}
        )
    for name, code, quantity, percent in _RULES:
        DiscountRule.objects.get_or_create(
            name=name, defaults={"code": code, "min_quantity": quantity, "percent": percent}
        )


def _create(account: Account) -> None:
    staff = account.is_superuser
    user, _ = get_user_model().objects.get_or_create(
        username=account.username,
        defaults={"email": f"{account.username}@shop.example", "is_staff": staff, "is_superuser": staff},
    )
    # Setting a password, even the same one, would log everybody out.
    if not user.check_password(account.password):
        user.set_password(account.password)
        user.save(update_fields=["password"])
    Token.objects.filter(user=user).exclude(key=account.token).delete()
    Token.objects.get_or_create(key=account.token, defaults={"user": user})
