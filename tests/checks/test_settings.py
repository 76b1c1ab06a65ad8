"""E002, E004: settings."""

from datetime import timedelta

import pytest
from django.test import override_settings
from rest_framework.renderers import JSONRenderer

from async_accept.checks import check_settings
from async_accept.checks.settings import written
from async_accept.conf import DEFAULTS, LONGEST
from tests.checks.conftest import set_to, told

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("RESULT_LIFE_TIME", 'Did you mean "RESULT_LIFETIME"?'),
        ("lease", 'Did you mean "LEASE"?'),
        ("XYZ", "RESULT_LIFETIME"),  # like no other: the whole list
    ],
)
def test_an_unknown_key_gets_the_one_that_was_meant(name, hint):
    with set_to(**{name: DAY}):
        assert hint in told(check_settings)["E002"].hint


def test_settings_that_are_no_dict_are_told():
    with override_settings(ASYNC_ACCEPT=["LEASE"]):
        assert set(told(check_settings)) == {"E002"}


def test_the_defaults_make_sense():
    with set_to(**DEFAULTS):
        assert told(check_settings) == {}


def test_a_value_that_makes_no_sense_is_told_with_the_default():
    for name, value in [
        ("LEASE", -DAY),
        ("LEASE", timedelta()),
        ("LEASE", 15),
        ("JOB_LIFETIME", timedelta.max),  # the end of a job would be a time that no column holds
        ("RESULT_LIFETIME", LONGEST + DAY),
        ("WEBHOOK_RETRY_DELAYS", [timedelta.max]),
        ("RESULT_LIFETIME", "1 day"),
        ("JOB_LIFETIME", None),
        ("BROKER_TIMEOUT", 0),
        ("BROKER_TIMEOUT", DAY),
        ("BROKER_TIMEOUT", True),
        ("MAX_ATTEMPTS", 0),
        ("MAX_ATTEMPTS", 2.5),
        ("MAX_ATTEMPTS", True),
        ("MAX_ATTEMPTS", 30_001),
        ("MAX_INPUT_BYTES", "1 MB"),
        ("MAX_ACTIVE_PER_OWNER", 0),
        ("MAX_STREAMS", -1),
        ("MAX_STREAMS_PER_CALLER", "many"),
        ("MAX_STREAM_OPENINGS", 0),
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
        ("WEBHOOK_RETRY_DELAYS", (5, 300)),
        ("WEBHOOK_RETRY_DELAYS", DAY),
        ("WEBHOOK_RETRY_DELAYS", (DAY, timedelta())),
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
        ("POLL_RATE", "100/10s"),
        ("POLL_RATE", "100/"),
        ("POLL_RATE", "0/s"),
        ("POLL_RATE", "1/2/s"),
    ]:
        with set_to(**{name: value}):
            message = told(check_settings)["E004"]
        assert name in message.msg, (name, value)
        assert name in message.hint


def test_a_value_that_makes_sense_is_not_told():
    for name, value in [
        ("LEASE", timedelta(minutes=5)),
        ("BROKER_TIMEOUT", 1),
        ("MAX_ACTIVE_PER_OWNER", 5),
        ("MAX_WAIT_SECONDS", 0),
        ("MAX_WAITERS", 0),
        ("MAX_STREAMS", None),
        ("MAX_STREAMS_PER_CALLER", 0),
        ("RENDERER_CLASSES", ()),
        ("RENDERER_CLASSES", [JSONRenderer, "rest_framework.renderers.BrowsableAPIRenderer"]),
        ("POLL_RATE", None),
        *(("POLL_RATE", f"3/{period}") for period in ("s", "sec", "min", "hour", "d")),
        ("WEBHOOK_RETRY_DELAYS", [DAY]),
        ("WEBHOOK_RETRY_DELAYS", ()),
        ("RETRY_AFTER", ((None, 5),)),
        ("ACCEPT_MODE", "prefer"),
        ("ACCEPT_MODE", lambda request: "always"),
    ]:
        with set_to(**{name: value}):
            assert told(check_settings) == {}, (name, value)


@pytest.mark.parametrize(
    ("lease", "interval", "is_told"),
    [(15, 3, False), (15, 4, False), (15, 5, True), (5, 3, True), (60, 15, False)],
)
def test_a_relay_that_looks_too_seldom_is_told(lease, interval, is_told):
    with set_to(LEASE=timedelta(seconds=lease), RELAY_INTERVAL=timedelta(seconds=interval)):
        assert list(told(check_settings)) == ["W019"] * is_told


def test_a_lease_shorter_than_three_heartbeats_is_told():
    with set_to(HEARTBEAT=timedelta(seconds=6)):
        message = told(check_settings)["E004"]
    assert "three heartbeats" in message.msg
    assert message.hint == '"LEASE": timedelta(seconds=90),'


def test_a_key_that_outlives_its_job_is_told():
    """Contract 5: what is published must be kept."""
    with set_to(IDEMPOTENCY_KEY_LIFETIME=timedelta(days=31)):
        assert told(check_settings)["E004"].hint == '"IDEMPOTENCY_KEY_LIFETIME": timedelta(days=30),'
    with set_to(IDEMPOTENCY_KEY_LIFETIME=timedelta(days=30)):
        assert told(check_settings) == {}


def test_a_thousand_years_are_for_ever():
    with set_to(JOB_LIFETIME=LONGEST, RESULT_LIFETIME=LONGEST, IDEMPOTENCY_KEY_LIFETIME=LONGEST):
        assert told(check_settings) == {}


@pytest.mark.parametrize("value", [timedelta.max, LONGEST, timedelta(seconds=0.5), timedelta(hours=36)])
def test_a_duration_is_written_exactly(value):
    assert eval(written(value), {"timedelta": timedelta}) == value  # noqa: S307


def test_a_hint_can_be_pasted():
    for name in (
        "LEASE",
        "JOB_LIFETIME",
        "MAX_ATTEMPTS",
        "RETRY_AFTER",
        "REDACT_KEYS",
        "WEBHOOK_RETRY_DELAYS",
    ):
        with set_to(**{name: object()}):
            hint = told(check_settings)["E004"].hint
        assert eval("{" + hint + "\n}", {"timedelta": timedelta}) == {name: DEFAULTS[name]}  # noqa: S307
