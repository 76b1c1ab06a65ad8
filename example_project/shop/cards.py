"""The cards of the home page: what each sends, where, and the code behind it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import Any

from django.conf import settings
from django.urls import reverse

from . import price_lists, tasks, views

__all__ = ["CARDS", "Card", "shown_columns"]


@dataclass(frozen=True)
class Card:
    """A kind of slow request."""

    name: str
    title: str
    operation: str
    url_name: str
    #: What does it, as functions: they are shown as they are.
    functions: tuple[Callable[..., Any], ...]
    has_outcome: bool = True

    @property
    def code(self) -> str:
        return "\n\n".join(map(_source, self.functions))

    @property
    def api_url(self) -> str:
        return reverse(self.url_name)

    @property
    def template(self) -> str:
        """The fields and buttons of its form."""
        return f"shop/cards/{self.name}.html"

    @property
    def outcome_template(self) -> str:
        """What came out."""
        return f"shop/outcomes/{self.name}.html"


@cache
def _source(function: Callable[..., Any]) -> str:
    return dedent(inspect.getsource(function)).rstrip()


CARDS = {
    card.name: card
    for card in (
        Card(
            "bulk",
            "Bulk orders",
            "orders.bulk",
            "order-bulk",
            (views.OrderViewSet.bulk, tasks.fulfil_orders.run),
        ),
        Card(
            "import",
            "Large file",
            "imports.create",
            "import-list",
            (views.PriceListViewSet.perform_create, price_lists.take_in),
        ),
        Card(
            "report",
            "Long report",
            "reports.create",
            "report",
            (views.ReportView.post, tasks.build_report.run),
        ),
        Card(
            "order",
            "One order",
            "orders.create",
            "order-list",
            (views.OrderViewSet.perform_create,),
        ),
        Card(
            "trouble",
            "Troublemaker",
            "trouble.create",
            "trouble",
            (views.TroubleView.post, tasks.stumble.run),
            has_outcome=False,
        ),
    )
}


def shown_columns() -> list[list[Card]]:
    """The cards of this shop in two columns, and a bar below them: the troublemaker, where TROUBLEMAKER says so."""
    columns = (("bulk", "report"), ("import", "order"), ("trouble",) if settings.TROUBLEMAKER else ())
    return [[CARDS[name] for name in column] for column in columns if column]
