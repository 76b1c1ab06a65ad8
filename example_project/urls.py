"""All URLs: the shop's pages, its API, the jobs (async_accept) and the admin."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("example_project.shop.urls")),
    path("api/", include("example_project.shop.api_urls")),
    path("api/jobs/", include("async_accept.urls")),
    path("api-auth/", include("rest_framework.urls")),
    path("admin/", admin.site.urls),
    # Browsers ask for this if a page names no icon, such as the pages of the API and the admin.
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}shop/shop.svg")),
]

if settings.DRILLS:
    urlpatterns.append(path("api/drills/", include("example_project.drills.urls")))
