"""10.4: what is not kept of a request is missed aloud. The twins that keep it stand in ``test_twins.py``."""

import pytest

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.foreign.company.models import Customer

from .twins import Case, caller, send

#: What a work asks for, and what the log must name.
MISSING = {
    "ask_claims": "request.auth",
    "ask_tenant": "request.tenant",
    "ask_tenant_or_public": "request.tenant",
    "ask_session": "request.session",
    "ask_cookies": "request.COOKIES",
    "ask_body": "request.body",
    "say": "messages",
}


@pytest.mark.parametrize("name", MISSING)
def test_missed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The job fails, and the log names what is missing and how it is kept."""
    case = Case("", f"/v1/work/{name}/", json={}, headers={"X-Tenant": "acme", "Cookie": "theme=dark"})
    send(case, caller(case))
    run_accepted_jobs(raises=False)

    assert Job.objects.get().state == "failed"
    assert MISSING[name] in caplog.text
    assert "accept_context" in caplog.text


def test_missed_tenant_writes_nothing() -> None:
    """A default must never quietly mean another tenant."""
    case = Case("", "/v1/work/new_customer/", json={"name": "New"}, headers={"X-Tenant": "acme"})
    send(case, caller(case))
    run_accepted_jobs(raises=False)

    assert not Customer._base_manager.filter(name="New", tenant="public").exists()


def test_context_ends_with_its_job() -> None:
    """What one job restores, the next one does not find."""
    first = Case("", "/v1/customers/", json={"name": "One"}, headers={"X-Tenant": "acme"})
    second = Case("", "/v1/work/ask_current_tenant/", json={})
    client = caller(first)
    send(first, client)
    answer = send(second, client)
    run_accepted_jobs(raises=False)

    assert b"public" in client.get(answer.headers["Location"]).content
