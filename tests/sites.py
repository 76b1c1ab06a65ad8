"""URLs of a project with several admin sites that show jobs, each in its way."""

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.urls import path
from django_celery_results.admin import TaskResultAdmin
from django_celery_results.models import TaskResult

from async_accept.admin import JobAdmin, JobAdminMixin
from async_accept.models import Job
from tests.testapp.models import Shelf
from tests.urls import urlpatterns as usual


class BrandedJobAdmin(JobAdminMixin, admin.ModelAdmin):
    """A project's own, with a style sheet of its own."""

    class Media:
        css = {"all": ["brand.css"]}


operations = admin.AdminSite("operations")
operations.register(Job, JobAdmin)
operations.register(TaskResult, TaskResultAdmin)
operations.register(Shelf)
operations.register(get_user_model(), UserAdmin)

branded = admin.AdminSite("branded")
branded.register(Job, BrandedJobAdmin)

plain = admin.AdminSite("plain")
plain.register(Job, admin.ModelAdmin)

urlpatterns = [
    path("operations/", operations.urls),
    path("branded/", branded.urls),
    path("plain/", plain.urls),
    *usual,
]
