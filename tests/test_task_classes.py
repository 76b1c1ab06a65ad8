"""The class of a job's task: ``JobTask`` before the app's own task class."""

from abc import ABC

import pytest
from celery import Celery, Task, shared_task
from celery.contrib.django.task import DjangoTask
from django.db import transaction
from django_celery_results.models import TaskResult

from async_accept.exceptions import WorkEnded
from async_accept.tasks import JobTask, ReplayTask, replay_view
from async_accept.testing import run_job
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
