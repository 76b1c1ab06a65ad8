"""Secrets are hidden by the name of their key, wherever they stand."""

import time

import pytest

from async_accept.redaction import HIDDEN, redact, redact_query, redact_text


def test_secrets_are_hidden():
    secrets = (
        *("password", "new_password1", "Passphrase", "API-Key", "api_key", "apikey", "access_token"),
        *(
            "client_secret",
            "Authorization",
            "sessionid",
            "private_key",
            "card_number",
            "cvv",
            "pin",
            "signature",
        ),
    )
    assert redact(dict.fromkeys(secrets, "s3cret")) == dict.fromkeys(secrets, HIDDEN)


def test_the_time_grows_with_the_length_and_not_with_its_square():
    """With the square, this took a minute and more."""
    began = time.process_time()
    assert HIDDEN not in redact_text("x://" + ":" * 64_000)
    assert time.process_time() - began < 5


def test_ordinary_keys_are_shown():
    ordinary = dict.fromkeys(("passenger", "shipping", "spinner", "card", "author", "quantity"), "value")
    assert redact(ordinary) == ordinary


def test_secrets_are_hidden_at_any_depth():
    value = {"data": [{"user": {"name": "a", "password": "s3cret"}}, 1, None], "token": {"a": ["s3cret"]}}
    assert redact(value) == {"data": [{"user": {"name": "a", "password": HIDDEN}}, 1, None], "token": HIDDEN}


def test_form_fields_are_pairs():
    form = {"form": [["password", ["s3cret"]], ["name", ["a"]]]}
    assert redact(form) == {"form": [["password", HIDDEN], ["name", ["a"]]]}


def test_a_missing_secret_is_seen_to_be_missing():
    assert redact({"password": "", "token": None}) == {"password": "", "token": None}


def test_query_strings():
    assert redact_query("page=2&token=s3cret") == f"page=2&token={HIDDEN}"
    assert redact_query("page=2&q=a%20b") == "page=2&q=a%20b"


def test_the_pattern_is_a_setting(settings):
    settings.ASYNC_ACCEPT = {"REDACT_KEYS": "^color$"}
    assert redact({"color": "red", "password": "x"}) == {"color": HIDDEN, "password": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "postgres://shop:s3cret@db/shop refused",
        "redis://:s3cret@cache:6379/0",
        "amqp://shop:s3c:ret@rabbit//",
        'invalid dsn: "host=db user=shop password=s3cret dbname=shop"',
        "connect(host='db', password='s3cret')",
        "PASSWORD=s3cret",
    ],
)
def test_no_credentials_in_a_text(text):
    assert "s3c" not in redact_text(text)
    assert HIDDEN in redact_text(text)


@pytest.mark.parametrize(
    "text",
    ["https://shop.example/a@b", "connection to db:5432 refused", "mail alice@shop.example", "password"],
)
def test_other_text_stays(text):
    assert redact_text(text) == text
