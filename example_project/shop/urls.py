"""The shop's pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from .inbox_page import InboxView
from .pages import DemoLoginView, HomeView, NotPaidView, ResultView, SendView, SimulateView

app_name = "shop"

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("send/<slug:name>/", SendView.as_view(), name="send"),
    path("simulate/", SimulateView.as_view(), name="simulate"),
    path("inbox/", InboxView.as_view(), name="inbox"),
    path("results/<uuid:pk>/", ResultView.as_view(), name="result"),
    path("results/<uuid:pk>/not-paid.csv", NotPaidView.as_view(), name="not-paid"),
    path("demo-login/", DemoLoginView.as_view(), name="demo-login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
