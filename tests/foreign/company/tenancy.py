"""Whose data this request works on: one company, many tenants, in the same tables."""

from contextvars import ContextVar
from typing import Any

from django.db import models

PUBLIC = "public"
tenant: ContextVar[str] = ContextVar("tenant", default=PUBLIC)


def current() -> str:
    return tenant.get()


class TenantManager(models.Manager[Any]):
    """Knows the rows of the current tenant only."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(tenant=current())
