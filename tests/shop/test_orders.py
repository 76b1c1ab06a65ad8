import pytest
from rest_framework.test import APIClient

from async_accept.models import Job
from example_project.shop import orders
from example_project.shop.models import DiscountRule, Order

pytestmark = pytest.mark.urls("example_project.urls")

URL = "/api/orders/"
TWO_TEAS = {"reference": "A-1", "lines": [{"sku": "TEA", "quantity": 2}]}


def test_order_is_accepted_and_its_result_is_the_201(client, tea, follow):
    result = follow(client.post(URL, TWO_TEAS))
    order = Order.objects.get()
    assert result.status_code == 201
    assert result["Location"].endswith(f"/api/orders/{order.pk}/")
    assert (result.data["reference"], result.data["status"], result.data["total"]) == (
        "A-1",
        "placed",
        "5.00",
    )


def test_placed_order_has_taken_its_stock(client, tea, follow):
    follow(client.post(URL, TWO_TEAS))
    tea.refresh_from_db()
    assert tea.stock == 8


def test_order_without_reference_gets_one(client, tea, follow):
    result = follow(client.post(URL, {"lines": TWO_TEAS["lines"]}))
    assert result.data["reference"].startswith("W-")


def test_code_lowers_the_total(client, tea, follow):
    DiscountRule.objects.create(name="Half", code="HALF", percent=50)
    result = follow(client.post(URL, {**TWO_TEAS, "code": "HALF"}))
    assert (result.data["discount"], result.data["total"]) == ("2.50", "2.50")


def test_out_of_stock_is_a_409_and_leaves_nothing(client, tea, follow):
    result = follow(client.post(URL, {"lines": [{"sku": "TEA", "quantity": 11}]}))
    assert result.status_code == 409
    assert "10 left" in str(result.data)
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lines": []},
        {"lines": [{"sku": "NOPE", "quantity": 1}]},
        {"lines": [{"sku": "TE\0A", "quantity": 1}]},  # PostgreSQL's driver raises an error for NUL
        {"lines": [{"sku": "TEA", "quantity": 0}]},
        {"lines": [{"sku": "TEA", "quantity": 1}, {"sku": "TEA", "quantity": 1}]},
        {"code": "NOPE"},
        {"reference": "two words"},
    ],
)
def test_invalid_order_is_refused_at_once(client, tea, wrong):
    response = client.post(URL, {**TWO_TEAS, **wrong})
    assert response.status_code == 400
    assert not Job.objects.exists()


def test_used_reference_is_refused_at_once(client, alice, tea):
    orders.place(alice, "A-1", [(tea, 1)])
    assert client.post(URL, TWO_TEAS).status_code == 400


def test_reference_used_in_the_meantime_is_refused_by_the_worker(client, alice, tea, follow):
    response = client.post(URL, TWO_TEAS)
    orders.place(alice, "A-1", [(tea, 1)])
    assert follow(response).status_code == 400


def test_reference_of_another_customer_is_free(client, bob, tea, follow):
    orders.place(bob, "A-1", [(tea, 1)])
    assert follow(client.post(URL, TWO_TEAS)).status_code == 201


def test_update_changes_the_note_only(client, alice, tea):
    order = orders.place(alice, "A-1", [(tea, 2)])
    response = client.put(f"{URL}{order.pk}/", {"note": "ring twice", "reference": "B", "lines": []})
    assert (response.status_code, response.data["note"], response.data["reference"]) == (
        200,
        "ring twice",
        "A-1",
    )


def test_deleted_order_gives_its_stock_back(client, alice, tea):
    order = orders.place(alice, "A-1", [(tea, 2)])
    assert client.delete(f"{URL}{order.pk}/").status_code == 204
    tea.refresh_from_db()
    assert tea.stock == 10


def test_paid_order_is_not_deleted(client, alice, tea):
    order = orders.place(alice, "A-1", [(tea, 2)])
    Order.objects.update(status=Order.Status.PAID)
    assert client.delete(f"{URL}{order.pk}/").status_code == 409
    assert Order.objects.filter(pk=order.pk).exists()


@pytest.mark.parametrize(
    "url", ["/api/orders/0.5/", "/api/products/A%2FB/", "/api/products/%00/", "/api/none"]
)
def test_what_the_api_does_not_have_is_a_404_in_json(client, url):
    response = client.get(url)
    assert (response.status_code, response.json()) == (404, {"detail": "Not found."})


def test_what_the_shop_does_not_have_is_a_page(client):
    assert client.get("/none/")["Content-Type"].startswith("text/html")


def test_others_see_neither_order_nor_job(client, alice, bob, tea, follow):
    response = client.post(URL, TWO_TEAS)
    result = follow(response)
    stranger = APIClient()
    stranger.force_authenticate(bob)
    assert stranger.get(result["Location"]).status_code == 404
    assert stranger.get(response["Location"]).status_code == 404
