"""Callbacks: URLs that one request names for its own job, where the view allows it (``accept_callbacks``).

They stand in the body as in OGC API - Processes, section 7.11: ``subscriber`` with ``successUri``, ``failedUri`` and
``inProgressUri``. They are guarded as endpoints are, and signed with the secret of the endpoint that their owner has
registered for callbacks; so the receiver knows the secret before the first one comes. Callers without an account can
name none.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rest_framework.exceptions import Throttled, ValidationError

from ..http.accept import Acceptance
from ..models import Job, database_now
from .guard import Blocked, check_url
from .models import Callback, Endpoint
from .notices import TELLS_START

__all__ = ["keep"]

MEMBER = "subscriber"
#: The members of ``subscriber``, and the columns that keep them.
COLUMNS = {"successUri": "success_url", "failedUri": "failed_url", "inProgressUri": "progress_url"}
#: How many requests of one owner may name callbacks in an hour: nobody shall flood others through us.
MAX_PER_HOUR = 600


def keep(acceptance: Acceptance, job: Job) -> None:
    """Store the callbacks that the request names, before its job: a job that is stored has them.

    Raises:
        ValidationError: a URL is not allowed, or the owner has no endpoint for callbacks (400).
        Throttled: the owner has named too many (429).
    """
    data = acceptance.request.data
    asked = data.get(MEMBER) if acceptance.option("callbacks") and isinstance(data, Mapping) else None
    if asked is None:
        return
    endpoint = (
        Endpoint.objects.alive().filter(owner=job.owner_id, url="", disabled_at=None).order_by("id").first()
    )
    if job.owner_id is None or endpoint is None:
        raise _wrong("Register an endpoint for callbacks first: its secret signs them.")
    recent = Callback.objects.filter(endpoint=endpoint.pk, created_at__gt=database_now() - timedelta(hours=1))
    if len(recent.values_list("pk")[:MAX_PER_HOUR]) >= MAX_PER_HOUR:
        raise Throttled(wait=60)
    urls = _checked(asked)  # looks names up, so not for just anybody
    if "progress_url" in urls:
        job.request[TELLS_START] = True
    if urls:
        Callback.objects.create(job_id=job.pk, endpoint=endpoint, **urls)


def _checked(asked: Any) -> dict[str, str]:
    if not isinstance(asked, Mapping):
        raise _wrong("It must be an object.")
    urls = {}
    for member, column in COLUMNS.items():
        if asked.get(member) is not None:
            try:
                urls[column] = check_url(asked[member]).url
            except Blocked as error:
                raise ValidationError({MEMBER: {member: [str(error)]}}) from None
    return urls


def _wrong(text: str) -> ValidationError:
    return ValidationError({MEMBER: [text]})
