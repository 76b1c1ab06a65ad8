from types import SimpleNamespace

import pytest

from async_accept.webhooks import checks
from async_accept.webhooks.checks import check_webhooks


def ids():
    return [message.id.removeprefix("async_accept.") for message in check_webhooks()]


def test_a_sound_set_up_has_nothing_to_tell():
    assert ids() == []


@pytest.mark.parametrize("debug", [True, False])
def test_loopback_is_for_tests_only(settings, debug):
    settings.ASYNC_ACCEPT = {"WEBHOOK_ALLOW_LOOPBACK": True}
    settings.DEBUG = debug
    assert ids() == ([] if debug else ["W017"])


@pytest.mark.parametrize(("names", "told"), [(["celery"], ["E016"]), (["celery", "webhooks"], [])])
def test_a_queue_that_celery_does_not_make(monkeypatch, names, told):
    app = SimpleNamespace(
        conf=SimpleNamespace(task_create_missing_queues=False),
        amqp=SimpleNamespace(queues=names),
    )
    monkeypatch.setattr(checks, "current_app", app)
    assert ids() == told


def test_the_extra_and_the_database(monkeypatch):
    monkeypatch.setattr(checks, "PACKAGES", ("standardwebhooks", "no_such_package"))
    monkeypatch.setattr(checks, "database", lambda: "jobs")
    assert ids() == ["E014", "E015"]
