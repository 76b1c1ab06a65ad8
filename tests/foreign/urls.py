"""The same URLs, accepting; what only tasks do; and the README's edit, the URLs of jobs."""

from django.urls import include, path

from .company import accepting
from .company.routes import routes

tasks = [
    path("tasks/status/<int:status>/", accepting.Status.as_view()),
    path("tasks/decline/", accepting.Decline.as_view()),
    path("tasks/stumble/", accepting.Stumble.as_view()),
    path("tasks/flood/", accepting.Flood.as_view()),
    path("tasks/divide/", accepting.Divide.as_view()),
    path("tasks/buggy/", accepting.Buggy.as_view()),
]

urlpatterns = routes(accepting, *tasks)
urlpatterns += [path("api/jobs/", include("async_accept.urls"))]
