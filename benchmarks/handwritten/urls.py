from django.urls import path

from .views import JobView, OrdersView

urlpatterns = [
    path("orders/", OrdersView.as_view()),
    path("jobs/<uuid:pk>/", JobView.as_view(), name="job"),
]
