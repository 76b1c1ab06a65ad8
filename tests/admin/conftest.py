from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from async_accept.models import Job

LIST = "/admin/async_accept/job/"
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def cold_caches() -> Callable[[], None]:
    def forget() -> None:
        cache.clear()
        ContentType.objects.clear_cache()

    forget()
    return forget


@pytest.fixture
def staff(django_user_model) -> Callable[..., Client]:
    """Make a browser of a staff user who has these permissions, and may view jobs."""
    numbers = count(1)

    def make(*codenames: str, may_view: bool = True, **options) -> Client:
        user = django_user_model.objects.create_user(f"staff{next(numbers)}", is_staff=True)
        names = {*codenames, "view_job"} if may_view else set(codenames)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client(**options)
        client.force_login(user)
        return client

    return make


def change(job: Job) -> str:
    return f"{LIST}{job.pk}/change/"


def page(client: Client, what: str | Job = LIST) -> str:
    """Return the page at a URL, or that of a job."""
    response = client.get(change(what) if isinstance(what, Job) else what)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, query: str = "") -> list[Job]:
    """Return the jobs of a page of the list."""
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return list(response.context["cl"].result_list)


def statements(client: Client, url: str) -> int:
    """Return how many SQL statements a page costs."""
    with CaptureQueriesContext(connection) as captured:
        page(client, url)
    return len(captured)


def post(
    client: Client, action: str, *jobs: Job, confirmed: bool = True, query: str = "", **more: Any
) -> Any:
    """Send what the form of the list sends for these jobs."""
    data = {"action": action, "_selected_action": [str(job.pk) for job in jobs], **more}
    if confirmed:
        data["confirmed"] = "yes"
    return client.post(LIST + query, data)
