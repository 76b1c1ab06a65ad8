"""The endpoints of webhooks for their owners: ``path("api/webhooks/", include("async_accept.webhooks.urls"))``."""

from typing import Any

from django.urls import path

from .views import EndpointViewSet

__all__ = ["app_name", "urlpatterns", "webhook_urls"]


def webhook_urls(views: Any = EndpointViewSet) -> tuple[list[Any], str]:
    """Return the URLs of webhooks for ``include()``, served by a subclass of ``EndpointViewSet``."""
    one = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
    # The ids are any text here: a malformed one gets the same 404 as an unknown one.
    patterns = [
        path("", views.as_view({"get": "list", "post": "create"}), name="endpoint-list"),
        path("<str:pk>/", views.as_view(one), name="endpoint-detail"),
        path("<str:pk>/rotate/", views.as_view({"post": "rotate"}), name="endpoint-rotate"),
        path("<str:pk>/ping/", views.as_view({"post": "ping"}), name="endpoint-ping"),
        path("<str:pk>/resend/", views.as_view({"post": "resend"}), name="endpoint-resend"),
        path("<str:pk>/deliveries/", views.as_view({"get": "deliveries"}), name="delivery-list"),
        path(
            "<str:pk>/deliveries/<str:delivery>/resend/",
            views.as_view({"post": "resend_delivery"}),
            name="delivery-resend",
        ),
    ]
    return patterns, "async_accept_webhooks"


urlpatterns, app_name = webhook_urls()
