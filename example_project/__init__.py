"""The Corner Shop: an example project whose slow requests are answered with 202.

Celery's app is imported here, so that it exists in every process before a `@shared_task` needs it.
"""

from .celery import app as celery_app

__all__ = ["celery_app"]
