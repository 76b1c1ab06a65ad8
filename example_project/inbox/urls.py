"""The URL to which the shop sends."""

from django.urls import path

from .receiver import receive

app_name = "inbox"

urlpatterns = [path("<uuid:pk>/", receive, name="receive")]
