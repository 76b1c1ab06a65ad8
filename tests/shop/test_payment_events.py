"""The payment provider's webhook: verified, stored, and the order turns paid, once."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from async_accept.models import Job
from async_accept.testing import accepted_jobs, run_accepted_jobs, sign_request
from example_project.shop.models import Order, Payment, Product
from example_project.shop.payment_events import PaymentEvents
from example_project.shop.seed import seed

pytestmark = [pytest.mark.django_db, pytest.mark.urls("example_project.urls")]


@pytest.fixture
def browser(settings):
    settings.LOGIN_URL = "rest_framework:login"
    seed()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.get(username="alice"))
    return browser


def card(browser):
    return browser.get("/").content.decode().split('id="payment"')[1].split("</section>")[0]


def simulate(browser):
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', card(browser)).group(1)
    return browser.post("/simulate/", {"csrfmiddlewaretoken": token})


def test_simulation_shows_202_the_same_job_and_401(browser):
    response = simulate(browser)
    assert (response.status_code, response["Location"]) == (302, "/#payment")
    shown = card(browser)
    assert re.findall(r"<h3>[^<]+: (\d+)</h3>", shown) == ["202", "202", "401"]
    [job] = accepted_jobs(operation="payments.event")
    assert shown.count(f"http://testserver/api/jobs/{job.pk}/result/") == 2
    assert "not-verified" in shown
    order = Order.objects.get(pk=job.input["event"]["body"]["text"].split('"order": ')[1].split(",")[0])
    assert "placed" in shown
    assert "Look again" in shown
    run_accepted_jobs()
    order.refresh_from_db()
    assert (order.status, order.payment.amount) == ("paid", order.total)
    assert "Look again" not in card(browser)
    assert "<dd data-status>paid</dd>" in card(browser)


def test_card_shows_its_code_and_no_secret(browser, settings):
    simulate(browser)
    shown = card(browser)
    assert "class PaymentEvents(StandardWebhooksReceiver)" in shown
    assert settings.PAYMENT_WEBHOOK_SECRETS[0] not in shown


def test_simulation_needs_a_login_and_stock(browser):
    Product.objects.update(stock=0)
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', card(browser)).group(1)
    refused = browser.post("/simulate/", {"csrfmiddlewaretoken": token})
    assert refused.status_code == 409
    assert "Everything: 1 asked for, 0 left" in refused.content.decode()
    assert Client().post("/simulate/").status_code == 302
    assert not Job.objects.exists()


def test_another_visitor_does_not_see_the_simulation(browser):
    simulate(browser)
    browser.force_login(User.objects.get(username="bob"))
    assert "What just happened" not in card(browser)


def test_order_is_paid_once_and_an_order_that_is_gone_fails_its_job(browser):
    simulate(browser)
    run_accepted_jobs()
    order = Order.objects.get(status="paid", payment__gateway_id__startswith="ch_")
    event = {"type": "payment.captured", "order": order.pk, "charge": "ch_other"}
    gone = {**event, "order": 0}
    for number, data in enumerate((event, gone)):
        request = sign_request(PaymentEvents, data, id=f"evt_{number}")
        assert browser.post("/api/webhooks/payments/", **request).status_code == 202
    run_accepted_jobs(raises=False)
    assert [job.state for job in Job.objects.order_by("created_at")] == ["succeeded", "succeeded", "failed"]
    assert Payment.objects.filter(order=order).count() == 1
