"""E012, E013, W016: receivers that could not verify, or would have nothing to do."""

import pytest

from async_accept import receivers
from async_accept.checks import check_receivers, check_views
from tests.celery import app
from tests.checks.conftest import mounted, told
from tests.testapp.receivers import SECRET, note_event


def receiver(base=receivers.GitHubReceiver, **members):
    members = {"secrets": SECRET, "accept_operation": "x", "accept_task": note_event, **members}
    return type("Mine", (base,), members)


def messages(view, check=check_receivers, **options):
    with mounted(view.as_view(**options)):
        return told(check)


def test_complete_receiver_is_not_told():
    assert messages(receiver()) == {}
    assert messages(receiver(secrets=lambda self: 1 / 0)) == {}
    assert messages(receiver(accept_task=None, handle=lambda self, event: None)) == {}
    assert messages(receiver(secrets=()), secrets=[SECRET, SECRET[::-1]]) == {}


STANDARD = receivers.StandardWebhooksReceiver


@pytest.mark.parametrize(
    ("base", "secrets"),
    [(receivers.GitHubReceiver, secrets) for secrets in ((), "", None, [], [""], [SECRET, None], [7])]
    + [(STANDARD, secret) for secret in ("whsec_not base64", "whsec_", "whsec_é", "whsec_abc")],
)
def test_missing_or_malformed_secret(base, secrets):
    message = messages(receiver(base, secrets=secrets))["E012"]
    assert "secret" in message.msg
    assert "base64" not in message.msg


def test_secret_from_a_setting(settings):
    settings.MINE = [SECRET]
    mine = receiver(secrets=(), secrets_setting="MINE")
    assert messages(mine) == {}
    del settings.MINE
    assert "E012" in messages(mine)


def test_short_secret_is_told_without_telling_it():
    found = messages(receiver(secrets=[SECRET, "s3cret"]))
    assert list(found) == ["W016"]
    assert "s3cret" not in str(found["W016"])
    assert SECRET not in str(found["W016"])


@pytest.mark.parametrize(
    ("missing", "base", "members"),
    [
        ("accept_operation", receivers.GitHubReceiver, {"accept_operation": ""}),
        ("handle()", receivers.GitHubReceiver, {"accept_task": None}),
        ("public_url", receivers.TwilioReceiver, {}),
        ("verify_token", receivers.MetaReceiver, {}),
        ("no 2xx", receivers.GitHubReceiver, {"accept_status": 302}),
    ],
)
def test_incomplete_receiver(missing, base, members):
    found = messages(receiver(base, **members))
    assert list(found) == ["E013"]
    assert missing in found["E013"].msg


def test_task_and_queue_are_checked_as_those_of_any_view():
    @app.task(name="tests.no_job_task")
    def plain():
        pass

    assert list(messages(receiver(accept_task=plain), check_views)) == ["E006"]
    assert list(messages(receiver(accept_task=print), check_views)) == ["E005"]
    assert list(messages(receiver(accept_queue=7), check_views)) == ["E009"]


def test_secrets_are_in_no_representation():
    mine = receiver(secrets=["s3cret"])
    view = mine()
    view.kwargs = {}
    assert "s3cret" not in repr([mine, view, view.scheme, mine.as_view()])
