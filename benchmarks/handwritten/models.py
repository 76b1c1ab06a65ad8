import uuid

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models


class Job(models.Model):
    class State(models.TextChoices):
        ACCEPTED = "accepted"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACCEPTED)
    input = models.JSONField(encoder=DjangoJSONEncoder)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.pk)


class Outbox(models.Model):
    """A job whose message is to be sent by the relay; the view does not use it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return str(self.job_id)
