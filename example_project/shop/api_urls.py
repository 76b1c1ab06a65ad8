"""The URLs below /api/."""

from django.urls import path
from rest_framework.routers import APIRootView, SimpleRouter

from .payment_events import PaymentEvents
from .views import OrderViewSet, PriceListViewSet, ProductViewSet, ReportView, TroubleView

router = SimpleRouter()
router.register("orders", OrderViewSet, basename="order")
router.register("imports", PriceListViewSet, basename="import")
router.register("products", ProductViewSet, basename="product")

ROOT = {
    "orders": "order-list",
    "bulk orders": "order-bulk",
    "imports": "import-list",
    "products": "product-list",
    "reports": "report",
    "jobs": "async_accept:job-list",
    "webhooks": "async_accept_webhooks:endpoint-list",
    "drills": "drills:drill",
}

urlpatterns = [
    # Unlike a router's root view, this one shows all URLs. It leaves out names that do not exist.
    path("", APIRootView.as_view(api_root_dict=ROOT), name="api-root"),
    path("reports/", ReportView.as_view(), name="report"),
    path("webhooks/payments/", PaymentEvents.as_view(), name="payment-events"),
    path("trouble/", TroubleView.as_view(), name="trouble"),
    *router.urls,
]
