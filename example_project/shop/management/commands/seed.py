"""`manage.py seed`: fill the shop for a demo."""

from typing import Any

from django.core.management.base import BaseCommand

from example_project.shop.seed import ACCOUNTS, seed


class Command(BaseCommand):
    """Create the demo accounts, the products and the discounts, where they are missing."""

    help = "Create the demo accounts (with passwords that everybody knows), products and discounts."

    def handle(self, *args: Any, **options: Any) -> None:
        seed()
        names = ", ".join(f"{account.username} / {account.password}" for account in ACCOUNTS)
        self.stdout.write(f"Accounts: {names}")
