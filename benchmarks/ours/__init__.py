"""The same as ``handwritten``, with this package."""

from .celery import app as celery_app

__all__ = ["celery_app"]
