"""Contract 2, 11, 15, 17: callers with a session, whose changes need a CSRF token."""

import pytest
import requests
from django.contrib.auth import get_user_model
from django.test import Client as Browser

from async_accept.models import Job
from tests.contract.conftest import UNKNOWN, url
from tests.contract.test_representations import ODD_TYPES

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a" * 32


@pytest.fixture
def session(alice):
    """A browser's session of alice's."""
    browser = Browser()
    browser.force_login(get_user_model().objects.get(username="alice"))
    client = requests.Session()
    client.trust_env = False
    for name, morsel in browser.cookies.items():
        client.cookies.set(name, morsel.value)
    return client


def test_a_change_needs_a_csrf_token(job, session, base):
    """Contract 2, 17: without it accepting, cancel, rerun and DELETE are 403, the same for any id."""
    running, done = job("running"), job("failed")
    targets = [
        ("POST", "/api/policies/always/class/"),
        *(
            (method, url(pk, end))
            for pk in (running.pk, UNKNOWN)
            for method, end in (("POST", "cancel/"), ("DELETE", ""))
        ),
        *(("POST", url(pk, "rerun/")) for pk in (done.pk, UNKNOWN)),
    ]

    def send(method, path, **headers):
        return session.request(method, base + path, json={"x": 1, "y": 1}, headers=headers, timeout=5)

    assert {send(*target).status_code for target in targets} == {403}
    assert session.get(base + url(running), timeout=5).status_code == 200
    assert Job.objects.count() == 2
    session.cookies.set("csrftoken", TOKEN)
    for method, path in targets:
        response = send(method, path, **{"X-CSRFToken": TOKEN})
        assert response.status_code == (404 if UNKNOWN in path else 202)


def test_an_odd_body_is_no_500(job, session, base):
    """Contract 11, 15: Django looks for the CSRF token in the body."""
    session.cookies.set("csrftoken", TOKEN)
    for kind in ODD_TYPES:
        for method, path in (("POST", url(job("running"), "cancel/")), ("DELETE", url(job("failed")))):
            headers = {"Content-Type": kind, "X-CSRFToken": TOKEN}
            response = session.request(
                method, base + path, data=b"--x\r\nContent-\xff", headers=headers, timeout=5
            )
            if response.status_code == 400:
                assert kind.startswith("multipart")
                assert response.json()["code"] == "parse-error"
            else:
                assert response.status_code in (202, 204), kind


def test_the_buttons_of_a_page_work_whatever_the_project_parses(job, session, base, settings):
    """Contract 11: they are forms, and the views of the project may take JSON only."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"]
    }
    session.cookies.set("csrftoken", TOKEN)
    path = url(job("running"), "cancel/")
    response = session.post(base + path, data={"csrfmiddlewaretoken": TOKEN}, timeout=5)
    assert response.status_code == 202
