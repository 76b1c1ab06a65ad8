"""The example project's URLs as they are with DRILLS=1."""

from django.urls import include, path

from example_project.urls import urlpatterns as shop

urlpatterns = [*shop, path("api/drills/", include("example_project.drills.urls"))]
