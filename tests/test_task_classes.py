"""The class of a job's task: ``JobTask`` before the app's own task class."""

from abc import ABC
from contextlib import suppress

import pytest
from celery import Celery, Task, shared_task
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore, Reject
from celery.signals import task_postrun
from django.db import connection, transaction
from django_celery_results.models import TaskResult

from async_accept.exceptions import WorkEnded
from async_accept.jobs.publish import HEADER, run_here
from async_accept.models import Job
from async_accept.tasks import JobBackend, JobTask, ReplayTask, replay_view
from async_accept.testing import make_job, run_job
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

called = []


class Company(Task):
    """A base class of a project, as the documentation of Celery has it."""

    throws = (KeyError,)
    queue = "company"

    def before_start(self, task_id, args, kwargs):
        called.append("before_start")
        super().before_start(task_id, args, kwargs)

    def __call__(self, *args, **kwargs):
        called.append("call")
        return super().__call__(*args, **kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        called.append("on_success")

    def delay_on_commit(self, *args, **kwargs):
        """Celery had none when the company wrote this."""
        return "the company's own"


class CompanyJob(JobTask, Company):
    pass


@shared_task(base=CompanyJob, bind=True, max_retries=1)
def work(self, again=False):
    if again and not self.request.retries:
        raise self.retry(countdown=0)
    return [bool(self.request.id), self.request.retries]


@pytest.fixture(autouse=True)
def calls():
    called.clear()
    return called


def make(task_cls, base=JobTask, **options):
    """Return a task of a new app with the class *task_cls*."""
    app = Celery("company", task_cls=task_cls, set_as_current=False)

    @app.task(base=base, name="company.work", shared=False, **options)
    def work():
        """Do nothing."""

    return app.tasks["company.work"]


@pytest.mark.parametrize("base", [JobTask, ReplayTask, CompanyJob])
@pytest.mark.parametrize(
    "task_cls", [Company, JobTask, CompanyJob, DjangoTask, None, "async_accept.tasks:JobTask"]
)
def test_every_base_goes_with_every_class_of_an_app(task_cls, base):
    task = make(task_cls, base)
    assert isinstance(task, base)
    assert isinstance(task, task.app.Task)
    assert isinstance(task, DjangoTask)
    order = type(task).__mro__
    assert order.index(JobTask) < order.index(DjangoTask) < order.index(Task)


def test_the_class_of_the_app_decides_what_is_not_ours():
    task = make(Company)
    assert task.queue == "company"
    assert task.delay_on_commit() == "the company's own"
    assert {KeyError, WorkEnded} <= set(task.throws)
    assert task.before_start.__func__ is JobTask.before_start


@pytest.mark.parametrize("throws", [(ValueError,), ValueError, ()])
def test_what_a_task_throws_is_its_own_choice(throws):
    assert set(make(Company, throws=throws).throws) == {*([ValueError] if throws else []), WorkEnded}


def test_a_class_with_a_metaclass():
    class Abstract(Task, ABC):
        pass

    task = make(Abstract)
    assert isinstance(task, JobTask)
    assert isinstance(task, Abstract)


def test_a_task_that_is_a_class():
    class Report(JobTask):
        name = "company.report"

        def run(self):
            """Do nothing."""

    app = Celery("company", set_as_current=False)
    assert app.register_task(Report()).name == "company.report"


def test_the_call_of_the_base_class_is_around_the_work(calls):
    """Once, and with the message's own request, also in eager mode and in tests."""
    assert run_job(work).result == [True, 0]
    assert calls == ["before_start", "call", "on_success"]


def test_a_retry_inside_of_it(calls):
    assert run_job(work, again=True).result == [True, 1]
    assert calls.count("call") == 2


def test_without_a_job_it_is_called_as_well(calls):
    assert work.apply().get() == [True, 0]
    assert work() == [False, 0]
    assert calls.count("call") == 2


def test_a_replay_is_not_called_without_a_job():
    with pytest.raises(RuntimeError, match="captured requests"):
        replay_view()
    assert replay_view.autoretry_for == ()


@pytest.mark.django_db(transaction=True)
def test_a_task_is_sent_after_the_commit(eager):
    eager.task_store_eager_result = True
    with transaction.atomic():
        tasks.add.delay_on_commit(1, 2)
        assert not TaskResult.objects.exists()
    assert TaskResult.objects.get().result == "3"


# --- Overrides without super() ----------------------------------------------------------------------------------------


seen = []


class Careless(JobTask):
    """Overrides what Celery lets a project override, and calls ``super()`` nowhere."""

    def before_start(self, task_id, args, kwargs):
        seen.append(("before_start", dict(kwargs), dict(self.request.kwargs)))

    def __call__(self, *args, **kwargs):
        seen.append(("call", kwargs))
        return self.run(*args, **kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        seen.append(("on_success", kwargs))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        seen.append(("on_failure", kwargs))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        seen.append(("on_retry", kwargs))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        seen.append(("after_return", kwargs))


class CarelessMixin(Task):
    """The same, not knowing of jobs, and before ``JobTask``."""

    def before_start(self, task_id, args, kwargs):
        seen.append(("before_start", dict(kwargs), dict(self.request.kwargs)))

    def __call__(self, *args, **kwargs):
        seen.append(("call", kwargs))
        return self.run(*args, **kwargs)

    on_success, on_failure = Careless.on_success, Careless.on_failure
    on_retry, after_return = Careless.on_retry, Careless.after_return


class MixedIn(CarelessMixin, JobTask):
    pass


def work_as(self, end):
    seen.append(("work", end, self.request.kwargs))
    if end == "fail":
        raise KeyError
    if end == "retry" and not self.request.retries:
        raise self.retry(countdown=0)


careless = shared_task(base=Careless, bind=True, name="careless", max_retries=1)(work_as)
mixed_in = shared_task(base=MixedIn, bind=True, name="mixed_in", max_retries=1)(work_as)


@pytest.fixture(autouse=True)
def sights():
    seen.clear()
    return seen


@pytest.mark.parametrize("task", [careless, mixed_in], ids=["subclass", "mixin"])
@pytest.mark.parametrize(
    ("end", "handlers"),
    [
        ("return", ["on_success", "after_return"]),
        ("fail", ["on_failure", "after_return"]),
        ("retry", ["on_retry"]),
    ],
)
def test_overrides_without_super_lose_no_job_and_see_its_input(task, end, handlers):
    kwargs = {"end": end}
    job = make_job(task, input=kwargs, max_attempts=2)
    run_here(job)
    job.refresh_from_db()
    assert job.state == {"return": "succeeded", "fail": "failed", "retry": "accepted"}[end]
    assert job.attempt == 1
    assert seen == [
        ("before_start", kwargs, kwargs),
        ("call", kwargs),
        ("work", end, kwargs),
        *((name, kwargs) for name in handlers),
    ]


@pytest.mark.parametrize("task", [careless, mixed_in], ids=["subclass", "mixin"])
def test_a_second_message_of_a_job_does_no_work(task):
    job = make_job(task, input={"end": "return"})
    for _ in range(3):
        run_here(job)
    assert [name for name, *_ in seen].count("work") == 1


@pytest.mark.parametrize("task", [careless, mixed_in], ids=["subclass", "mixin"])
def test_without_a_job_the_overrides_are_called_as_well(task):
    task.apply(kwargs={"end": "return"}).get()
    assert [name for name, *_ in seen] == ["before_start", "call", "work", "on_success", "after_return"]


@pytest.mark.parametrize("error", [KeyError("hunter2"), Ignore("hunter2"), Reject("hunter2")])
def test_what_before_start_raises_ends_the_job(error, caplog):
    def refuse(self, task_id, args, kwargs):
        raise error

    task = make(None, before_start=refuse)
    job = make_job(task)
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
    job.refresh_from_db()
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert "hunter2" not in caplog.text


@shared_task(base=JobTask, name="hush")
def hush(secret):
    """Do nothing."""


def test_the_signal_after_a_task_has_the_input(caplog):
    """Which the log has not."""
    received = []

    def receive(kwargs, **others):
        received.append(kwargs)

    task_postrun.connect(receive)
    caplog.set_level("INFO")
    try:
        run_job(hush, secret="hunter2")
    finally:
        task_postrun.disconnect(receive)
    assert received == [{"secret": "hunter2"}]
    logged = [str(vars(record)) for record in caplog.records if record.name.startswith("celery")]
    assert logged
    assert "hunter2" not in str(logged)


@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("name", ["backend", "store_errors_even_if_ignored", "store_eager_result"])
def test_what_decides_how_an_attempt_ends_cannot_be_overridden(name, annotated):
    """Neither by an option, nor by ``task_annotations``."""
    app = Celery("company", set_as_current=False)
    options = {name: None}
    if annotated:
        app.conf.task_annotations, options = {"*": options}, {}

    @app.task(base=JobTask, name="company.own", shared=False, **options)
    def own():
        """Do nothing."""

    task = app.tasks["company.own"]
    assert type(task).overridden == (name,)
    assert isinstance(task.backend, JobBackend)
    assert task.store_errors_even_if_ignored is True


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_result": True},
        {"ignore_result": True, "store_errors_even_if_ignored": False},
        {"acks_late": True, "reject_on_worker_lost": True, "acks_on_failure_or_timeout": False},
        {"track_started": True, "send_events": True, "typing": False},
        {"on_success": lambda self, *args: seen.append("handler"), "max_retries": None},
    ],
    ids=lambda options: " ".join(options),
)
@pytest.mark.parametrize("end", ["return", "fail", "retry"])
def test_whatever_a_task_says_its_job_ends(options, end):
    app = Celery("company", set_as_current=False)

    @app.task(base=JobTask, name="company.any", shared=False, bind=True, **options)
    def work(self, end):
        if end == "fail":
            raise KeyError
        if end == "retry":
            raise self.retry(countdown=0)

    task = app.tasks["company.any"]
    job = make_job(task, input={"end": end}, max_attempts=2)
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
    job.refresh_from_db()
    assert job.state == {"return": "succeeded", "fail": "failed", "retry": "accepted"}[end]


# --- What a job has no use for ----------------------------------------------------------------------------------------


#: Not in the source line that a traceback shows.
SECRET = "".join(["hun", "ter", "2"])


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("deed", "named"),
    [
        (lambda self: self.replace(tasks.add.s(1, 2)), "replace()"),
        (lambda self: self.replace(tasks.add.s(1, 2) | tasks.add.s(3)), "replace()"),
        (lambda self: self.add_to_chord(tasks.add.s(1, 2)), "add_to_chord()"),
        (lambda self: raise_(Ignore(SECRET)), "Ignore"),
        (lambda self: raise_(Reject(SECRET, requeue=True)), "Reject"),
    ],
    ids=["replace", "replace by a chain", "add_to_chord", "Ignore", "Reject"],
)
def test_what_a_job_cannot_do_is_named_and_nothing_is_sent(deed, named, monkeypatch, caplog):
    app = Celery("company", set_as_current=False)
    monkeypatch.setattr(Task, "apply_async", lambda *args, **kwargs: pytest.fail("a message was sent"))
    monkeypatch.setattr(Celery, "send_task", lambda *args, **kwargs: pytest.fail("a message was sent"))

    @app.task(base=JobTask, name="company.deed", shared=False, bind=True)
    def work(self):
        return deed(self)

    task = app.tasks["company.deed"]
    job = make_job(task)
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
    job.refresh_from_db()
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert named in job.problem["detail"]
    assert named in caplog.text
    assert SECRET not in caplog.text + str(job.problem)


def test_the_state_of_another_task_is_not_this_jobs():
    @shared_task(base=JobTask, bind=True, name="tests.update")
    def update(self):
        self.update_state(state="PROGRESS", meta={"current": 1, "total": 4})
        self.update_state(state="PROGRESS", meta={"rows": 3})
        self.update_state(state="FAILURE", meta={"current": 9})
        with suppress(Exception):
            self.update_state(task_id="another", state="PROGRESS", meta={"current": 2, "total": 4})

    job = make_job(update)
    run_here(job)
    job.refresh_from_db()
    assert job.state == "succeeded"
    assert (job.progress["current"], job.progress["total"]) == (1, 4)


@pytest.mark.parametrize("name", ["input", "uploads", "message_options", "history"])
def test_a_job_whose_row_holds_no_json_fails(name, caplog):
    job = make_job(tasks.add, input={"x": 1, "y": 2})
    with connection.cursor() as cursor:
        pk = Job._meta.pk.get_db_prep_value(job.pk, connection)
        cursor.execute(f"UPDATE {Job._meta.db_table} SET {name} = %s WHERE id = %s", ["{no json", pk])
    run_here(job)
    found = Job.objects.only("state", "problem").get(pk=job.pk)
    assert (found.state, found.problem["code"]) == ("failed", "failed")
    assert found.problem["reference"] in caplog.text
