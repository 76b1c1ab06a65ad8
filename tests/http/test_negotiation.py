"""Which representation a client gets: by the weights of ``Accept``."""

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from async_accept.http.negotiation import WeighedNegotiation, admits


def renderer(name, media_type):
    return type(name, (BaseRenderer,), {"media_type": media_type, "format": name})()


JSON, HTML, EVENTS = (
    renderer("json", "application/json"),
    renderer("html", "text/html"),
    renderer("event-stream", "text/event-stream"),
)


def chosen(rf, accept, query=""):
    headers = {} if accept is None else {"accept": accept}
    request = Request(rf.get(f"/{query}", headers=headers))
    return WeighedNegotiation().select_renderer(request, [JSON, HTML, EVENTS])


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("application/json, text/html", "json"),
        ("text/html, */*", "html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("text/html;q=0.5, application/json;q=0.9", "json"),
        ("application/json;q=0.1, text/html;q=0.2, */*;q=0.05", "html"),
        ("text/event-stream;q=0.1, application/json", "json"),
        ("text/event-stream, application/json;q=0.9", "event-stream"),
        ("application/json;q=0, */*", "html"),
        ("application/json;q=0.0, text/html;q=0.001", "html"),
        ("text/*;q=0.3, */*;q=0.2, text/html;q=0", "event-stream"),
        ("APPLICATION/JSON", "json"),
        ("application/json; indent=2;q=0.4", "json"),
        ("text/html;q=nan, application/json;q=0.1", "json"),
        ("text/html;q=2", "html"),  # not a weight, so it counts as 1
    ],
)
def test_the_highest_weight_wins(rf, accept, name):
    """Contract 11, 14."""
    assert chosen(rf, accept)[0].format == name


@pytest.mark.parametrize("accept", ["application/xml", "*/*;q=0", "application/json;q=0", "x", "a" * 9000])
def test_nothing_left_is_not_acceptable(rf, accept):
    with pytest.raises(NotAcceptable):
        chosen(rf, accept)


def test_the_renderer_gets_the_clients_parameters(rf):
    assert chosen(rf, "application/json; indent=4, */*")[1] == "application/json; indent=4"


def test_a_range_that_is_too_long_is_ignored(rf):
    """Django refuses to parse such a range."""
    assert chosen(rf, f"text/html; x={'y' * 5_000}, */*;q=0.1")[0].format == "json"


def test_the_format_parameter_narrows_the_choice(rf):
    assert chosen(rf, "*/*", "?format=html")[0].format == "html"
    with pytest.raises(NotAcceptable):
        chosen(rf, "application/json", "?format=html")


@pytest.mark.parametrize(
    ("accept", "admitted"),
    [
        ("text/event-stream", True),
        ("application/json, */*;q=0.1", True),
        ("text/*", True),
        ("application/json", False),
        ("*/*, text/event-stream;q=0", False),
    ],
)
def test_admits(rf, accept, admitted):
    assert admits(Request(rf.get("/", headers={"accept": accept})), "text/event-stream") is admitted
