"""The endpoints of jobs, ready to be included: ``path("api/jobs/", include("async_accept.urls"))``."""

from django.urls import path
from django.utils.translation import gettext_lazy as _

from .http.views import JobViewSet

app_name = "async_accept"

# The texts of the browsable API; without them it shows the docstring of the class.
LIST = {
    "name": _("Your jobs"),
    "description": _(
        "What you have asked for, newest first. Narrow it by status, operation, created_after and created_before."
    ),
}
JOB = {
    "name": _("Job"),
    "description": _("Where the job stands. Once it has ended, result_url has the answer to your request."),
}
RESULT = {
    "name": _("Result"),
    "description": _("The answer to your request; until there is one, where the job stands."),
}
CANCEL = {"name": _("Cancel"), "description": _("A POST asks the job to stop.")}
RERUN = {
    "name": _("Run again"),
    "description": _("A POST makes a new job with the same input, once this one has ended."),
}

# The id is any text here: a malformed id gets the same 404 as an unknown job.
urlpatterns = [
    path("", JobViewSet.as_view({"get": "list"}, **LIST), name="job-list"),
    path("<str:pk>/", JobViewSet.as_view({"get": "retrieve", "delete": "destroy"}, **JOB), name="job-detail"),
    path("<str:pk>/result/", JobViewSet.as_view({"get": "result"}, **RESULT), name="job-result"),
    path("<str:pk>/cancel/", JobViewSet.as_view({"post": "cancel"}, **CANCEL), name="job-cancel"),
    path("<str:pk>/rerun/", JobViewSet.as_view({"post": "rerun"}, **RERUN), name="job-rerun"),
    path("<str:pk>/events/", JobViewSet.as_view({"get": "events"}, **JOB), name="job-events"),
]
