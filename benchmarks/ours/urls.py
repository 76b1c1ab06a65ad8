import os

from django.contrib import admin
from django.urls import include, path

from async_accept.jobs import publish

from .views import AtomicOrdersView, OrdersView

urlpatterns = [
    path("orders/", OrdersView.as_view()),
    path("atomic-orders/", AtomicOrdersView.as_view()),
    path("jobs/", include("async_accept.urls")),
    path("admin/", admin.site.urls),
]

if os.environ.get("BENCH_LEAVE_TO_RELAY"):
    # There is no setting that leaves publishing to the relay. This shows what one would cost.
    publish.publish_accepted = lambda job: None
