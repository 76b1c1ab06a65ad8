"""The dashboard: the figures of jobs, formatted for people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from ..querysets import JobQuerySet
from ..states import State
from .cells import NOTHING
from .charts import hourly_chart
from .formatting import duration, number_up_to
from .statistics import COUNT_CAP, figures

__all__ = ["dashboard_context"]


def dashboard_context(shown: JobQuerySet, url: Callable[..., str]) -> dict[str, Any]:
    """Return the context of the dashboard's template. Each figure links to the list of exactly the jobs that it counts.

    Args:
        shown: the jobs that the list may show.
        url: returns the URL of a page of jobs, given its name and arguments.
    """
    found = figures(shown)
    jobs = url("changelist")
    oldest = url("change", found["oldest"]) if found["oldest"] else ""
    return {
        "figures": found,
        "cards": [
            _card(_("Waiting"), _count(found["waiting"]), "waiting", _narrowed(jobs, state=State.ACCEPTED)),
            _card(_("Running"), _count(found["running"]), "busy", _narrowed(jobs, state="leased")),
            _card(
                _("Failed in 24 hours"), _count(found["failed"]), "bad", _narrowed(jobs, attention="failed")
            ),
            _card(_("Longest waiting"), _span(found["longest"]), "waiting", oldest),
        ],
        "times": [
            (_("Wait"), _span(found["wait_p50"]), _span(found["wait_p95"])),
            (_("Run"), _span(found["run_p50"]), _span(found["run_p95"])),
        ],
        "failing": [
            {**row, "url": _narrowed(jobs, operation=row["operation"], attention="failed")}
            for row in found["failing"]
        ],
        "chart": hourly_chart(found["hours"]),
    }


def _card(label: str, value: str, tone: str, url: str) -> dict[str, str]:
    return {"label": label, "value": value, "tone": tone, "url": url}


def _narrowed(url: str, **filters: str) -> str:
    return f"{url}?{urlencode(filters)}"


def _count(value: int) -> str:
    return number_up_to(value, COUNT_CAP)


def _span(value: timedelta | None) -> str:
    return NOTHING if value is None else duration(value)
