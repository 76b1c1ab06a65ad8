"""Corner Shop: a small real shop whose slow requests answer 202.

The Celery app is loaded with the package, so that `@shared_task` finds it in every process.
"""

from .celery import app as celery_app

__all__ = ["celery_app"]
