"""The cards of the home page."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import Any

from django.conf import settings
from django.urls import reverse

from . import price_lists, tasks, views

__all__ = ["CARDS", "Card", "shown_columns", "source"]


@dataclass(frozen=True)
class Card:
    """A kind of slow request: its form, its URL in the API, and the code behind it."""

    name: str
    title: str
    operation: str
    url_name: str
    #: The functions that do the work. The card shows their source.
    functions: tuple[Callable[..., Any], ...]
    #: Whether the card shows the result of its job.
    has_result: bool = True

    @property
    def code(self) -> str:
        return "\n\n".join(map(source, self.functions))

    @property
    def api_url(self) -> str:
        return reverse(self.url_name)

    @property
    def template(self) -> str:
        """Return the template with the fields and buttons of the form."""
        return f"shop/cards/{self.name}.html"

    @property
    def result_template(self) -> str:
        """Return the template that shows a result."""
        return f"shop/results/{self.name}.html"


@cache
def source(function: Callable[..., Any]) -> str:
    """Return the source of a function or class, to show it."""
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
            (views.PriceListViewSet.perform_create, price_lists.import_list),
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
            (views.TroubleView.post, tasks.make_trouble.run),
            has_result=False,
        ),
    )
}


def shown_columns() -> list[list[Card]]:
    """Return the cards in two columns, and below them, in a row of its own, the troublemaker if it is on."""
    columns = (("bulk", "report"), ("import", "order"), ("trouble",) if settings.TROUBLEMAKER else ())
    return [[CARDS[name] for name in column] for column in columns if column]
