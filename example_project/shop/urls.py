"""The shop's pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from .pages import DemoLoginView, HomeView, NotPaidView, OutcomeView, SendView

app_name = "shop"

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("send/<slug:name>/", SendView.as_view(), name="send"),
    path("outcomes/<uuid:pk>/", OutcomeView.as_view(), name="outcome"),
    path("outcomes/<uuid:pk>/not-paid.csv", NotPaidView.as_view(), name="not-paid"),
    path("demo-login/", DemoLoginView.as_view(), name="demo-login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
