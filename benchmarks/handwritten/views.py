from functools import partial
from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from django_celery_results.models import TaskResult
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from ..orders import OrderSerializer
from .models import Job
from .tasks import process


class OrdersView(APIView):
    def post(self, request: Request) -> Response:
        serializer = OrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            job = Job.objects.create(owner=request.user, input=serializer.validated_data)
            pk = str(job.pk)
            transaction.on_commit(partial(process.apply_async, args=[pk], task_id=pk))
        url = reverse("job", args=[pk], request=request)
        headers = {"Location": url, "Retry-After": "2"}
        return Response({"id": pk, "state": job.state, "url": url}, status=202, headers=headers)


class JobView(APIView):
    def get(self, request: Request, pk: Any) -> Response:
        job = get_object_or_404(Job, pk=pk, owner=request.user)
        outcome = TaskResult.objects.filter(task_id=str(pk)).first()
        document = {
            "id": str(job.pk),
            "state": job.state,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "task_status": outcome.status if outcome else "PENDING",
            "result": outcome.result if outcome and job.state == Job.State.SUCCEEDED else None,
            "error": job.error or None,
        }
        headers = {} if job.finished_at else {"Retry-After": "2"}
        return Response(document, headers=headers)
