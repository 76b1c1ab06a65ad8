from typing import Any

from celery import shared_task
from django.http import HttpResponse
from rest_framework.response import Response

from async_accept.exceptions import JobFailed
from async_accept.tasks import JobTask

from .models import Audit


def table() -> HttpResponse:
    return HttpResponse("sku;units\r\nTEA;3\r\n", content_type="text/csv; charset=utf-8")


def stock(refused: bool) -> Any:
    return [{"sku": "TEA", "units_left": 3}, {"sku": "CUP", "units_left": 0}]


def restock(refused: bool) -> Response:
    if refused:
        return Response({"supplier_state": "closed"}, status=409)
    return Response(stock(refused), status=201, headers={"X-Checked": "yes"})


@shared_task(base=JobTask)
def count_stock(refused: bool = False) -> Any:
    return stock(refused)


@shared_task(base=JobTask)
def order_stock(refused: bool = False) -> Any:
    return restock(refused)


@shared_task(base=JobTask)
def make_table() -> HttpResponse:
    return table()


@shared_task(base=JobTask)
def answer_status(status: int) -> Response:
    return Response({"odd": True}, status=status)


@shared_task(base=JobTask)
def decline() -> None:
    raise JobFailed("The card was declined.", code="card-declined")


@shared_task(base=JobTask)
def stumble() -> None:
    def deeper() -> None:
        Audit.objects.get(text="there is none")

    deeper()


@shared_task(base=JobTask)
def flood() -> str:
    return "x" * 2_000_000


@shared_task(base=JobTask)
def divide() -> dict[str, float]:
    return {"share": float("nan")}


@shared_task
def send_mail() -> None:
    """No job: one of the company's other tasks."""
