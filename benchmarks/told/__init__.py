"""Sends notices of jobs that are canceled while they wait, so that no work is in the way."""

from .celery import app as celery_app

__all__ = ["celery_app"]
