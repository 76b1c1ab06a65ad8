"""Contract 4: what `Prefer` asks for, and what `Preference-Applied` says was honoured."""

import pytest

from async_accept.models import Job
from tests.contract.cases import CASES, SUM, every_view
from tests.contract.conftest import together, url
from tests.contract.raw import send
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


@every_view
def test_prefer_mode_answers_at_once_unless_asked(case, alice):
    """Contract 4: ``accept_mode = "prefer"`` gives 202 only with respond-async, else the synchronous answer."""
    path = case.url("prefer")
    asked = alice(case.method, path, case.data, headers={"Prefer": "respond-async"})
    assert (asked.status_code, asked.headers["Preference-Applied"]) == (202, "respond-async")
    Job.objects.all().delete()

    plain = alice(case.method, path, case.data)
    assert plain.status_code == case.status
    assert "Prefer" in plain.headers["Vary"]
    assert "Preference-Applied" not in plain.headers
    assert not Job.objects.exists()


@pytest.mark.parametrize("wish", ["wait=5", "return=minimal", "respond-async=no", ""])
def test_prefer_mode_needs_respond_async_itself(wish, alice):
    """Contract 4: nothing else asks for a 202 there."""
    response = alice.post("/api/policies/prefer/class/", SUM, headers={"Prefer": wish})
    assert response.status_code == 201
    assert "Preference-Applied" not in response.headers


@every_view
def test_a_method_decides_per_request(case, alice):
    """Contract 4: what it answers at once honours no preference, and Vary lists Prefer all the same."""
    path = case.url("decide")
    assert alice(case.method, path, case.data).status_code == 202
    wishes = "respond-async, wait=5, return=minimal, handling=lenient"
    small = alice(case.method, path, case.data, headers={"X-Small": "1", "Prefer": wishes})
    assert small.status_code == case.status
    assert "Preference-Applied" not in small.headers
    assert "Prefer" in small.headers["Vary"]
    assert Job.objects.count() == 1


# --- wait ----------


@every_view
def test_wait_gives_the_genuine_answer(case, alice, worker):
    """Contract 4: ``wait=N`` answers with the final answer if the job ends in time; the worker does the work."""
    preferred = {"Prefer": "respond-async, wait=10, return=minimal, handling=lenient"}
    response = alice(case.method, case.url(), case.data, headers=preferred)
    assert response.status_code == case.status, response.text
    assert response.headers["Preference-Applied"] == "wait=10"
    assert "Prefer" in response.headers["Vary"]
    assert "Retry-After" not in response.headers
    job = Job.objects.get()
    assert job.worker  # not in the web process
    assert response.headers["Operation-Location"] == f"{alice.base}{url(job)}"
    assert response.content == alice.get(url(job, "result/")).content


def test_wait_ends_with_202(alice, configure):
    """Contract 4: no worker, no answer in time: 202, in every kind of view; the wait is capped by the setting."""
    configure(MAX_WAIT_SECONDS=1, MAX_WAITERS=len(CASES))
    cases = [(case, case.url(), alice.again()) for case in CASES.values()]

    def ask(index):
        case, path, caller = cases[index]
        return caller(case.method, path, case.data, headers={"Prefer": "respond-async, wait=100"})

    for response in together(len(cases), ask, threads=len(cases)):
        assert response.status_code == 202
        assert response.headers["Preference-Applied"] == "respond-async, wait=1"
    assert set(Job.objects.values_list("state", flat=True)) == {"accepted"}


def test_wait_gives_a_problem_too(alice, worker):
    """Contract 4: a job that fails in time answers its own 4xx, as a problem document."""
    contract_tasks.gate("wrong").set()
    data = {"name": "wrong", "refuse": True}
    response = alice.post("/api/gates/free/", data, headers={"Prefer": "wait=10"})
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "wrong-gate"


def test_a_repeat_that_waits_gets_the_genuine_answer(alice, worker):
    """Contract 4, 5: the first answer may be the 202 and the second the end; one job all the same."""
    key = {"Idempotency-Key": "k"}
    first = alice.post(URL, SUM, headers=key)
    alice.follow(first)
    again = alice.post(URL, SUM, headers=key | {"Prefer": "wait=10"})
    assert (again.status_code, again.json()) == (201, {"sum": 7})
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]
    assert Job.objects.count() == 1


# --- return ----------


@every_view
def test_minimal_keeps_all_headers(case, alice):
    """Contract 4: ``return=minimal`` has no body and every header."""
    full = alice(case.method, case.url(), case.data)
    minimal = alice(case.method, case.url(), case.data, headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (202, b"")
    assert minimal.headers["Preference-Applied"] == "return=minimal"
    ours = ("Location", "Operation-Location", "Link", "Retry-After", "Cache-Control", "Vary")
    assert set(ours) <= set(full.headers) & set(minimal.headers)


# --- Syntax ----------


@pytest.mark.parametrize(
    ("lines", "applied"),
    [
        (["Prefer: RESPOND-Async"], "respond-async"),
        (["Prefer: foo; bar=1, respond-async;x=y", "PREFER: WAIT=0"], "respond-async"),
        (['Prefer: return="minimal"'], "return=minimal"),
        (["Prefer: nonsense==, ,,; respond-async=1"], None),
        (["Prefer: respond-async", "Prefer: return=minimal"], "respond-async, return=minimal"),
        (["Prefer: return=representation", "PREFER: return=minimal"], None),
        (["prefer: handling=lenient", "Prefer: Respond-Async"], "respond-async"),
        (["Prefer:", "Prefer: respond-async"], "respond-async"),
    ],
)
def test_lines_are_one_list(alice, lines, applied):
    """Contract 4: in their order; names in any case, the first of duplicates wins, unknown ones are ignored."""
    response = send(alice, "POST", URL, *map(str.encode, lines), data=SUM)
    assert response.status == 202
    assert dict(response.headers).get("preference-applied") == applied
