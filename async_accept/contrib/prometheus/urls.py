"""The URL that Prometheus scrapes: ``path("metrics/", include("async_accept.contrib.prometheus.urls"))``."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from ...http.monitoring import for_monitoring
from .exposition import exposed

__all__ = ["app_name", "metrics", "urlpatterns"]


@for_monitoring
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with what was counted here, and with what is in the table now."""
    body, content_type = exposed(request.META.get("HTTP_ACCEPT", ""), table=True)
    return HttpResponse(body, content_type)


app_name = "async_accept_prometheus"
urlpatterns = [path("", metrics, name="metrics")]
