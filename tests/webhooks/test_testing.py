import pytest

from async_accept.testing import make_job
from async_accept.webhooks import delivering
from async_accept.webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def inbox(webhook_inbox):
    return webhook_inbox


def test_the_inbox_gets_what_the_endpoint_wants(inbox, alice):
    inbox.endpoint(alice, states=["failed"])
    job = make_job(owner=alice, state="failed")
    make_job(owner=alice, state="succeeded")
    [notice] = inbox.deliver()
    assert (notice.type, notice.data["id"], notice.sequence) == ("job.failed", str(job.pk), 1)
    assert inbox.deliver() == []


@pytest.mark.parametrize(
    ("trouble", "comes_in"),
    [("lose", 1), ("lose_answers", 3), ("refuse", 3)],
    ids=["lost", "repeated", "refused"],
)
def test_trouble_on_purpose(inbox, alice, trouble, comes_in):
    inbox.endpoint(alice)
    make_job(owner=alice, state="succeeded")
    getattr(inbox, trouble)(count=2)
    for _ in range(4):
        inbox.deliver()
    assert len(inbox.received) == comes_in
    assert len({notice.id for notice in inbox.received}) == 1
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.django_db(transaction=True)
def test_in_eager_mode_nothing_is_sent_before(inbox, alice, eager):
    inbox.endpoint(alice)
    make_job(owner=alice, state="succeeded")
    assert inbox.received == []
    assert len(inbox.deliver()) == 1


def test_410_disables(inbox, alice):
    inbox.endpoint(alice)
    make_job(owner=alice, state="succeeded")
    inbox.refuse(410)
    inbox.deliver()
    assert Endpoint.objects.get().disabled_by == "failing"


def test_a_wrong_signature_fails_the_test(inbox, alice, monkeypatch):
    inbox.endpoint(alice).rotate()
    make_job(owner=alice, state="succeeded")
    right = delivering.headers
    monkeypatch.setattr(delivering, "headers", lambda pk, body, *args: right(pk, body + " ", *args))
    with pytest.raises(AssertionError, match="signature"):
        inbox.deliver()
