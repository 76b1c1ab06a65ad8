"""Races with DELETE and with purging: what a request has just found may be gone at its next step. Never a 500."""

import pytest
from django.db import OperationalError
from django.utils import timezone

from async_accept.conf import conf
from async_accept.jobs import accept, keys, publish, retention
from async_accept.jobs.watcher import watcher
from async_accept.models import Job
from async_accept.testing import make_job
from tests.testapp.tasks import add

pytestmark = pytest.mark.django_db

URL, DATA = "/api/policies/always/class/", {"x": 1, "y": 2}


@pytest.fixture
def vanishing(monkeypatch):
    """Holders of a key that go right before they are looked up: as many as are asked for."""
    find = keys.earlier
    left = []

    def gone(job):
        if left:
            left.pop()
            return None
        return find(job)

    monkeypatch.setattr(keys, "earlier", gone)
    return lambda times: left.extend([True] * times)


def test_a_key_whose_holder_went_is_tried_again(alices, monkeypatch):
    """Contract 5: the second try is the first of a free key."""
    first = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    find = keys.earlier

    def delete(job):
        Job.objects.filter(pk=first.data["id"]).delete()
        return find(job)

    monkeypatch.setattr(keys, "earlier", delete)
    again = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert again.status_code == 202
    assert again["Location"] != first["Location"]


def test_a_key_that_is_never_free_and_never_held_is_503(alices, vanishing):
    """Contract 5, 7: bounded, and the client may come back."""
    first = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    vanishing(accept.TRIES)
    refused = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    again = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert again["Location"] == first["Location"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_deleted_while_its_client_waits_is_404(alices, monkeypatch):
    """Contract 4: as from any other of its URLs."""

    def wait(job, *args, **kwargs):
        retention.forget(job)
        return True

    monkeypatch.setattr(watcher, "wait", wait)
    assert alices.post(URL, DATA, headers={"prefer": "wait=5"}).status_code == 404


# --- A key that joins an active job at the moment when that job ends --------------------------------------------

JOIN, ONE, KEY = "/api/gates/join/", {"name": "one"}, {"idempotency-key": "k"}


@pytest.fixture
def active(alices):
    """The URL of an active job of another key."""
    return alices.post(JOIN, ONE, headers={"idempotency-key": "first"})["Location"]


def end_all():
    for job in Job.objects.active():
        job.cancel()


def test_a_job_that_ends_before_it_is_joined_is_not_joined(alices, active, monkeypatch):
    """Contract 6: it was found, and had ended when the key was to be written down for it."""
    once_before(monkeypatch, keys, "_join", lambda earlier, job: end_all())
    answer = alices.post(JOIN, ONE, headers=KEY)
    assert answer["Location"] != active
    assert alices.post(JOIN, ONE, headers=KEY)["Location"] == answer["Location"]


def test_jobs_that_follow_one_another_refuse_nobody(alices, active, monkeypatch):
    """Contract 6, 7: ten times, the job that is found has ended when it is joined, and the next one is active."""
    join = keys._join
    numbers = iter(range(10))

    def too_late(earlier, job):
        for number in numbers:
            end_all()
            assert alices.post(JOIN, ONE, headers={"idempotency-key": f"{number}"})["Location"] != active
            break
        return join(earlier, job)

    monkeypatch.setattr(keys, "_join", too_late)
    answer = alices.post(JOIN, ONE, headers=KEY)
    assert answer.status_code == 202
    assert next(numbers, None) is None
    assert alices.post(JOIN, ONE, headers=KEY)["Location"] == answer["Location"]


@pytest.mark.django_db(transaction=True)
def test_after_a_deadlock_the_job_of_the_other_is_followed(alices, monkeypatch):
    """Contract 5, 6: it is not inserted again, which would be in the way of all others who wait for the key."""
    insert_once = accept._insert_once
    tries = []

    def lose_to_another(job, *given):
        tries.append(job)
        if len(tries) == 1:
            alices.post(JOIN, ONE, headers=KEY)
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return insert_once(job, *given)

    monkeypatch.setattr(accept, "_insert_once", lose_to_another)
    answer = alices.post(JOIN, ONE, headers=KEY)
    _, others = tries
    assert (answer.status_code, answer.data["id"]) == (202, str(others.pk))
    assert [job.pk for job in Job.objects.all()] == [others.pk]


def once_before(monkeypatch, module, step, do):
    """Do it once, right before a step of accepting, with what the step gets."""
    go_on = getattr(module, step)
    left = [do]

    def meanwhile(*given):
        if left:
            left.pop()(*given)
        return go_on(*given)

    monkeypatch.setattr(module, step, meanwhile)


#: After a request has found its key free, and before it stores a job.
STORING = "_check_room"


@pytest.fixture
def published(monkeypatch):
    """The jobs that were published."""
    published = []
    monkeypatch.setattr(
        publish, "publish", lambda jobs, *via: published.extend(jobs) or [pk for pk, *_ in jobs]
    )
    return published


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("follows", [False, True], ids=["nothing after it", "the next one is active"])
def test_a_key_that_joined_a_job_that_has_ended_since_begins_no_other(
    alices, published, active, monkeypatch, follows
):
    """Contract 5, 6: two requests with one key, one of them before the end of the job and one after."""

    def joined_by_the_other(job, terms):
        assert alices.post(JOIN, ONE, headers=KEY)["Location"] == active
        end_all()
        if follows:
            alices.post(JOIN, ONE, headers={"idempotency-key": "next"})

    once_before(monkeypatch, accept, STORING, joined_by_the_other)
    assert alices.post(JOIN, ONE, headers=KEY)["Location"] == active
    assert Job.objects.count() == 1 + follows
    assert len(published) == Job.objects.count()


def test_a_key_that_joined_meanwhile_is_held_to_its_payload(alices, active, monkeypatch):
    """Contract 5: 422, and the job of the other payload is not stored."""

    def joined_by_the_other(job, terms):
        alices.post(JOIN, ONE, headers=KEY)
        end_all()

    once_before(monkeypatch, accept, STORING, joined_by_the_other)
    assert alices.post(JOIN, {"name": "two"}, headers=KEY).status_code == 422
    assert Job.objects.count() == 1


def test_one_key_for_two_active_keys_gets_one_job(alices, active, monkeypatch):
    """Contract 5, 6: 422 for the one that comes to join after the other has begun a job."""

    def begin_another(earlier, job):
        assert alices.post(JOIN, {"name": "two"}, headers=KEY).status_code == 202

    once_before(monkeypatch, keys, "_join", begin_another)
    assert alices.post(JOIN, ONE, headers=KEY).status_code == 422
    assert Job.objects.count() == 2


def test_a_job_that_is_deleted_before_it_is_joined_is_not_joined(alices, active, monkeypatch):
    """Contract 6: nobody is led to a URL that is 404."""

    def delete(earlier, job):
        retention.forget(Job.objects.get(pk=earlier.pk))

    once_before(monkeypatch, keys, "_join", delete)
    answer = alices.post(JOIN, ONE, headers=KEY)
    assert alices.get(answer["Operation-Location"]).status_code == 200
    assert answer["Location"] != active


def test_two_repeats_of_a_key_that_is_too_old_get_one_job(alices, monkeypatch):
    """Contract 5: the second one finds the key freed, and the job of the first."""
    alices.post(URL, DATA, headers={"idempotency-key": "k"})
    Job.objects.update(created_at=timezone.now() - conf.IDEMPOTENCY_KEY_LIFETIME * 2)
    release = keys._release_expired
    faster = []

    def release_later(first):
        if not faster:
            faster.append(None)
            faster[0] = alices.post(URL, DATA, headers={"idempotency-key": "k"})
        return release(first)

    monkeypatch.setattr(keys, "_release_expired", release_later)
    answer = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert (answer.status_code, answer["Location"]) == (202, faster[0]["Location"])
    assert Job.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_rerun_that_a_deadlock_undoes_is_done_again(monkeypatch):
    """Its transaction is its own, so nothing else went with it."""
    old = make_job(add, state="failed", input={"x": 1, "y": 2})
    insert, deadlocks = accept.insert, [OperationalError(1213, "Deadlock found when trying to get lock")]

    def fail_once(*args):
        if deadlocks:
            raise deadlocks.pop()
        insert(*args)

    monkeypatch.setattr(accept, "insert", fail_once)
    new = accept.rerun(old)
    old.refresh_from_db()
    assert (old.rerun_as, deadlocks) == (new.pk, [])
    assert Job.objects.count() == 2
