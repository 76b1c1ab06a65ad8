"""All URLs: the shop's pages, its API, the jobs and webhooks (async_accept), the inbox and the admin."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from example_project.shop.csp import DocsView

urlpatterns = [
    path("", include("example_project.shop.urls")),
    path("api/", include("example_project.shop.api_urls")),
    path("api/jobs/", include("async_accept.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="docs"),
    path("api/webhooks/", include("async_accept.webhooks.urls")),
    path("inbox/", include("example_project.inbox.urls")),
    # For monitoring systems, see MONITORING_TOKENS.
    path("metrics/", include("async_accept.contrib.prometheus.urls")),
    path("health/", include("async_accept.health")),
    path("api-auth/", include("rest_framework.urls")),
    path("admin/", admin.site.urls),
    # Browsers ask for this if a page names no icon, such as the pages of the API and the admin.
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}shop/shop.svg")),
]

handler404 = "example_project.shop.errors.not_found"

if settings.DRILLS:
    urlpatterns.append(path("api/drills/", include("example_project.drills.urls")))
