"""The URL of the drills. The project includes it as /api/drills/ if DRILLS=1."""

from django.urls import path

from .views import DrillView

app_name = "drills"

urlpatterns = [path("", DrillView.as_view(), name="drill")]
