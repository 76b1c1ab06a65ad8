"""The world in which both twins get their request: the same rows and files each time, with the same keys."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management.color import no_style
from django.db import connections, transaction

from tests.conftest import PERMANENT
from tests.foreign.company.models import ApiKey, Customer, Grant, Line, Order, User

MODELS = [*apps.get_app_config("company").get_models(), *apps.get_app_config("ledger").get_models()]
ALICE, BOB, CAROL = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "123")
PASSWORD = "open sesame"
HASHED = make_password(PASSWORD)


def make() -> None:
    """Make the world anew, whatever there was."""
    for alias in settings.DATABASES:
        _empty(connections[alias])
    shutil.rmtree(settings.MEDIA_ROOT, ignore_errors=True)
    # Alice and Carol are of one team; Bob was granted something.
    users = [
        User(pk=pk, email=f"{name}@shop.example", password=HASHED, team=team)
        for pk, name, team in ((ALICE, "alice", "sales"), (BOB, "bob", ""), (CAROL, "carol", "sales"))
    ]
    User.objects.bulk_create(users)
    ApiKey.objects.bulk_create(
        ApiKey(key=f"key-of-{user.email.partition('@')[0]}", user=user) for user in users
    )
    Customer.objects.create(name="Tea House", tenant="public")
    Customer.objects.create(name="Acme", tenant="acme")
    for number, state in enumerate(("new", "approved", "closed"), 1):
        columns = {"reference": f"A-{number}", "state": state, "total": "14.40", "version": number}
        Order.objects.create(customer_id=1, owner_id=ALICE, **columns)
    orders = range(1, 4)
    Line.objects.bulk_create(
        Line(order_id=order, sku=sku, quantity=order) for order in orders for sku in ("TEA", "CUP")
    )
    Grant.objects.bulk_create(
        Grant(user_id=BOB, order_id=order, permission="change_order") for order in orders
    )


def _empty(connection: Any) -> None:
    with (
        transaction.atomic(connection.alias),
        connection.constraint_checks_disabled(),
        connection.cursor() as cursor,
    ):
        for statement in _emptying(connection.alias):
            cursor.execute(statement)


@cache
def _emptying(alias: str) -> list[str]:
    """Return the SQL that empties the tables of a database, and begins the company's keys anew.

    Rows are deleted: for a few of them that is much quicker than truncating.
    """
    connection = connections[alias]
    tables = set(connection.introspection.django_table_names(only_existing=True)) - PERMANENT
    own = tables & {model._meta.db_table for model in MODELS}
    keys = [sequence for sequence in connection.introspection.sequence_list() if sequence["table"] in own]
    return [
        *(f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(tables)),
        *connection.ops.sequence_reset_by_name_sql(no_style(), keys),
    ]


def rows() -> dict[str, list[Any]]:
    """Return what is in both databases, and the files in the storage."""
    found: dict[str, list[Any]] = {
        model.__name__: list(model._base_manager.order_by("pk").values()) for model in MODELS
    }
    for user in found["User"]:
        del user["last_login"]  # by the clock
    root = Path(settings.MEDIA_ROOT)
    found["files"] = sorted(
        (str(path.relative_to(root)), path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and "async_accept" not in path.parts
    )
    return found
