"""System checks: each fires when it should, is silent when it should be, and its hint names the mend."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, current_app, shared_task
from django.core import checks as django_checks
from django.core import mail
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test import override_settings
from django.urls import include, path
from django.views import View
from kombu import Queue
from rest_framework import mixins, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.renderers import JSONRenderer
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from async_accept import checks
from async_accept.conf import DEFAULTS
from async_accept.decorators import accepts, accepts_task
from async_accept.http.throttling import PollThrottle
from async_accept.http.views import JobViewSet
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.tasks import JobTask

DAY = timedelta(days=1)
ROOT = Path(__file__).resolve().parents[2]


def told(check):
    """What a check tells, by its id without the app's name."""
    return {message.id.removeprefix("async_accept."): message for message in check()}


def set_to(**values):
    return override_settings(ASYNC_ACCEPT=values)


def urlconf(*patterns):
    return type("urls", (), {"urlpatterns": list(patterns)})


@pytest.fixture
def celery(monkeypatch):
    """A Celery app of its own, as the current one, set up by keyword arguments."""

    def make(**options):
        app = Celery("checked", set_as_current=False)
        app.config_from_object({"broker_url": "memory://", "result_backend": "django-db", **options})
        monkeypatch.setattr(checks.celery, "current_app", app)
        return app

    return make


def test_the_tests_own_project_has_nothing_to_mend():
    messages = django_checks.run_checks(tags=[checks.TAG])
    assert [message for message in messages if message.level > django_checks.INFO] == []


def test_ids_are_known():
    """An id is a promise: it can be silenced, and the documentation explains it."""
    import re
    from pathlib import Path

    source = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    used = {f"E{int(n):03}" for n in re.findall(r"error\(\s*(\d+)", source)}
    used |= {f"W{int(n):03}" for n in re.findall(r"warning\(\s*(\d+)", source)}
    assert used == {f"E{n:03}" for n in range(2, 11)} | {f"W{n:03}" for n in range(1, 14)}


# --- E001: the results app ---------------------------------------------------------------------------------


ADMIN = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
]

SETUP = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=sys.argv[1:])
django.setup()
"""


@pytest.mark.parametrize(
    "installed",
    [
        [*ADMIN, "rest_framework", "async_accept"],
        ["async_accept", "rest_framework", *ADMIN],
        [*ADMIN, "tests.testapp", "async_accept"],
        [*ADMIN, "async_accept", "tests.testapp"],
    ],
)
def test_a_missing_results_app_is_told_with_the_line_that_adds_it(installed):
    """In every order, before the admin of this app is found: with a process of its own, since apps load once."""
    done = subprocess.run([sys.executable, "-c", SETUP, *installed], capture_output=True, text=True, cwd=ROOT)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: ")
    assert 'INSTALLED_APPS += ["django_celery_results"]  (async_accept.E001)' in last


# --- E002, E004: settings ------------------------------------------------------------------------------------


def test_an_unknown_key_gets_the_one_that_was_meant():
    with set_to(RESULT_LIFE_TIME=DAY):
        assert told(checks.check_settings)["E002"].hint == 'Did you mean "RESULT_LIFETIME"?'


def test_an_unknown_key_in_small_letters_gets_the_one_that_was_meant():
    with set_to(lease=DAY):
        assert '"LEASE"' in told(checks.check_settings)["E002"].hint


def test_a_key_like_no_other_gets_the_whole_list():
    with set_to(XYZ=1):
        assert "RESULT_LIFETIME" in told(checks.check_settings)["E002"].hint


def test_settings_that_are_no_dict_are_told():
    with override_settings(ASYNC_ACCEPT=["LEASE"]):
        assert set(told(checks.check_settings)) == {"E002"}


def test_the_defaults_make_sense():
    with set_to(**DEFAULTS):
        assert told(checks.check_settings) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE", -DAY),
        ("LEASE", timedelta()),
        ("LEASE", 15),
        ("RESULT_LIFETIME", "1 day"),
        ("JOB_LIFETIME", None),
        ("BROKER_TIMEOUT", 0),
        ("BROKER_TIMEOUT", DAY),
        ("BROKER_TIMEOUT", True),
        ("MAX_ATTEMPTS", 0),
        ("MAX_ATTEMPTS", 2.5),
        ("MAX_ATTEMPTS", True),
        ("MAX_INPUT_BYTES", "1 MB"),
        ("MAX_ACTIVE_PER_OWNER", 0),
        ("RELAY_IN_WORKER", "no"),
        ("RANDOM_ANONYMOUS_IDS", 1),
        ("ACCEPT_MODE", "sometimes"),
        ("IDEMPOTENCY", True),
        ("WHEN_BROKER_DOWN", "cry"),
        ("UPLOAD_STORAGE", "nowhere"),
        ("MAX_WAIT_SECONDS", -1),
        ("MAX_WAIT_SECONDS", DAY),
        ("REDACT_KEYS", "(["),
        ("REDACT_KEYS", None),
        ("PROBLEM_TYPE_BASE", ""),
        ("RETRY_AFTER", ()),
        ("RETRY_AFTER", 5),
        ("RETRY_AFTER", ((10, 1),)),
        ("RETRY_AFTER", ((10, 0), (None, 1))),
        ("RETRY_AFTER", ((60, 1), (10, 2), (None, 5))),
        ("RETRY_AFTER", ((10, 0.5), (None, 5))),
        ("RENDERER_CLASSES", "rest_framework.renderers.JSONRenderer"),
        ("RENDERER_CLASSES", ("rest_framework.renderers.Nothing",)),
        ("RENDERER_CLASSES", ("nothing.at.all.Renderer",)),
        ("RENDERER_CLASSES", ("rest_framework.renderers.TemplateHTMLRenderer",)),
        ("RENDERER_CLASSES", (dict,)),
        ("RENDERER_CLASSES", (5,)),
        ("POLL_RATE", "often"),
        ("POLL_RATE", 5),
    ],
)
def test_a_value_that_makes_no_sense_is_told_with_the_default(name, value):
    with set_to(**{name: value}):
        message = told(checks.check_settings)["E004"]
    assert name in message.msg
    assert name in message.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE", timedelta(minutes=5)),
        ("BROKER_TIMEOUT", 1),
        ("MAX_ACTIVE_PER_OWNER", 5),
        ("MAX_WAIT_SECONDS", 0),
        ("MAX_WAITERS", 0),
        ("POLL_RATE", None),
        ("POLL_RATE", "3/min"),
        ("RENDERER_CLASSES", ()),
        ("RENDERER_CLASSES", [JSONRenderer, "rest_framework.renderers.BrowsableAPIRenderer"]),
        ("RETRY_AFTER", ((None, 5),)),
        ("ACCEPT_MODE", "prefer"),
        ("ACCEPT_MODE", lambda request: "always"),
    ],
)
def test_a_value_that_makes_sense_is_not_told(name, value):
    with set_to(**{name: value}):
        assert told(checks.check_settings) == {}


def test_a_lease_shorter_than_three_heartbeats_is_told():
    with set_to(HEARTBEAT=timedelta(seconds=6)):
        message = told(checks.check_settings)["E004"]
    assert "three heartbeats" in message.msg
    assert message.hint == '"LEASE": timedelta(seconds=90),'


def test_a_key_that_outlives_its_job_is_told():
    """Contract 5: what is published must be kept."""
    with set_to(IDEMPOTENCY_KEY_LIFETIME=timedelta(days=31)):
        assert told(checks.check_settings)["E004"].hint == '"IDEMPOTENCY_KEY_LIFETIME": timedelta(days=30),'
    with set_to(IDEMPOTENCY_KEY_LIFETIME=timedelta(days=30)):
        assert told(checks.check_settings) == {}


def test_a_hint_can_be_pasted():
    for name in ("LEASE", "JOB_LIFETIME", "MAX_ATTEMPTS", "RETRY_AFTER", "REDACT_KEYS", "ACCEPT_MODE"):
        with set_to(**{name: object()}):
            hint = told(checks.check_settings)["E004"].hint
        assert eval("{" + hint + "\n}", {"timedelta": timedelta}) == {name: DEFAULTS[name]}  # noqa: S307


# --- E003: URLs ---------------------------------------------------------------------------------------------


def test_mounted_urls_are_not_told():
    assert told(checks.check_urls) == {}


def test_urls_that_are_not_mounted_are_told_with_the_line_that_mounts_them():
    with override_settings(ROOT_URLCONF=urlconf()):
        message = told(checks.check_urls)["E003"]
    assert 'path("api/jobs/", include("async_accept.urls"))' in message.hint


# --- E005, E006, E008, W005: views ----------------------------------------------------------------------------------


@shared_task
def ordinary_task():
    """A task that is no ``JobTask``."""


@shared_task(base=JobTask)
def job_task():
    """As it should be."""


def plain_function():
    """No task at all."""


def views_with(task):
    """Every place where a view can name its task."""

    class WithAttribute(AcceptMixin, APIView):
        accept_task = task

    class Adapter(AcceptMixin, APIView):
        pass

    class WithMethod(APIView):
        @accepts_task(task)
        def post(self, request):
            return {}

    class WithAction(viewsets.ViewSet):
        @action(detail=False, methods=["post"])
        @accepts_task(task)
        def build(self, request):
            return {}

    @api_view(["POST"])
    @accepts_task(task)
    def function(request):
        return {}

    return {
        "attribute": WithAttribute.as_view(),
        "as_view()": Adapter.as_view(accept_task=task),
        "method": WithMethod.as_view(),
        "action": WithAction.as_view({"post": "build"}),
        "function": function,
    }


PLACES = ["attribute", "as_view()", "method", "action", "function"]


def mounted(*views):
    patterns = [path(f"{number}/", view) for number, view in enumerate(views)]
    return override_settings(ROOT_URLCONF=urlconf(path("api/", include(patterns))))


@pytest.mark.parametrize("place", PLACES)
def test_a_job_task_is_not_told(place):
    with mounted(views_with(job_task)[place]):
        assert told(checks.check_views) == {}


@pytest.mark.parametrize("place", PLACES)
def test_a_task_that_is_no_job_task_is_told(place):
    with mounted(views_with(ordinary_task)[place]):
        messages = told(checks.check_views)
    assert set(messages) == {"E006"}
    assert "@shared_task(base=JobTask)" in messages["E006"].hint


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_task_at_all_is_told(place):
    with mounted(views_with(plain_function)[place]):
        messages = told(checks.check_views)
    assert set(messages) == {"E005"}
    assert "above plain_function" in messages["E005"].hint


def test_a_view_with_several_routes_is_told_once():
    view = views_with(ordinary_task)["method"]
    with mounted(view, view):
        assert len(checks.check_views()) == 1


def test_a_mixin_behind_the_views_class_is_told_with_the_right_order():
    class Orders(viewsets.ModelViewSet, AcceptCreateMixin):
        pass

    class SpecialOrders(Orders):
        pass

    class Report(APIView, AcceptMixin):
        pass

    view_set = SpecialOrders.as_view({"post": "create"})
    with mounted(Orders.as_view({"post": "create"}), view_set, view_set, Report.as_view()):
        messages = checks.check_views()
    assert {message.id for message in messages} == {"async_accept.E008"}
    assert sorted(message.hint for message in messages) == [
        "class Orders(AcceptCreateMixin, ModelViewSet):",
        "class Report(AcceptMixin, APIView):",
    ]


def test_a_mixin_among_mixins_is_not_told():
    class Orders(mixins.CreateModelMixin, AcceptCreateMixin, viewsets.GenericViewSet):
        pass

    with mounted(Orders.as_view({"post": "create"})):
        assert checks.check_views() == []


@pytest.mark.parametrize("where", ["view", "route", "handler"])
def test_a_time_limit_that_is_none_is_told(where):
    wrong = {"accept_time_limit": "60"}

    class Report(AcceptMixin, APIView):
        pass

    class Decorated(APIView):
        @accepts(time_limit="60")
        def post(self, request):
            """Do nothing."""

    views = {"view": type("Report", (Report,), wrong).as_view, "handler": Decorated.as_view}
    view = Report.as_view(**wrong) if where == "route" else views[where]()
    with mounted(view, view):
        (message,) = checks.check_views()
    assert message.id == "async_accept.E009"
    assert "accept_time_limit is '60'" in message.msg


@pytest.mark.parametrize(("known", "ids"), [("slow", set()), ("other", {"async_accept.E009"})])
def test_a_queue_that_celery_does_not_make_is_told(monkeypatch, request, known, ids):
    class Report(AcceptMixin, APIView):
        accept_queue = "slow"

    current_app.conf.task_create_missing_queues = False
    request.addfinalizer(lambda: setattr(current_app.conf, "task_create_missing_queues", True))
    monkeypatch.setattr(current_app.amqp, "queues", current_app.amqp.Queues([Queue(known)]))
    with mounted(Report.as_view()):
        assert {message.id for message in checks.check_views()} == ids


def test_accepts_on_a_view_of_djangos_is_told():
    """At import nobody could tell whether ``@api_view`` comes above it."""

    @accepts()
    def function(request):
        """Do nothing."""

    class Method(View):
        @accepts()
        def post(self, request):
            """Do nothing."""

    class Fine(APIView):
        @accepts()
        def post(self, request):
            """Do nothing."""

    with mounted(function, function, Method.as_view(), Fine.as_view(), api_view(["POST"])(function)):
        messages = checks.check_views()
    assert [message.id for message in messages] == ["async_accept.E010"] * 2
    assert ['@api_view(["POST"])' in message.msg for message in messages] == [True, False]
    assert "class Method(APIView):" in messages[1].msg


def test_a_throttle_of_the_whole_project_that_counts_polls_is_told():
    class Jobs(JobViewSet):
        throttle_classes = (UserRateThrottle,)

    project_wide = override_settings(
        REST_FRAMEWORK={"DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"]}
    )
    with mounted(Jobs.as_view({"get": "list"})), project_wide:
        assert "PollThrottle" in told(checks.check_views)["W005"].hint


def test_the_jobs_own_throttle_is_not_told():
    assert JobViewSet.throttle_classes == (PollThrottle,)
    with mounted(JobViewSet.as_view({"get": "list"})):
        assert told(checks.check_views) == {}


# --- E007, W003, W008, W010: databases --------------------------------------------------------------------------------


def test_results_in_another_database_are_told():
    class Router:
        def db_for_write(self, model, **hints):
            return "results" if model._meta.app_label == "django_celery_results" else None

    with override_settings(DATABASE_ROUTERS=[Router()]):
        message = told(checks.check_databases)["E007"]
    assert "django_celery_results" in message.hint


@pytest.fixture
def database(monkeypatch, tmp_path):
    """The default database, as if it were another one."""

    def pretend(vendor="sqlite", name="shop.sqlite3", **options):
        connection = SimpleNamespace(
            vendor=vendor, settings_dict={"NAME": str(tmp_path / name), "OPTIONS": options}
        )
        for module in (checks.celery, checks.databases):
            monkeypatch.setattr(module, "connections", {"default": connection})
        return tmp_path / name

    return pretend


IMMEDIATE = {"transaction_mode": "IMMEDIATE"}


def test_sqlite_as_django_sets_it_up_is_told_with_the_whole_mend(database):
    database()
    message = told(checks.check_databases)["W003"]
    assert "journal_mode=WAL and transaction_mode IMMEDIATE" in message.msg
    mend = eval("{" + message.hint + "}")  # noqa: S307
    database(**mend["OPTIONS"])
    assert told(checks.check_databases) == {}


def test_sqlite_without_immediate_transactions_is_told(database):
    database(init_command="PRAGMA journal_mode=WAL;")
    assert "lacks transaction_mode IMMEDIATE" in told(checks.check_databases)["W003"].msg


def test_a_file_that_keeps_a_write_ahead_log_needs_no_command(database):
    file = database(**IMMEDIATE)
    file.write_bytes(b"SQLite format 3\0\x10\x00\x02\x02")
    assert told(checks.check_databases) == {}
    file.write_bytes(b"SQLite format 3\0\x10\x00\x01\x01")
    assert "W003" in told(checks.check_databases)


def test_sqlite_in_memory_is_not_told(monkeypatch):
    connection = SimpleNamespace(vendor="sqlite", settings_dict={"NAME": ":memory:"})
    for module in (checks.celery, checks.databases):
        monkeypatch.setattr(module, "connections", {"default": connection})
    assert told(checks.check_databases) == {}


@pytest.mark.parametrize("vendor", ["postgresql", "mysql"])
def test_a_database_server_is_not_told(database, vendor):
    database(vendor)
    assert told(checks.check_databases) == {}


@pytest.mark.parametrize(("vendor", "is_told"), [("mysql", True), ("postgresql", False)])
def test_times_without_a_zone_are_told_where_the_database_keeps_none(database, vendor, is_told):
    database(vendor)
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        assert ("W008" in told(checks.check_databases)) is is_told
    with override_settings(USE_TZ=False, TIME_ZONE="UTC"):
        assert "W008" not in told(checks.check_databases)


@pytest.mark.parametrize(
    ("vendor", "level", "is_told"),
    [
        ("postgresql", IsolationLevel.READ_COMMITTED, False),
        ("postgresql", IsolationLevel.REPEATABLE_READ, True),
        ("postgresql", IsolationLevel.SERIALIZABLE, True),
        ("postgresql", IsolationLevel.SERIALIZABLE.value, True),
        ("mysql", "read committed", False),
        ("mysql", "READ COMMITTED", False),
        ("mysql", "repeatable read", True),
        ("mysql", "serializable", True),
        ("mysql", None, True),
    ],
)
def test_transactions_that_do_not_see_what_others_commit_are_told(database, vendor, level, is_told):
    database(vendor, isolation_level=level)
    messages = told(checks.check_databases)
    assert ("W010" in messages) is is_told
    if is_told:
        mended = eval("{" + messages["W010"].hint + "}", {"IsolationLevel": IsolationLevel})  # noqa: S307
        database(vendor, **mended)
        assert told(checks.check_databases) == {}


def test_an_outage_around_the_views_is_noted(monkeypatch, settings):
    assert "I002" not in told(checks.check_atomic_requests)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    note = told(checks.check_atomic_requests)["I002"]
    assert note.level == django_checks.INFO
    mended = {"MIDDLEWARE": list(settings.MIDDLEWARE)}
    exec(note.hint, mended)  # noqa: S102
    settings.MIDDLEWARE = mended["MIDDLEWARE"]
    assert "I002" not in told(checks.check_atomic_requests)


# --- W001, W002, W004, W006, W007, W009, I001: Celery ---------------------------------------------------------------


@pytest.mark.parametrize("expires", [3600, timedelta(hours=1)])
def test_results_that_go_before_their_promised_life_are_told(celery, expires):
    celery(result_expires=expires)
    assert told(checks.check_celery)["W001"].hint == "CELERY_RESULT_EXPIRES = timedelta(days=1)"


@pytest.mark.parametrize("options", [{}, {"result_expires": None}, {"result_expires": 2 * DAY}])
def test_results_that_are_kept_for_long_enough_are_not_told(celery, options):
    celery(**options)
    assert "W001" not in told(checks.check_celery)


def test_results_that_celery_keeps_elsewhere_do_not_matter(celery):
    celery(result_expires=60, result_backend="cache+memory://")
    assert "W001" not in told(checks.check_celery)


@pytest.mark.parametrize(
    ("debug", "testing", "is_told"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_eager_mode_is_told_in_production_only(celery, settings, monkeypatch, debug, testing, is_told):
    celery(task_always_eager=True)
    settings.DEBUG = debug
    if not testing:
        monkeypatch.delattr(mail, "outbox")
    assert ("W002" in told(checks.check_celery)) is is_told


@pytest.mark.parametrize(
    "options",
    [{"accept_content": ["json", "pickle"]}, {"task_serializer": "pickle"}, {"result_serializer": "pickle"}],
)
def test_pickle_is_told(celery, options):
    celery(**options)
    (name,) = options
    assert f"CELERY_{name.upper()} = " in told(checks.check_celery)["W004"].hint


def test_json_is_not_told(celery):
    celery(accept_content=["json", "msgpack"])
    assert "W004" not in told(checks.check_celery)


def test_a_job_task_that_gives_its_message_back_is_told(celery):
    app = celery()
    app.task(shared=False, base=JobTask, name="late", acks_late=True, reject_on_worker_lost=True)(
        plain_function
    )
    assert "late" in told(checks.check_celery)["W006"].hint


def test_where_the_project_says_so_for_all_its_tasks_it_is_told(celery):
    app = celery(task_acks_late=True, task_reject_on_worker_lost=True)
    app.task(shared=False, base=JobTask, name="late")(plain_function)
    assert any(message.msg.startswith("late gives") for message in checks.check_celery())


def test_an_ordinary_task_may_do_so(celery):
    app = celery()
    app.task(shared=False, name="late", acks_late=True, reject_on_worker_lost=True)(plain_function)
    app.task(shared=False, base=JobTask, name="early", reject_on_worker_lost=True)(plain_function)
    assert "W006" not in told(checks.check_celery)


@pytest.mark.parametrize(
    ("broker", "limit", "is_told"),
    [
        ("redis://localhost/0", 7200, True),
        ("redis://one/0;redis://two/0", 7200, True),
        (["rediss://one/0", "rediss://two/0"], 7200, True),
        ("redis://localhost/0", 60, False),
        ("redis://localhost/0", None, False),
        ("amqp://localhost", 7200, False),
    ],
)
def test_a_task_longer_than_the_visibility_timeout_is_told(celery, broker, limit, is_told):
    app = celery(broker_url=broker)
    app.task(shared=False, base=JobTask, name="long", acks_late=True, time_limit=limit)(plain_function)
    messages = told(checks.check_celery)
    assert ("W007" in messages) is is_told
    if is_told:
        assert '"visibility_timeout": 14400' in messages["W007"].hint


def test_a_project_without_a_celery_app_is_told(monkeypatch):
    monkeypatch.setattr(checks.celery, "current_app", Celery("default", set_as_current=False))
    assert "from .celery import app" in told(checks.check_celery)["W009"].hint


@pytest.mark.parametrize(
    ("vendor", "options", "is_told"),
    [
        ("postgresql", {}, True),
        ("postgresql", {"db_reuse_max": 1000}, False),
        ("sqlite", {}, False),
    ],
)
def test_connections_that_celery_closes_are_noted(celery, database, vendor, options, is_told):
    app = celery()
    app.conf.update(options)
    database(vendor)
    messages = told(checks.check_reconnects)
    assert ("I001" in messages) is is_told
    if is_told:
        assert messages["I001"].level == django_checks.INFO
        assert messages["I001"].hint == "CELERY_DB_REUSE_MAX = 1000"


def test_notes_are_told_before_a_deployment_only(monkeypatch):
    """A new project has nothing to read after the README's edits."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert not [m for m in django_checks.run_checks(tags=[checks.TAG]) if m.level < django_checks.WARNING]
    deployed = django_checks.run_checks(tags=[checks.TAG], include_deployment_checks=True)
    assert "async_accept.I002" in {message.id for message in deployed}


def test_the_projects_own_app_is_the_current_one():
    assert current_app.main != "default"
    assert connections["default"]
