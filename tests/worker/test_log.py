"""The log of a failed job: the project's own last line, in one record, and no message of the exception."""

import importlib.util
import logging
import sys

import pytest
from celery import shared_task, signals
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded
from django.urls import include, path
from django.urls.base import clear_url_caches
from rest_framework.generics import CreateAPIView
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.exceptions import JobCanceled, JobFailed
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask
from async_accept.testing import make_job, run_accepted_jobs
from async_accept.worker import failure_log, finish
from async_accept.worker.errors import failure
from async_accept.worker.failure_log import celery_logs
from async_accept.worker.places import place_of, work_of
from tests.testapp.models import Note
from tests.testapp.serializers import NoteSerializer

pytestmark = pytest.mark.django_db

#: It stands in no source line whole.
SECRET = "".join(["hun", "ter", "2"])
deeds = {}


@shared_task(base=JobTask)
def do_deed():
    return deeds["deed"]()


@shared_task(base=JobTask)
def do_deed_elsewhere():
    """As another one, for what is said once of each operation."""
    return deeds["deed"]()


def throw(error):
    raise error


def do(deed, task=do_deed, **columns):
    deeds["deed"] = deed
    job = make_job(task, **columns)
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    return job


@pytest.fixture
def told(caplog):
    """Return the one record of an error, as a handler writes it."""

    def one():
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        return logging.Formatter("%(name)s %(message)s").format(record)

    return one


# --- A bug ---------------------------------------------------------------------------------------------------


def test_the_log_has_the_line_of_the_bug(told):
    do(lambda: Note.objects.get(slug="there is none"))
    text = told()
    assert 'Note.objects.get(slug="there is none")' in text
    assert "DoesNotExist in tests.worker.test_log:" in text
    assert "django/db/models/query.py" in text  # where it was raised, below
    assert "async_accept/tasks.py" not in text
    assert "celery/app/trace.py" not in text


def test_no_message_is_in_the_log_also_of_no_cause(told):
    def deed():
        try:
            throw(KeyError(SECRET))
        except KeyError as error:
            raise ValueError(SECRET) from error

    do(deed)
    text = told()
    assert SECRET not in text
    assert "direct cause" in text
    assert "throw(KeyError(SECRET))" in text
    assert "raise ValueError(SECRET) from error" in text


def test_what_was_being_handled_is_in_the_log_too(told):
    def deed():
        try:
            throw(KeyError(SECRET))
        except KeyError:
            throw(ValueError(SECRET))

    do(deed)
    assert "During handling of the above exception" in (text := told())
    assert SECRET not in text


def test_the_parts_of_a_group_are_in_the_log(told):
    def part():
        try:
            throw(KeyError(SECRET))
        except KeyError as error:
            return error

    def deed():
        error = part()
        error.add_note(SECRET)
        raise ExceptionGroup(SECRET, [error])

    do(deed)
    text = told()
    assert "throw(KeyError(SECRET))" in text
    assert SECRET not in text


def test_causes_that_lead_in_a_circle_have_an_end(told):
    def deed():
        one, two = ValueError(SECRET), KeyError(SECRET)
        one.__context__, two.__context__ = two, one
        raise one

    do(deed)
    assert SECRET not in told()


def test_a_password_in_the_source_is_hidden(told):
    do(lambda: throw(RuntimeError("postgres://shop:hunter3@db/shop")))
    assert "hunter3" not in told()


def test_celery_events_and_signals_get_no_source_line(told):
    heard = []

    def listen(einfo, exception, **kwargs):
        heard.append((einfo.traceback, exception))

    signals.task_failure.connect(listen)
    try:
        do(lambda: throw(RuntimeError("in plain sight")))
    finally:
        signals.task_failure.disconnect(listen)
    [(text, exception)] = heard
    assert "in plain sight" not in f"{text} {exception}"
    assert str(exception.error) == "in plain sight"  # in this process


def test_one_failure_is_one_error_if_the_log_of_celery_is_silent(monkeypatch, told):
    """As it is with Django's LOGGING, which disables the loggers that exist before it."""
    monkeypatch.setattr(failure_log.celery_logger, "disabled", True)
    job = do(lambda: throw(RuntimeError(SECRET)))
    text = told()
    assert text.startswith("async_accept.worker.finish Job ")
    assert job.problem["reference"] in text
    assert "do(lambda: throw(RuntimeError(SECRET)))" in text
    assert SECRET not in text


def test_the_log_of_celery_is_silent_without_a_handler(monkeypatch):
    """Outside of a worker nobody gives it one."""
    logger = logging.Logger("alone")  # noqa: LOG001 nobody else shall find it
    logger.addHandler(logging.NullHandler())
    monkeypatch.setattr(failure_log, "celery_logger", logger)
    assert not celery_logs()
    logger.parent = logging.Logger("above")  # noqa: LOG001 as above
    logger.parent.addHandler(logging.StreamHandler())
    assert celery_logs()
    logger.propagate = False
    assert not celery_logs()


class LogURLs:
    """Views of this file, mounted for one test."""

    class Crash(AcceptMixin, APIView):
        def post(self, request):
            return self.deeper(request.data)

        def deeper(self, data):
            return data["missing"]

    class Large(AcceptMixin, APIView):
        def post(self, request):
            return Response("x" * 2_000_000)

    class Notes(AcceptCreateMixin, CreateAPIView):
        queryset = Note.objects.all()
        serializer_class = NoteSerializer

        def perform_create(self, serializer):
            serializer.save()
            type(serializer).data = property(lambda self: {"not": float("nan")})

    urlpatterns = [
        path("crash/", Crash.as_view()),
        path("large/", Large.as_view()),
        path("notes/", Notes.as_view()),
        path("api/jobs/", include("async_accept.urls")),
    ]


@pytest.fixture
def replay(monkeypatch, settings, django_user_model):
    monkeypatch.setitem(sys.modules, "log_urls", LogURLs)
    settings.ROOT_URLCONF = "log_urls"
    clear_url_caches()
    client = APIClient()
    client.force_authenticate(django_user_model.objects.create(username="alice"))

    def run(url, data):
        assert client.post(url, data).status_code == 202
        run_accepted_jobs(raises=False)
        return Job.objects.get()

    yield run
    clear_url_caches()


def test_a_replay_shows_the_frames_of_the_view(replay, told):
    replay("/crash/", {"x": 1})
    text = told()
    assert 'return data["missing"]' in text
    assert "return self.deeper(request.data)" in text
    assert "async_accept/jobs/replay.py" not in text


# --- The place ------------------------------------------------------------------------------------------------


def load(tmp_path, name, monkeypatch):
    """Import a package that was installed, whose function raises."""
    file = tmp_path / "site-packages" / name / "work.py"
    file.parent.mkdir(parents=True)
    file.write_text("def work():\n    raise ValueError\n")
    spec = importlib.util.spec_from_file_location(f"{name}.work", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("It raised nothing.")


def test_the_place_is_the_projects_deepest_frame(tmp_path, monkeypatch):
    installed = load(tmp_path, "some_library", monkeypatch)

    def call():
        installed.work()

    assert place_of(raised(call)).startswith("tests.worker.test_log:")


def test_a_project_may_be_installed_itself(tmp_path, monkeypatch, settings):
    settings.ROOT_URLCONF = "company_project.urls"
    installed = load(tmp_path, "company_project", monkeypatch)
    assert place_of(raised(installed.work)) == "company_project.work:2"


def test_an_error_without_a_frame_of_the_project_says_so():
    error = raised(exec, compile("raise ValueError", "<string>", "exec"), {"__name__": "made"})
    error = error.with_traceback(error.__traceback__.tb_next)
    assert place_of(error) == ""
    assert "ValueError in no code of the project, reference" in str(failure(error))


def test_the_place_of_a_group_is_where_a_part_was_raised():
    part = raised(throw, KeyError())
    group = raised(throw, ExceptionGroup("", [part]))
    assert place_of(group) == place_of(part)


# --- A result that is none ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "code"),
    [
        ("x" * 2_000_000, "ResultTooLarge", "result-too-large"),
        (float("nan"), "Unencodable", "result-unencodable"),
        (object(), "Unencodable", "result-unencodable"),
    ],
)
def test_a_result_that_cannot_be_kept_is_an_error(told, value, kind, code):
    """It names operation and task; no line of the project is in the traceback."""
    job = do(lambda: value, operation="reports.create")
    assert job.problem["code"] == code
    line = do_deed.run.__code__.co_firstlineno
    summary = f"{kind} of reports.create in tests.worker.test_log:{line} (do_deed), {code}"
    assert summary in (text := told())
    assert "Traceback" not in text


def test_a_result_whose_own_code_raises_shows_that_line(told):
    class Rows(dict):
        def items(self):
            raise TypeError(SECRET)

    do(lambda: Rows(a=1))
    text = told()
    assert "raise TypeError(SECRET)" in text
    assert "Unencodable of do_deed in tests.worker.test_log:" in text
    assert SECRET not in text


def test_a_view_whose_result_is_too_large_is_named(replay, told):
    replay("/large/", {})
    assert "ResultTooLarge of large.create in tests.worker.test_log:" in (text := told())
    assert "(LogURLs.Large.post), result-too-large" in text


def test_a_handler_of_rest_framework_is_named_by_its_view(replay, told, monkeypatch):
    monkeypatch.setattr(NoteSerializer, "data", NoteSerializer.data)
    replay("/notes/", {"slug": "a", "title": "A"})
    assert "in tests.worker.test_log.LogURLs.Notes.post, result-unencodable" in told()


def test_work_that_is_gone_is_named_by_its_task():
    assert work_of(make_job("shop.tasks.gone")) == "shop.tasks.gone"
    gone = make_job("async_accept.replay", request={"path_info": "/gone/", "urlconf": None, "method": "POST"})
    assert work_of(gone) == "async_accept.replay"


# --- A result that grows ----------------------------------------------------------------------------------------


@pytest.fixture
def hints(caplog, monkeypatch):
    monkeypatch.setattr(finish, "hinted", set())
    return lambda: [record.message for record in caplog.records if "MAX_RESULT_BYTES" in record.message]


@pytest.mark.parametrize("atomic", [True, False])
def test_half_the_limit_is_hinted_at_once(hints, monkeypatch, atomic):
    monkeypatch.setattr(do_deed, "atomic", atomic)
    for size in (400_000, 600_000, 700_000):
        assert do(lambda size=size: "x" * size).state == "succeeded"
    line = do_deed.run.__code__.co_firstlineno
    assert hints() == [
        f"A result of do_deed has 600002 bytes, from tests.worker.test_log:{line} (do_deed). "
        "With more than 1000000 (MAX_RESULT_BYTES) the job fails."
    ]


def test_each_operation_has_its_hint(hints):
    for task in (do_deed, do_deed_elsewhere):
        do(lambda: "x" * 600_000, task)
    assert len(hints()) == 2


def test_a_result_within_half_the_limit_is_no_news(hints):
    do(lambda: "x" * 499_998)
    do(lambda: None)
    assert hints() == []


# --- One failure, one error -------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "silent"])
@pytest.mark.parametrize(
    ("deed", "errors_told"),
    [
        (lambda: throw(ValueError()), 1),
        (lambda: throw(Stop()), 1),
        (lambda: throw(SystemExit(1)), 1),
        (lambda: throw(MemoryError()), 1),
        (lambda: object(), 1),
        (lambda: "x" * 2_000_000, 1),
        (lambda: throw(Retry(when="soon")), 1),
        (lambda: throw(Ignore()), 1),
        (lambda: JobFailed(status=500, detail="No."), 1),
        (lambda: throw(JobFailed("No.")), 0),
        (lambda: throw(JobCanceled("stop")), 0),
        (lambda: throw(SoftTimeLimitExceeded()), 0),
        (lambda: Response({}, status=422), 0),
        (lambda: 1, 0),
    ],
)
def test_one_failure_is_one_error(monkeypatch, caplog, heard, deed, errors_told):
    """Whether a handler hears Celery's own logger (in a worker) or none does (eager, a test)."""
    monkeypatch.setattr(do_deed, "atomic", heard)
    if not heard:
        for module in (failure_log, finish):
            monkeypatch.setattr(module, "celery_logs", lambda: False)
    job = do(deed)
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == errors_told
    for record in records:
        assert job.problem.get("reference", job.problem["code"]) in record.getMessage()
        assert record.job_id == str(job.pk)
