"""Measure the admin's pages on the configured database, after `python -m benchmarks.make_jobs`.

    DATABASE_URL=postgres://postgres@127.0.0.1/bench python -m benchmarks.admin_pages

The reader is a member of staff who owns 15 % of all jobs. The statements include those that read the permissions.
Each page is called five times. The figures are the number of statements, the best whole time from request to response,
the best time of the statements, the best CPU time of this process, and the whole time of the first call. A list must
take at most 0.3 s and any other page 0.5 s: a slower page is marked, and the exit code is 1. On a busy machine the
whole time is mostly the time of other programs.
"""

import os
import sys
import time
from typing import Any, NamedTuple

from .make_jobs import setup
from .options import options_parser

LIST = "/admin/async_accept/job/"
#: Seconds that a page may take.
LIST_GOAL, PAGE_GOAL = 0.3, 0.5


class Page(NamedTuple):
    name: str
    url: str
    goal: float


class Figures(NamedTuple):
    """What a page cost; times in seconds."""

    statements: int
    whole: float
    sql: float
    cpu: float
    first: float


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--calls", type=int, default=5, help="calls of each page (default: %(default)s)")
    calls = parser.parse_args().calls
    os.environ["DEBUG"] = "0"
    os.environ["ALLOWED_HOSTS"] = "testserver"
    setup()
    client = _client()
    client.get(LIST)  # templates
    print(
        f"{'page':38}{'statements':>11}{'whole ms':>10}{'SQL ms':>8}{'CPU ms':>8}{'first ms':>10}{'goal ms':>9}"
    )
    slow = 0
    for page in _pages():
        found = _measure(client, page.url, calls)
        whole, sql, cpu, first, goal = (
            round(value * 1000) for value in (found.whole, found.sql, found.cpu, found.first, page.goal)
        )
        too_slow = found.whole > page.goal
        slow += too_slow
        mark = "  too slow" if too_slow else ""
        print(f"{page.name:38}{found.statements:>11}{whole:>10}{sql:>8}{cpu:>8}{first:>10}{goal:>9}{mark}")
    sys.exit(bool(slow))


def staff() -> Any:
    """Return the customer with the most jobs, who becomes a member of staff."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    user = get_user_model()._default_manager.get(username="customer-000")
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="async_accept"))
    return user


def _client() -> Any:
    from django.test import Client

    client = Client()
    client.force_login(staff())
    return client


def _pages() -> list[Page]:
    from async_accept.models import Job

    newest = Job.objects.order_by("-created_at")
    states = ("running", "failed", "succeeded")
    jobs = {state: newest.filter(state=state)[0] for state in states}
    key = newest.filter(idempotency_key__isnull=False)[0].idempotency_key
    live = ",".join(pk.hex for pk in newest.values_list("pk", flat=True)[:50])
    queries = {
        "list": "",
        "list, page 20": "?p=20",
        "list, oldest first": "?o=5",
        "list, all columns": "?columns=all",
        "state: accepted": "?state=accepted",
        "state: running": "?state=running",
        "state: canceling": "?state=canceling",
        "state: succeeded": "?state=succeeded",
        "state: failed": "?state=failed",
        "state: canceled": "?state=canceled",
        "state: not ended": "?state=active",
        "state: at a worker": "?state=leased",
        "state: ended": "?state=ended",
        "attention: any": "?attention=any",
        "attention: waits for too long": "?attention=waiting",
        "attention: worker is silent": "?attention=lost",
        "attention: failed in 24 hours": "?attention=failed",
        "operation: a common one": "?operation=orders.create",
        "operation: a rare one": "?operation=stock.recount",
        "operation and state": "?operation=stock.recount&state=failed",
        "created: past hour": "?created=1h",
        "created: past 24 hours": "?created=24h",
        "created: past 7 days": "?created=7d",
        "owner: mine, 15 % of all": "?mine=1",
        "search: an id": f"?q={jobs['failed'].pk}",
        "search: a key": f"?q=key:{key}",
        "search: an operation": "?q=stock.recount",
        "search: operations by their start": "?q=op:orders",
        "search: an owner of 15 % of all": "?q=owner:customer-000",
        "search: the same by the name alone": "?q=customer-000",
        "search: an owner of few": "?q=owner:customer-399",
        "search: owner and operation": "?q=owner:customer-005+op:stock.recount",
        "search: nothing, by a name": "?q=nobody",
        "search: nothing, by op:": "?q=op:nothing",
        "search: nothing, by key:": "?q=key:nothing",
    }
    lists = [Page(name, LIST + query, LIST_GOAL) for name, query in queries.items()]
    return [
        *lists,
        *(Page(f"one job, {state}", f"{LIST}{job.pk}/change/", PAGE_GOAL) for state, job in jobs.items()),
        Page("live update of 50 rows", f"{LIST}live/?ids={live}", PAGE_GOAL),
        Page("live update of one job", f"{LIST}{jobs['running'].pk}/live/", PAGE_GOAL),
        Page("dashboard, not cached", f"{LIST}dashboard/", PAGE_GOAL),
    ]


def _measure(client: Any, url: str, calls: int) -> Figures:
    from django.core.cache import cache
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    wholes, cpus, sqls = [], [], []
    for _ in range(calls):
        cache.delete("async_accept.admin.statistics")
        whole, cpu = time.perf_counter(), time.process_time()
        with CaptureQueriesContext(connection) as captured:
            response = client.get(url)
        cpus.append(time.process_time() - cpu)
        wholes.append(time.perf_counter() - whole)
        sqls.append(sum(float(query["time"]) for query in captured.captured_queries))
        if response.status_code != 200:
            raise SystemExit(f"{url} answered {response.status_code}.")
    return Figures(len(captured), min(wholes), min(sqls), min(cpus), wholes[0])


if __name__ == "__main__":
    main()
