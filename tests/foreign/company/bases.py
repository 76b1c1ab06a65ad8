from celery.contrib.django.task import DjangoTask


class CompanyTask(DjangoTask):
    """Base of every task of the company."""

    cost_centre = "4711"
