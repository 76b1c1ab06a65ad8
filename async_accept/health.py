"""Health: whether each active job has something that acts on it. Views, and the question that they ask.

``path("health/", include("async_accept.health"))`` mounts two of them. ``live/`` answers as long as the process does,
and asks nobody. ``ready/`` is red exactly while a job is stalled: its time has passed, and neither a worker nor a relay
acts on it. Whether the broker works is not asked: it may be away for a while, and no 202 is broken.
"""

from typing import NamedTuple

from django.db import Error
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from .http.monitoring import for_monitoring, public
from .models import Job, database_now

__all__ = ["Health", "app_name", "examine", "live", "ready", "urlpatterns"]

#: Stalled jobs are counted up to here.
MOST = 1_000


class Health(NamedTuple):
    """What is known of the jobs; all but ``ok`` is None if the database does not answer."""

    ok: bool
    #: How many active jobs are stalled, counted up to ``MOST``.
    stalled: int | None = None
    #: How many seconds the time of the one that is stalled for the longest is past; 0 if none is.
    overdue_seconds: float | None = None


def examine() -> Health:
    """Ask the database once, by two short ranges of indexes, whether a job is stalled."""
    try:
        found = (
            Job.objects.stalled()
            .order_by()[:MOST]
            .aggregate(stalled=Count("pk"), due=Min("dispatch_at"), leased=Min("lease_until"))
        )
    except Error:
        return Health(ok=False)
    since = min((time for time in (found["due"], found["leased"]) if time is not None), default=None)
    overdue = 0.0 if since is None else round((database_now() - since).total_seconds(), 3)
    return Health(not found["stalled"], found["stalled"], overdue)


@public
def live(request: HttpRequest) -> HttpResponse:
    """Answer 200: this process answers."""
    return JsonResponse({"ok": True})


@for_monitoring
def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 if no job is stalled, else 503; the body is what ``manage.py async_accept health --json`` prints."""
    health = examine()
    return JsonResponse(health._asdict(), status=200 if health.ok else 503)


app_name = "async_accept_health"
urlpatterns = [path("live/", live, name="live"), path("ready/", ready, name="ready")]
