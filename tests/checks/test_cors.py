"""The check of django-cors-headers: silent without it, and its hints are lines that mend what it found."""

from typing import Any

import pytest

from async_accept import checks
from async_accept.checks.cors import ALLOWED, EXPOSED

ORIGIN = "https://app.example"
DEFAULTS = ["accept", "authorization", "content-type", "x-csrftoken"]


@pytest.fixture
def cors(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set a project up that has django-cors-headers; the package itself is not asked."""
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: name == "corsheaders")

    def make(**values: Any) -> None:
        for name, value in {"ALLOWED_ORIGINS": [ORIGIN], **values}.items():
            setattr(settings, f"CORS_{name}", value)

    return make


def told() -> list[tuple[str, str]]:
    return [(message.id.removeprefix("async_accept."), message.hint) for message in checks.check_cors()]


def paste(settings: Any, hint: str) -> None:
    """Put a hint into the settings, as a reader would."""
    names: dict[str, Any] = {"default_headers": DEFAULTS}
    exec(hint, names)  # noqa: S102 our own hint
    [setting] = [name for name in names if name.startswith("CORS_")]
    setattr(settings, setting, names[setting])


def test_without_the_package_nothing_is_told(settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    assert told() == []


def test_without_other_origins_nothing_is_told(cors):
    cors(ALLOWED_ORIGINS=[])
    assert told() == []


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ALLOWED_ORIGINS": [], "ALLOW_ALL_ORIGINS": True},
        {"ALLOWED_ORIGINS": [], "ALLOWED_ORIGIN_REGEXES": [r"^https://.*\.example$"]},
        {"EXPOSE_HEADERS": ["X-Own"], "ALLOW_HEADERS": ["x-own"]},
        {"EXPOSE_HEADERS": EXPOSED[1:], "ALLOW_HEADERS": ALLOWED[1:]},
        {"EXPOSE_HEADERS": ["*"], "ALLOW_HEADERS": ["*"], "ALLOW_CREDENTIALS": True},
    ],
)
def test_what_is_missing_is_told_with_the_lines_to_paste(cors, settings, values):
    cors(**values)
    found = told()
    assert [name for name, _ in found] == ["W012", "W012"]
    for _, hint in found:
        paste(settings, hint)
    assert told() == []
    assert set(values.get("EXPOSE_HEADERS", ())) <= set(settings.CORS_EXPOSE_HEADERS)
    assert set(values.get("ALLOW_HEADERS", DEFAULTS)) <= set(settings.CORS_ALLOW_HEADERS)


@pytest.mark.parametrize(
    "values",
    [
        {"EXPOSE_HEADERS": [*EXPOSED, "X-Own"], "ALLOW_HEADERS": [*DEFAULTS, *ALLOWED]},
        {
            "EXPOSE_HEADERS": [name.lower() for name in EXPOSED],
            "ALLOW_HEADERS": [name.title() for name in ALLOWED],
        },
        {"EXPOSE_HEADERS": ["*"], "ALLOW_HEADERS": ("*",)},
    ],
)
def test_what_is_set_is_not_told(cors, values):
    cors(**values)
    assert told() == []


def test_urls_without_cors_are_told(cors, settings):
    cors(EXPOSE_HEADERS=EXPOSED, ALLOW_HEADERS=ALLOWED, URLS_REGEX=r"^/api/orders/.*$")
    [(name, hint)] = told()
    assert name == "W013"
    paste(settings, hint)
    assert told() == []
    settings.CORS_URLS_REGEX = r"^/api/.*$"
    assert told() == []
