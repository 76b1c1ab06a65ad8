"""The outbound half of webhooks: the shop tells an inbox, which verifies, can be down, and is told again."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from async_accept import signals
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.webhooks import delivering
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.notices import tell_of_end
from async_accept.webhooks.sender import Answer
from example_project.inbox.models import Inbox, Received
from example_project.shop.seed import seed
from example_project.shop.templatetags.shop import due, duration
from tests.webhooks.conftest import LOCAL, come_back_later, send_due

pytestmark = [pytest.mark.django_db, pytest.mark.urls("example_project.urls")]

DELAYS = tuple(timedelta(seconds=seconds) for seconds in (2, 4, 8))


@pytest.fixture(autouse=True)
def _demo(settings, monkeypatch):
    """The settings of the demo; what is sent goes to the receiver's view, without the network."""
    settings.LOGIN_URL = "rest_framework:login"
    settings.ASYNC_ACCEPT = {**LOCAL, "WEBHOOK_RETRY_DELAYS": DELAYS}
    monkeypatch.setattr(delivering, "post", post)
    signals.job_ending.connect(tell_of_end, sender=Job)  # tests/conftest.py has cut it off
    seed()


def post(url, body, headers):
    response = Client().post(urlsplit(url).path, body, content_type="application/json", headers=headers)
    return Answer(f"{response.status_code // 100}xx", response.status_code)


@pytest.fixture
def customer():
    return User.objects.get(username="alice")


@pytest.fixture
def browser(customer):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(customer)
    return browser


@pytest.fixture
def registered(browser):
    assert do(browser, "register").status_code == 302
    return Inbox.objects.get()


def page(browser):
    return unescape(browser.get("/inbox/").content.decode()).replace("\N{NO-BREAK SPACE}", " ")


def do(browser, what, **fields):
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page(browser)).group(1)
    return browser.post("/inbox/", {"do": what, "csrfmiddlewaretoken": token, **fields})


def rows(html):
    """The cells of each attempt: its number, the signature, the answer."""
    found = re.findall(r"<tr><td>(\d+)</td><td>[\d:]+</td><td>(\w+)</td><td[^>]*>(\d+)</td></tr>", html)
    return [(int(attempt), signature, int(answer)) for attempt, signature, answer in found]


def test_registered_inbox_shows_that_a_job_has_ended(browser, registered, customer):
    job = make_job(owner=customer, operation="orders.bulk", state="failed")
    assert "1 notice: 1 waiting" in page(browser)
    send_due()
    html = page(browser)
    assert rows(html) == [(1, "verified", 204)]
    [received] = Received.objects.all()
    assert (received.job, received.status, received.type) == (job.pk, "failed", "job.failed")
    assert received.webhook_id in html
    assert f'job.failed of <a href="/api/jobs/{job.pk}/">orders.bulk</a>' in html
    assert "webhook-signature: v1," in html
    assert registered.secret not in html


def test_receiver_that_is_down_shows_the_retries_the_dead_letter_and_send_again(
    browser, registered, customer
):
    do(browser, "down")
    make_job(owner=customer, state="succeeded")
    send_due()
    assert re.search(r"waiting</span>: the next attempt is in [12] s", page(browser))
    assert "Send again" not in page(browser)
    for _ in DELAYS:
        come_back_later()
        send_due()
    html = page(browser)
    assert "failed</span>, a dead letter" in html
    assert rows(html) == [(attempt, "verified", 503) for attempt in (1, 2, 3, 4)]
    do(browser, "up")
    assert do(browser, "again", delivery=Delivery.objects.get().webhook_id).status_code == 302
    send_due()
    assert rows(page(browser))[-1] == (5, "verified", 204)
    assert len(set(Received.objects.values_list("webhook_id", flat=True))) == 1


def test_page_says_how_long_the_shop_waits_and_that_this_is_the_demo(browser, registered, settings):
    said = "by default, the attempts take three days"
    assert "2 s, 4 s, and 8 s" in page(browser)
    assert said in page(browser)
    settings.ASYNC_ACCEPT = LOCAL
    assert "5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, and 24 h" in page(browser)
    assert said not in page(browser)


@pytest.mark.parametrize("change", ["body", "secret", "time", "id"])
def test_forged_notice_is_refused_and_not_shown(registered, customer, monkeypatch, change):
    def forge(url, body, headers):
        altered = {
            "body": (body.replace(b"succeeded", b"failed"), headers),
            "time": (body, {**headers, "webhook-timestamp": "1"}),
            "id": (body, {**headers, "webhook-id": "msg_0"}),
            "secret": (body, headers),
        }
        if change == "secret":  # the inbox never has an empty one that would verify anything
            Inbox.objects.update(secret="")
        return answers.append(post(url, *altered[change])) or answers[-1]

    answers: list[Answer] = []
    monkeypatch.setattr(delivering, "post", forge)
    make_job(owner=customer, state="succeeded")
    send_due()
    assert [answer.status for answer in answers] == [401]
    assert not Received.objects.exists()


def test_short_job_is_started_from_the_page(browser, registered, customer):
    assert do(browser, "job").status_code == 302
    assert Job.objects.get().operation == "reports.create"


def test_inbox_of_another_port_is_registered_again(browser, registered):
    Endpoint.objects.update(url="http://127.0.0.1:8001/inbox/")
    assert "Register your inbox" in page(browser)
    do(browser, "register")
    again = Inbox.objects.get()
    assert again.endpoint != registered.endpoint
    assert again.secret != registered.secret
    assert [each.pk for each in Endpoint.objects.alive()] == [again.endpoint]


def test_everybody_has_an_inbox_of_their_own(browser, registered, customer):
    do(browser, "down")
    make_job(owner=customer, state="succeeded")
    send_due()
    browser.force_login(User.objects.get(username="bob"))
    assert "msg_" not in page(browser)
    assert do(browser, "again", delivery=Delivery.objects.get().webhook_id).status_code == 404


def test_refused_request_says_why(browser, registered):
    response = do(browser, "again", delivery="msg_0")
    assert response.status_code == 404
    assert "There is no such webhook." in response.content.decode()


@pytest.mark.parametrize("what", ["", "other"])
def test_unknown_button_does_nothing(browser, registered, what):
    assert do(browser, what).status_code == 404


def test_page_needs_a_login_and_has_the_shops_policy(browser, registered):
    assert Client().get("/inbox/")["Location"] == "/api-auth/login/?next=/inbox/"
    response = browser.get("/inbox/")
    assert response["Content-Security-Policy"] == browser.get("/")["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", response.content.decode())


def test_card_leads_to_the_inbox_and_shows_its_code(browser):
    card = browser.get("/").content.decode().split('id="inbox"')[1].split("</section>")[0]
    assert "Register your inbox" in card
    assert "Webhook(secret).verify" in card
    do(browser, "register")
    assert 'href="/inbox/">Open your inbox' in browser.get("/").content.decode()


def test_no_inbox_where_webhooks_may_not_go_to_this_machine(browser, settings):
    """Outside the demo, which allows it for its own port."""
    settings.ASYNC_ACCEPT = {}
    assert browser.get("/inbox/").status_code == 404
    assert 'id="inbox"' not in browser.get("/").content.decode()


def test_lengths_of_time_are_told_in_one_unit():
    given = [timedelta(seconds=8), timedelta(minutes=5), timedelta(hours=20), timedelta(days=1)]
    assert [duration(length) for length in given] == ["8\xa0s", "5\xa0min", "20\xa0h", "24\xa0h"]
    now = timezone.now()
    assert [due(now - timedelta(seconds=9)), due(now + timedelta(seconds=80))] == ["due", "in 1\xa0min"]
