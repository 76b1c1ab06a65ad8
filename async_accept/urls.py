"""The endpoints of jobs, ready to be included: ``path("api/jobs/", include("async_accept.urls"))``."""

from typing import Any

from django.urls import path
from django.utils.translation import gettext_lazy as _

from .http.openings import EventsPattern
from .http.views import JobViewSet

__all__ = ["app_name", "job_urls", "urlpatterns"]

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


def job_urls(views: Any = JobViewSet) -> tuple[list[Any], str]:
    """Return the URLs of jobs for ``include()``, served by a subclass of ``JobViewSet``.

    ``path("api/jobs/", include(job_urls(TeamJobViewSet)))`` stands in place of the usual
    ``include("async_accept.urls")``, so that every URL that a client is given leads to that class.
    """
    # The id is any text here: a malformed id gets the same 404 as an unknown job.
    patterns = [
        path("", views.as_view({"get": "list"}, **LIST), name="job-list"),
        path("<str:pk>/", views.as_view({"get": "retrieve", "delete": "destroy"}, **JOB), name="job-detail"),
        path("<str:pk>/result/", views.as_view({"get": "result"}, **RESULT), name="job-result"),
        path("<str:pk>/cancel/", views.as_view({"post": "cancel"}, **CANCEL), name="job-cancel"),
        path("<str:pk>/rerun/", views.as_view({"post": "rerun"}, **RERUN), name="job-rerun"),
        _events("<str:pk>/events/", views.as_view({"get": "events"}, **JOB), name="job-events"),
    ]
    return patterns, "async_accept"


def _events(route: str, view: Any, name: str) -> EventsPattern:
    made = path(route, view, name=name)
    return EventsPattern(made.pattern, made.callback, made.default_args, made.name)


urlpatterns, app_name = job_urls()
