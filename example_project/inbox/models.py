"""Inboxes, and what came in. The inbox knows of the shop only its own secret and what the webhooks say."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import models

__all__ = ["Inbox", "Received"]

_SHOWN_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SHOWN_CHARS = 1_500


class Inbox(models.Model):
    """The inbox of one customer."""

    # A random id: its URL is public.
    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    owner = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    # The endpoint in the shop that sends here, and its secret. Empty until it is registered.
    endpoint = models.UUIDField(null=True)
    secret = models.CharField(max_length=100, blank=True)
    # While it is down, it answers 503.
    is_down = models.BooleanField(default=False)

    class Meta:
        verbose_name = "inbox"
        verbose_name_plural = "inboxes"

    def __str__(self) -> str:
        return str(self.pk)

    def keep(self, headers: Mapping[str, str], body: bytes, notice: dict[str, Any], answer: int) -> None:
        """Store that a verified notice came in, and how it is answered."""
        webhook_id = headers["webhook-id"]
        Received.objects.create(
            inbox=self,
            webhook_id=webhook_id,
            type=notice["type"],
            job=notice["data"].get("id"),
            status=notice["data"].get("status", ""),
            attempt=self.received.filter(webhook_id=webhook_id).count() + 1,
            answer=answer,
            request=_request_text(headers, body),
        )


class Received(models.Model):
    """One attempt of the shop to deliver a notice. Its signature was verified."""

    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="received")
    # The same on each attempt.
    webhook_id = models.CharField(max_length=100)
    type = models.CharField(max_length=40)
    job = models.UUIDField(null=True)
    status = models.CharField(max_length=20)
    # The inbox counts: the notice does not say how often it was sent.
    attempt = models.PositiveIntegerField()
    answer = models.PositiveSmallIntegerField()
    # The headers and the body, as text.
    request = models.TextField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["inbox", "webhook_id"], name="inbox_received_webhook_id")]

    def __str__(self) -> str:
        return f"{self.webhook_id}, attempt {self.attempt}"


def _request_text(headers: Mapping[str, str], body: bytes) -> str:
    text = "\n".join([*(f"{name}: {headers[name]}" for name in _SHOWN_HEADERS), "", body.decode()])
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}\n… ({len(text)} characters)"
