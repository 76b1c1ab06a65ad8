"""URLs of the drills; the project includes them below /api/drills/ when DRILLS=1."""

from django.urls import path

from .views import DrillView

app_name = "drills"

urlpatterns = [path("", DrillView.as_view(), name="drill")]
