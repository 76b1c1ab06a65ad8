"""I001, W001, W002, W004, W006, W007, W009, W014: Celery."""

from datetime import timedelta

import pytest
from celery import Celery
from django.core import checks as django_checks
from django.core import mail

from async_accept import checks
from async_accept.checks import check_celery
from async_accept.tasks import JobTask
from tests.checks.conftest import told

DAY = timedelta(days=1)


def plain_function():
    """The work of a task."""


@pytest.mark.parametrize("expires", [3600, timedelta(hours=1)])
def test_results_that_go_before_their_promised_life_are_told(celery, expires):
    celery(result_expires=expires)
    assert told(check_celery)["W001"].hint == "CELERY_RESULT_EXPIRES = timedelta(days=1)"


@pytest.mark.parametrize("options", [{}, {"result_expires": None}, {"result_expires": 2 * DAY}])
def test_results_that_are_kept_for_long_enough_are_not_told(celery, options):
    celery(**options)
    assert "W001" not in told(check_celery)


def test_results_that_celery_keeps_elsewhere_do_not_matter(celery):
    celery(result_expires=60, result_backend="cache+memory://")
    assert "W001" not in told(check_celery)


@pytest.mark.parametrize(
    ("debug", "testing", "is_told"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_eager_mode_is_told_in_production_only(celery, settings, monkeypatch, debug, testing, is_told):
    celery(task_always_eager=True)
    settings.DEBUG = debug
    if not testing:
        monkeypatch.delattr(mail, "outbox")
    assert ("W002" in told(check_celery)) is is_told


@pytest.mark.parametrize(
    "options",
    [{"accept_content": ["json", "pickle"]}, {"task_serializer": "pickle"}, {"result_serializer": "pickle"}],
)
def test_pickle_is_told(celery, options):
    celery(**options)
    (name,) = options
    assert f"CELERY_{name.upper()} = " in told(check_celery)["W004"].hint


def test_json_is_not_told(celery):
    celery(accept_content=["json", "msgpack"])
    assert "W004" not in told(check_celery)


def test_a_job_task_that_gives_its_message_back_is_told(celery):
    app = celery()
    app.task(shared=False, base=JobTask, name="late", acks_late=True, reject_on_worker_lost=True)(
        plain_function
    )
    assert "late" in told(check_celery)["W006"].hint


def test_it_is_told_if_the_project_says_so_for_all_its_tasks(celery):
    app = celery(task_acks_late=True, task_reject_on_worker_lost=True)
    app.task(shared=False, base=JobTask, name="late")(plain_function)
    assert any(message.msg.startswith("late gives") for message in check_celery())


def test_an_ordinary_task_may_do_so(celery):
    app = celery()
    app.task(shared=False, name="late", acks_late=True, reject_on_worker_lost=True)(plain_function)
    app.task(shared=False, base=JobTask, name="early", reject_on_worker_lost=True)(plain_function)
    assert "W006" not in told(check_celery)


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
    messages = told(check_celery)
    assert ("W007" in messages) is is_told
    if is_told:
        assert '"visibility_timeout": 14400' in messages["W007"].hint


def test_a_project_without_a_celery_app_is_told(monkeypatch):
    monkeypatch.setattr(checks.celery, "current_app", Celery("default", set_as_current=False))
    assert "from .celery import app" in told(check_celery)["W009"].hint


@pytest.mark.parametrize(
    ("vendor", "options", "reuse_max", "hint"),
    [
        ("postgresql", {}, None, '"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True,'),
        ("postgresql", {"pool": True}, None, "CELERY_DB_REUSE_MAX = 1000"),
        ("postgresql", {"max_age": 60}, None, None),
        ("postgresql", {"max_age": None}, None, None),
        ("postgresql", {}, 1000, None),
        ("sqlite", {}, None, None),
    ],
)
def test_connections_that_celery_closes_are_noted(celery, database, vendor, options, reuse_max, hint):
    celery().conf.update(db_reuse_max=reuse_max)
    database(vendor, **options)
    assert [(note.hint, note.level) for note in checks.check_reconnects()] == [
        (each, django_checks.INFO) for each in [hint] if each
    ]


@pytest.mark.parametrize(
    ("options", "annotations"),
    [({"backend": None}, {}), ({}, {"*": {"backend": None}}), ({}, {}), ({"ignore_result": True}, {})],
)
def test_an_override_without_effect_is_told(celery, options, annotations):
    app = celery(task_annotations=annotations)
    app.task(base=JobTask, name="checked.work", shared=False, **options)(plain_function)
    found = [message for message in check_celery() if message.id.endswith("W014")]
    assert any("checked.work" in message.msg for message in found) == bool(
        "backend" in options or annotations
    )
    assert all("backend" in message.hint for message in found)
