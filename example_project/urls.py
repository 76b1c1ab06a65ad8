"""All URLs of the shop: pages, API, status monitor, admin."""

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
    # For pages that name no icon of their own: the API's and the admin's.
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}shop/shop.svg")),
]

if settings.DRILLS:
    urlpatterns.append(path("api/drills/", include("example_project.drills.urls")))
