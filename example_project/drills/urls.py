"""The URLs of the drills. The project includes them as /api/drills/ if DRILLS=1."""

from django.urls import path

from .views import DrillView, LookView, OnceView, PlainView, ReplayView, UploadView

app_name = "drills"

urlpatterns = [
    path("", DrillView.as_view(), name="drill"),
    path("plain/", PlainView.as_view(), name="plain"),
    path("once/", OnceView.as_view(), name="once"),
    path("upload/", UploadView.as_view(), name="upload"),
    path("replay/", ReplayView.as_view(), name="replay"),
    path("look/", LookView.as_view(), name="look"),
]
