from celery import shared_task
from django.http import HttpResponse
from rest_framework.response import Response

from async_accept.exceptions import JobFailed
from async_accept.tasks import JobTask

from .models import Audit


def table() -> HttpResponse:
    return HttpResponse("sku;units\r\nTEA;3\r\n", content_type="text/csv; charset=utf-8")


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
