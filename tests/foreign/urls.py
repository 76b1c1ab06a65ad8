"""The same URLs, accepting; what only tasks do; and the README's edit, the URLs of jobs."""

from django.urls import include, path

from .company import accepting
from .company.routes import routes

tasks = [
    path("status/<int:status>/", accepting.Status.as_view()),
    path("decline/", accepting.Decline.as_view()),
    path("stumble/", accepting.Stumble.as_view()),
]

urlpatterns = [*routes(accepting), path("v1/tasks/", include(tasks))]
urlpatterns += [path("api/jobs/", include("async_accept.urls"))]
