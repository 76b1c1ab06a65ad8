from django.apps import AppConfig

from tests.foreign.celery import app as celery_app

__all__ = ["CompanyConfig", "celery_app"]


class CompanyConfig(AppConfig):
    name = "tests.foreign.company"
    label = "company"
