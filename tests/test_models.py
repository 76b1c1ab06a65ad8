"""The job's verbs: each is one conditional UPDATE, and whoever changes no row has lost the race."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings
from django.utils import timezone

from async_accept import signals
from async_accept.admin.formatting import eta, percent, progress_words
from async_accept.models import HISTORY_LENGTH, Job, lost_delay, new_id
from async_accept.problems import problem
from async_accept.states import FINAL, LEASED, State
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

#: Each verb, and the state that it leads to from each state that it may leave.
VERBS = {
    "claim": (lambda job: job.claim("worker"), {"accepted": "running"}),
    "succeed": (lambda job: job.succeed(), {"running": "succeeded", "canceling": "succeeded"}),
    "fail": (lambda job: job.fail(problem("failed")), {"running": "failed", "canceling": "failed"}),
    "give back": (lambda job: job.give_back(timedelta(), "retry"), {"running": "accepted"}),
    "lose": (lambda job: job.lose("lease"), {"running": "failed", "canceling": "canceled"}),
    "cancel": (
        lambda job: job.cancel(),
        {"accepted": "canceled", "running": "canceling", "canceling": "canceling"},
    ),
    "end canceled": (lambda job: job.end_canceled(), {"running": "canceled", "canceling": "canceled"}),
}


@pytest.fixture
def told():
    """The signals that went out."""
    sent = []
    receivers = {}
    for name in signals.__all__:
        receivers[name] = lambda name=name, **kwargs: sent.append((name, kwargs["job"].state))
        getattr(signals, name).connect(receivers[name], sender=Job)
    yield sent
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver, sender=Job)


def columns(job):
    return Job.objects.filter(pk=job.pk).values().get()


# --- The table of transitions ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leaves_exactly_the_states_it_may(verb):
    do, leads_to = VERBS[verb]
    for state in State.values:
        job = make_job(state=state)
        before = columns(job)
        assert do(job) is (state in leads_to), state
        assert job.state == columns(job)["state"] == leads_to.get(state, state)
        if state not in leads_to:
            assert columns(job) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_one_update(verb, django_assert_max_num_queries):
    do, leads_to = VERBS[verb]
    job = make_job(state=next(iter(leads_to)))
    with django_assert_max_num_queries(1):
        assert do(job)


@pytest.mark.parametrize("verb", VERBS)
def test_the_instance_knows_what_it_wrote(verb):
    do, leads_to = VERBS[verb]
    job = make_job(state=next(iter(leads_to)))
    do(job)
    stored = columns(job)
    by_the_database = {"dispatch_at", "lease_until", "sweep_at", "history"}
    mine = {name: getattr(job, name) for name in stored if name not in by_the_database}
    assert mine == {name: stored[name] for name in mine}


# --- Claiming -------------------------------------------------------------------------------------------


def test_a_claim_counts_the_attempt_and_takes_a_lease():
    job = make_job()
    job.claim("worker@host", 42, "slow")
    job.refresh_from_db()
    assert (job.attempt, job.worker, job.worker_pid, job.queue) == (1, "worker@host", 42, "slow")
    assert job.dispatch_at is None
    assert job.lease_until > timezone.now()


def test_a_new_attempt_begins_at_nothing():
    """Bar, message and time left are those of the attempt that runs, not of the one before."""
    past = {"current": 9, "total": 10, "unit": "", "message": "Almost", "percent": 90.0, "stage": "Charging"}
    job = make_job(state=State.RUNNING, attempt=1)
    job.give_back(timedelta(), "retry", progress=past)
    assert Job.objects.get(pk=job.pk).progress == past  # still told while it waits
    assert job.claim()
    later = timezone.now() + timedelta(minutes=1)
    for row in (job, Job.objects.get(pk=job.pk)):
        assert row.progress is None
        assert (percent(row), progress_words(row, later), eta(row, later)) == (None, "", None)


def test_only_one_of_two_claims_wins():
    job = make_job()
    rival = Job.objects.get(pk=job.pk)
    assert job.claim("first")
    assert not rival.claim("second")
    assert columns(job)["worker"] == "first"


def test_a_message_of_an_earlier_attempt_cannot_claim():
    job = make_job()
    late = Job.objects.get(pk=job.pk)
    job.claim()
    job.give_back(timedelta(), "retry")
    assert not late.claim()


def test_a_canceled_job_is_not_claimed():
    job = make_job()
    waiting = Job.objects.get(pk=job.pk)
    job.cancel()
    assert not waiting.claim()


def test_a_queue_with_a_long_name_is_cut():
    job = make_job()
    assert job.claim("w" * 300, 1, "q" * 300)
    job.refresh_from_db()
    assert (len(job.worker), len(job.queue)) == (255, 100)


# --- Ending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FINAL)
def test_an_ended_job_has_its_times_and_no_lease(state):
    job = make_job(state=state)
    assert job.finished_at == job.updated_at
    assert job.expires_at == job.sweep_at == job.finished_at + timedelta(days=1)
    assert job.lease_until is None
    assert job.dispatch_at is None


@pytest.mark.parametrize("state", LEASED)
def test_ending_frees_the_active_key(state):
    job = make_job(state=state, active_key="one at a time")
    job.succeed()
    make_job(active_key="one at a time")


def test_canceling_a_waiting_job_frees_the_active_key():
    make_job(active_key="one at a time").cancel()
    make_job(active_key="one at a time")


def test_canceled_job_ignores_late_success():
    job = make_job(state="running")
    worker = Job.objects.get(pk=job.pk)
    job.end_canceled()
    assert not worker.succeed({"status": 200, "headers": {}})
    assert columns(job)["state"] == "canceled"
    assert columns(job)["response"] is None


def test_a_success_that_was_faster_than_the_cancel_stays():
    job = make_job(state="running")
    other = Job.objects.get(pk=job.pk)
    job.succeed()
    assert not other.cancel()
    assert columns(job)["state"] == "succeeded"


def test_a_job_asked_to_stop_may_still_succeed():
    job = make_job(state="canceling")
    assert job.succeed()


@pytest.mark.parametrize(
    "write",
    [
        lambda job: job.succeed(),
        lambda job: job.fail(problem("failed")),
        lambda job: job.give_back(timedelta(), "retry"),
        lambda job: job.lose("lease"),
    ],
    ids=["succeed", "fail", "give back", "lose"],
)
def test_an_attempt_given_up_for_lost_can_no_longer_write(write):
    job = make_job(state="running", retry_when_lost=True, max_attempts=9)
    lost = Job.objects.get(pk=job.pk)
    job.lose("lease")
    again = Job.objects.get(pk=job.pk)
    again.claim("second")
    before = columns(job)
    assert not write(lost)
    assert columns(job) == before


def test_success_wipes_the_problem_of_an_earlier_attempt():
    job = make_job(state="running", problem=problem("failed"))
    job.succeed()
    assert columns(job)["problem"] is None


def test_a_job_can_be_rerun_when_it_has_ended_and_its_input_is_kept():
    for state in State.values:
        assert make_job(state=state, input={"x": 1}).can_rerun is (state in FINAL)
        assert make_job(state=state, input={"x": 1}, uploads=["a"]).can_rerun is False
        assert make_job(state=state).can_rerun is False
        assert make_job(state=state, input={"x": 1}, forgotten=True).can_rerun is False


@pytest.mark.parametrize("columns", [{"forgotten": True}, {"uploads": ["a"]}])
@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_forgotten_jobs_and_uploads_are_swept_at_the_end(columns, hours, monkeypatch):
    """By the database's clock, however wrong the worker's is."""
    job = make_job(state="running")
    Job.objects.filter(pk=job.pk).update(**columns)  # known to the row, not to the worker's instance
    now = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr("async_accept.models.timezone.now", lambda: now)
    job.succeed()
    assert Job.objects.to_sweep().filter(pk=job.pk).exists()


# --- Giving back and losing --------------------------------------------------------------------------------


def test_a_job_given_back_waits_for_its_time():
    job = make_job(state="running", dispatches=3)
    job.give_back(timedelta(minutes=5), "retry: ValueError")
    job.refresh_from_db()
    assert timedelta(minutes=4) < job.dispatch_at - timezone.now() < timedelta(minutes=6)
    assert (job.attempt, job.dispatches, job.lease_until) == (1, 0, None)


def test_a_job_given_back_remembers_the_attempt():
    job = make_job(state="running", worker="worker@host")
    job.give_back(timedelta(), "retry: ValueError")
    job.refresh_from_db()
    (past,) = job.history
    assert (past["attempt"], past["worker"], past["reason"]) == (1, "worker@host", "retry: ValueError")
    assert past["started_at"] <= past["ended_at"]


def test_history_is_bounded():
    job = make_job(state="running", history=[{"attempt": n} for n in range(HISTORY_LENGTH)])
    job.give_back(timedelta(), "retry")
    job.refresh_from_db()
    assert len(job.history) == HISTORY_LENGTH
    assert job.history[-1]["reason"] == "retry"


def test_a_job_asked_to_stop_is_not_given_back():
    job = make_job(state="running")
    worker = Job.objects.get(pk=job.pk)
    job.cancel()
    assert not worker.give_back(timedelta(), "retry")
    assert columns(job)["state"] == "canceling"


def test_a_lost_job_that_may_be_repeated_waits_again():
    job = make_job(state="running", retry_when_lost=True, max_attempts=2)
    assert job.lose("lease")
    assert columns(job)["state"] == "accepted"


@pytest.mark.parametrize("limits", [{"retry_when_lost": False}, {"retry_when_lost": True, "max_attempts": 1}])
def test_a_lost_job_that_may_not_be_repeated_fails_as_lost(limits):
    job = make_job(state="running", **limits)
    assert job.lose("lease")
    stored = Job.objects.get(pk=job.pk)
    assert (stored.state, stored.problem["code"]) == ("failed", "lost")


def test_a_lost_job_that_was_asked_to_stop_is_canceled():
    job = make_job(state="canceling", retry_when_lost=True, max_attempts=9)
    assert job.lose("lease")
    assert columns(job)["state"] == "canceled"


def test_lost_jobs_wait_longer_each_time_up_to_a_minute():
    assert [lost_delay(n).total_seconds() for n in (1, 2, 3, 4, 20, 30_000)] == [0, 2, 4, 8, 60, 60]


# --- Canceling ----------------------------------------------------------------------------------------------


def test_canceling_twice_is_harmless():
    job = make_job(state="running")
    assert job.cancel()
    assert job.cancel()
    assert columns(job)["state"] == "canceling"


def test_a_job_given_back_while_it_is_being_canceled_is_canceled(monkeypatch):
    """Between the question "waiting?" and the question "running?" a running job may become a waiting one."""
    job = make_job(state="running")
    worker = Job.objects.get(pk=job.pk)
    move = Job._move

    def slowly(self, to, **kwargs):
        if to == State.CANCELING and worker.state == State.RUNNING:
            monkeypatch.undo()
            worker.give_back(timedelta(), "retry")
        return move(self, to, **kwargs)

    monkeypatch.setattr(Job, "_move", slowly)
    assert job.cancel()
    assert columns(job)["state"] == "canceled"


# --- Signals --------------------------------------------------------------------------------------------------


def test_each_transition_tells_once_after_commit(told, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job()
        job.claim()
        job.give_back(timedelta(), "retry")
        job.claim()
        job.succeed()
        assert told == []
    assert [name for name, _ in told] == ["job_started", "job_given_back", "job_started", "job_succeeded"]


def test_a_lost_race_tells_nothing(told, django_capture_on_commit_callbacks):
    job = make_job(state="succeeded")
    with django_capture_on_commit_callbacks(execute=True):
        job.end_canceled()
    assert told == []


def test_a_receiver_that_fails_touches_nothing(told, django_capture_on_commit_callbacks):
    def broken(**kwargs):
        raise RuntimeError("receiver")

    signals.job_canceled.connect(broken, sender=Job)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            job = make_job(state="canceled")
    finally:
        signals.job_canceled.disconnect(broken, sender=Job)
    assert told == [("job_canceled", "canceled")]
    assert columns(job)["state"] == "canceled"


# --- What the database itself refuses ----------------------------------------------------------------------------


def test_the_database_refuses_a_row_that_nothing_would_act_on():
    for state, wrong in [
        ("accepted", {"dispatch_at": None}),
        ("accepted", {"lease_until": timezone.now()}),
        ("accepted", {"finished_at": timezone.now()}),
        ("running", {"lease_until": None}),
        ("running", {"dispatch_at": timezone.now()}),
        ("canceling", {"lease_until": None}),
        ("canceling", {"finished_at": timezone.now()}),
        ("succeeded", {"finished_at": None}),
        ("failed", {"lease_until": timezone.now()}),
        ("canceled", {"dispatch_at": timezone.now()}),
        ("succeeded", {"state": "running"}),
        ("running", {"state": "failed"}),
    ]:
        job = make_job(state=state)
        with pytest.raises(IntegrityError), transaction.atomic():
            Job.objects.filter(pk=job.pk).update(**wrong)


@pytest.mark.parametrize("column", ["idempotency_key", "active_key"])
def test_a_key_is_unique_and_none_is_no_key(column):
    make_job(**{column: None})
    make_job(**{column: None})
    make_job(**{column: "key"})
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(**{column: "key"})


# --- Ids and questions ----------------------------------------------------------------------------------------


def test_ids_are_ordered_by_time():
    ids = [new_id() for _ in range(100)]
    assert ids == sorted(ids)
    assert {pk.version for pk in ids} == {7}
    assert all(type(pk) is uuid.UUID for pk in ids)


def test_anonymous_ids_are_random():
    assert new_id(anonymous=True).version == 4


@override_settings(ASYNC_ACCEPT={"RANDOM_ANONYMOUS_IDS": False})
def test_anonymous_ids_are_ordered_where_the_project_says_so():
    assert new_id(anonymous=True).version == 7


def test_a_result_is_expired_from_its_moment_on():
    now = timezone.now()
    assert Job(expires_at=now - timedelta(seconds=1)).is_expired
    assert not Job(expires_at=now + timedelta(minutes=1)).is_expired
    assert not Job().is_expired


def test_deleting_an_owner_keeps_the_job_and_does_not_make_it_anonymous(django_user_model):
    owner = django_user_model.objects.create(username="alice")
    job = make_job(owner=owner)
    owner.delete()
    job.refresh_from_db()
    assert (job.owner, job.anonymous) == (None, False)
