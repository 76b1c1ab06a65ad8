from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/jobs/", include("async_accept.urls")),
    path("api/webhooks/", include("async_accept.webhooks.urls")),
    path("api/", include("tests.testapp.urls")),
    path("metrics/", include("async_accept.contrib.prometheus.urls")),
    path("health/", include("async_accept.health")),
]
