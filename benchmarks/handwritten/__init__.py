"""What a careful engineer writes by hand today: a job row, a task, a status view. Everything is compared with this."""

from .celery import app as celery_app

__all__ = ["celery_app"]
