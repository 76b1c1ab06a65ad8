"""openapi-python-client: an answer has `status_code`, `headers` and `parsed`, which `isinstance()` narrows."""

import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from uuid import uuid4

from shop_client import AuthenticatedClient
from shop_client.api.jobs import accepted_jobs_cancel, accepted_jobs_result, accepted_jobs_retrieve
from shop_client.api.orders import orders_create
from shop_client.api.reports import reports_create
from shop_client.models import (
    AcceptedJob,
    AcceptedJobStatus,
    Order,
    OrderLineRequest,
    OrderRequest,
    ReportRequest,
)

ACTIVE = {AcceptedJobStatus.ACCEPTED, AcceptedJobStatus.RUNNING, AcceptedJobStatus.CANCELING}


def wait(headers: Mapping[str, str]) -> None:
    time.sleep(int(headers["Retry-After"]))


def order(shop: AuthenticatedClient) -> Order:
    """Submit an order, and follow it to the 201."""
    body = OrderRequest(lines=[OrderLineRequest(sku="TEA-ASSAM", quantity=2)])
    accepted = orders_create.sync_detailed(client=shop, body=body, idempotency_key=str(uuid4()))
    job = accepted.parsed
    assert isinstance(job, AcceptedJob), accepted
    status, headers, result = accepted.status_code, accepted.headers, None
    while status == HTTPStatus.ACCEPTED:
        assert headers["Location"] == job.result_url
        wait(headers)
        answer = accepted_jobs_result.sync_detailed(job.id, client=shop)
        status, headers, result = answer.status_code, answer.headers, answer.parsed
    assert status == HTTPStatus.CREATED
    assert isinstance(result, Order)
    return result


def cancel(shop: AuthenticatedClient, days: int) -> AcceptedJobStatus:
    """Submit a long report, and cancel it."""
    accepted = reports_create.sync(client=shop, body=ReportRequest(rows=1_000_000, days=days))
    assert isinstance(accepted, AcceptedJob), accepted
    asked = accepted_jobs_cancel.sync_detailed(accepted.id, client=shop)
    job, headers = asked.parsed, asked.headers
    while isinstance(job, AcceptedJob) and job.status in ACTIVE:
        wait(headers)
        found = accepted_jobs_retrieve.sync_detailed(accepted.id, client=shop)
        job, headers = found.parsed, found.headers
    assert isinstance(job, AcceptedJob)
    return job.status


def main(address: str, token: str, days: str) -> None:
    prefix, key = token.split()
    shop = AuthenticatedClient(address, token=key, prefix=prefix, raise_on_unexpected_status=True)
    placed = order(shop)
    result = {"order": placed.status, "total": placed.total, "report": cancel(shop, int(days))}
    print(json.dumps(result))  # noqa: T201 the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
