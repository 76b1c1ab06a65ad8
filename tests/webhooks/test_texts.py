"""No page of webhooks in the admin has a text of ours that nobody can translate."""

import re

import pytest

from async_accept.testing import make_job
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.states import DeliveryState
from tests.test_unmarked_texts import boss, catalogue, page, unmarked, wrapped  # noqa: F401 two are fixtures

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/async_accept_webhooks/delivery/"
ENDPOINTS = "/admin/async_accept_webhooks/endpoint/"
#: The name of a header; and what Django itself has not marked.
NAMES = {"Webhook", "id", "True", "False"}
IDS = re.compile(r"msg_[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_every_text_is_marked(boss, django_user_model):  # noqa: F811
    owner = django_user_model.objects.get()
    endpoint = Endpoint.objects.create(owner=owner, url="https://1.1.1.1/")
    job = make_job(owner=owner, operation=wrapped("operation"))
    for state in DeliveryState:
        row = Delivery.objects.create(
            endpoint=endpoint,
            host="1.1.1.1",
            event=wrapped("e"),
            outcome=wrapped("o"),
            state=state,
            job_id=job.pk,
        )
    chosen = {"_selected_action": [str(row.pk) for row in Delivery.objects.all()]}
    one = {"_selected_action": [str(endpoint.pk)]}
    for url, data in [
        (DELIVERIES, {}), (f"{DELIVERIES}?state=failed", {}), (f"{DELIVERIES}{row.pk}/change/", {}),
        (ENDPOINTS, {}), (f"{ENDPOINTS}{endpoint.pk}/change/", {}), (f"/admin/async_accept/job/{job.pk}/change/", {}),
        (DELIVERIES, {"action": "resend", **chosen}), (ENDPOINTS, {"action": "disable", **one}),
        (ENDPOINTS, {"action": "enable", **one}),
    ]:  # fmt: skip
        assert unmarked(IDS.sub("", page(boss, url, **data))) - NAMES == set(), url
    for action, url in (("resend", DELIVERIES), ("disable", ENDPOINTS), ("enable", ENDPOINTS)):
        rows = chosen if action == "resend" else one
        done = boss.post(url, {"action": action, "confirmed": "yes", **rows}, follow=True).content.decode()
        assert "messagelist" in done
        assert unmarked(done) - NAMES == set()
