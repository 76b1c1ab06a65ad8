"""Secrets are hidden by the name of their key, wherever they stand."""

import time

import pytest

from async_accept.redaction import HIDDEN, redact, redact_query, redact_text, redact_url


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


@pytest.mark.parametrize(
    "key",
    [
        *("card_cvv", "pin_code", "customer_ssn", "iban_number", "otp_code", "bank_iban", "cvc2", "user-pin"),
        *("userPin", "PinCode", "userPIN", "PINCode", "PIN", "CardCvv", "customerSSN", "IBAN"),
        *("pwd", "db_pwd", "jwt", "idJwt", "bearer", "Bearer"),
    ],
)
def test_short_words_are_found_as_words_of_a_name(key):
    assert redact({key: "s3cret"}) == {key: HIDDEN}


@pytest.mark.parametrize(
    "key",
    [
        *("spinner", "shipping", "opinion", "pinned", "pins", "isPinned", "Shipping", "shippingAddress"),
        *("SPINNER", "OPINION", "ibanez", "bearerless", "user_opinion"),
    ],
)
def test_short_words_are_not_found_inside_of_others(key):
    assert redact({key: "value"}) == {key: "value"}


@pytest.mark.parametrize("key", ["pin" * 50_000, "aA" * 50_000, "A" * 100_000, "api_" * 50_000])
def test_a_long_key_takes_no_longer_than_its_length(key):
    began = time.process_time()
    redact({key: "value"})
    assert time.process_time() - began < 5


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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/x/?page=2&token=s3cret", f"/x/?page=2&token={HIDDEN}"),
        ("https://a:s3cret@x/y#access_token=s3cret&n=1", f"https://{HIDDEN}@x/y#access_token={HIDDEN}&n=1"),
        ("/x?q=a%20b#part", "/x?q=a%20b#part"),
        ("/token/1/", "/token/1/"),
        ("", ""),
    ],
)
def test_urls(url, shown):
    assert redact_url(url) == shown


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
