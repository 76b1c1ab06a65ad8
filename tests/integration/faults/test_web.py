"""A web process that is killed, and many requests with one key."""

import contextlib
import threading

import pytest

from .client import Client
from .installation import Installation
from .processes import until

pytestmark = pytest.mark.faults


def test_web_killed_between_commit_and_publish_loses_no_job(shop: Installation, client: Client) -> None:
    """The broker is frozen, so the request waits for it after the job is committed."""
    shop.broker.freeze()
    statuses: list[int] = []
    sending = threading.Thread(target=_send, args=(client, statuses))
    sending.start()
    query = "SELECT id::text, state FROM async_accept_job"
    rows = until(lambda: shop.database.execute(query), 5, "the job to be committed", pause=0.005)
    shop.web.kill()
    sending.join()
    assert statuses == []  # it was killed before it could answer
    shop.broker.thaw()
    shop.web.start()
    until(lambda: shop.database.execute(query) == [(rows[0][0], "succeeded")], 20, "the job to end")


def test_repeats_with_one_key_share_one_job(shop: Installation, client: Client) -> None:
    urls: list[str] = []

    def send() -> None:
        response = Client(shop).post(key="once", **{"Idempotency-Key": "once"})
        urls.append(response.headers["Operation-Location"])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(urls), len(set(urls))) == (8, 1)
    assert len(shop.database.execute("SELECT id FROM async_accept_job")) == 1


def _send(client: Client, statuses: list[int]) -> None:
    with contextlib.suppress(OSError):
        statuses.append(client.post().status_code)
