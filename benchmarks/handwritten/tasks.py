from typing import Any

from celery import shared_task
from django.utils import timezone

from ..orders import summary
from .models import Job


@shared_task
def process(job_id: str) -> dict[str, Any]:
    job = Job.objects.get(pk=job_id)
    job.state, job.started_at = Job.State.RUNNING, timezone.now()
    job.save(update_fields=["state", "started_at"])
    try:
        result = summary(job.input["lines"])
    except Exception as error:
        job.state, job.error = Job.State.FAILED, str(error)
        raise
    else:
        job.state = Job.State.SUCCEEDED
    finally:
        job.finished_at = timezone.now()
        job.save(update_fields=["state", "error", "finished_at"])
    return result
