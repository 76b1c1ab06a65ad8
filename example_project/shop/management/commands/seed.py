"""`manage.py seed`: create the data of the demo."""

from typing import Any

from django.core.management.base import BaseCommand

from example_project.shop.seed import ACCOUNTS, seed


class Command(BaseCommand):
    """Create the accounts, products and discounts that do not exist yet."""

    help = "Create the demo's accounts, whose passwords everybody knows, its products and its discounts."

    def handle(self, *args: Any, **options: Any) -> None:
        seed()
        names = ", ".join(f"{account.username} / {account.password}" for account in ACCOUNTS)
        self.stdout.write(f"Accounts: {names}")
