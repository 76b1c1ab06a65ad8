"""What staff see and do: never a secret, a body or a whole URL."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from async_accept.testing import make_job
from async_accept.webhooks.models import Delivery, Endpoint
from tests.webhooks.conftest import send_due
from tests.webhooks.receiver import answer

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/async_accept_webhooks/delivery/"
ENDPOINTS = "/admin/async_accept_webhooks/endpoint/"
#: How each row of the list begins.
ROW = '<code dir="ltr">msg_'
STATES = ("waiting", "sending", "delivered", "failed", "held", "dropped")


@pytest.fixture
def rows(endpoint, alice):
    """One delivery in each state."""
    job = make_job(owner=alice, state="running")
    for state in STATES:
        Delivery.objects.create(
            endpoint=endpoint, host="127.0.0.1", event="job.failed", state=state, job_id=job.pk, body="b0dy"
        )
    return {row.state: row for row in Delivery.objects.all()}


def read(client, url):
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_pages_show_no_secret(boss, rows, endpoint):
    endpoint.rotate()
    endpoint.refresh_from_db()
    pages = [
        DELIVERIES,
        ENDPOINTS,
        f"{ENDPOINTS}{endpoint.pk}/change/",
        f"{DELIVERIES}{rows['failed'].pk}/change/",
    ]
    for url in pages:
        html = read(boss, url)
        assert str(endpoint.pk) in html or rows["failed"].webhook_id in html
        for hidden in (endpoint.secret, endpoint.previous_secret, "whsec_", "b0dy", "/hook"):
            assert hidden not in html, url


def test_lists_cost_few_statements(boss, rows):
    for url in (
        DELIVERIES,
        ENDPOINTS,
        f"{DELIVERIES}?state=failed&created=24h",
        f"{ENDPOINTS}?enabled=failing",
    ):
        with CaptureQueriesContext(connection) as queries:
            read(boss, url)
        assert len(queries) <= 6, [query["sql"] for query in queries]


def test_search_and_filters(boss, rows, endpoint):
    one = rows["failed"]
    for word, count in [(one.webhook_id, 1), (one.pk, 1), (one.job_id, 6), (endpoint.pk, 6), ("nonsense", 0)]:
        assert read(boss, f"{DELIVERIES}?q={word}").count(ROW) == count, word
    for state in STATES:
        assert read(boss, f"{DELIVERIES}?state={state}").count(ROW) == 1
    assert read(boss, f"{ENDPOINTS}?enabled=0").count(str(endpoint.pk)) == 0
    assert boss.get(f"{DELIVERIES}?endpoint__secret__startswith=w").status_code in (302, 400)


def test_resend_asks_first_and_is_logged(boss, rows, endpoint, receiver):
    chosen = {"action": "resend", "_selected_action": [str(row.pk) for row in rows.values()]}
    html = boss.post(DELIVERIES, chosen).content.decode()
    assert "Send 2 deliveries again?" in html
    assert LogEntry.objects.count() == 0
    boss.post(DELIVERIES, {**chosen, "confirmed": "yes"})
    assert Delivery.objects.filter(state="waiting").count() == 3
    assert LogEntry.objects.count() == 2
    assert send_due() == 2  # the third one has no time yet
    assert sorted(receiver.ids) == sorted(rows[state].webhook_id for state in ("failed", "held"))


def test_disable_and_enable(boss, endpoint):
    chosen = {"action": "disable", "_selected_action": [str(endpoint.pk)], "confirmed": "yes"}
    boss.post(ENDPOINTS, chosen)
    assert Endpoint.objects.get().disabled_by == "staff"
    html = boss.post(ENDPOINTS, {**chosen, "confirmed": ""}).content.decode()
    assert "none of the chosen rows" in html
    boss.post(ENDPOINTS, {**chosen, "action": "enable"})
    assert Endpoint.objects.get().disabled_at is None


def test_each_thing_needs_its_permission(rows, endpoint, alice, django_user_model):
    staff = django_user_model.objects.create(username="staff", is_staff=True)
    client = Client()
    client.force_login(staff)
    assert client.get(DELIVERIES).status_code == 403
    views = Permission.objects.filter(codename__in=["view_delivery", "view_endpoint", "view_job"])
    staff.user_permissions.set(views)
    assert "resend" not in read(client, DELIVERIES)
    for url, action in ((DELIVERIES, "resend"), (ENDPOINTS, "disable")):
        pk = rows["failed"].pk if action == "resend" else endpoint.pk
        client.post(url, {"action": action, "_selected_action": [str(pk)], "confirmed": "yes"})
    assert Endpoint.objects.get().disabled_at is None
    assert Delivery.objects.filter(state="failed").count() == 1
    assert client.get(f"{ENDPOINTS}add/").status_code == 403
    assert client.post(f"{ENDPOINTS}{endpoint.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_page_of_a_job_has_its_deliveries(boss, endpoint, receiver, alice, django_user_model):
    job = make_job(owner=alice, state="succeeded")
    receiver.behave = answer(503)
    send_due()
    url = f"/admin/async_accept/job/{job.pk}/change/"
    html = read(boss, url)
    assert "Webhook deliveries" in html
    assert "5xx" in html
    assert f"{DELIVERIES}{Delivery.objects.get().pk}/change/" in html
    staff = django_user_model.objects.create(username="staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_job"))
    client = Client()
    client.force_login(staff)
    assert "Webhook deliveries" not in read(client, url)


def test_a_deleted_endpoint_is_on_no_page(boss, endpoint):
    endpoint.forget()
    assert str(endpoint.pk) not in read(boss, ENDPOINTS)
