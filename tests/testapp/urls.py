from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter
from rest_framework.urlpatterns import format_suffix_patterns

from . import generic_views, own_handlers, policies, receivers, views

router = SimpleRouter()
router.register("plain-notes", views.PlainNoteViewSet, basename="plain-note")
router.register("notes", views.NoteViewSet, basename="note")
router.register(r"shelves/(?P<shelf_pk>\d+)/notes", views.ShelfNoteViewSet, basename="shelf-note")

linked = format_suffix_patterns(
    [
        re_path(
            r"^(?P<version>v\d)/linked-notes$",
            views.LinkedNoteViewSet.as_view({"get": "list", "post": "create"}),
            name="linked-note-list",
        ),
        re_path(
            r"^(?P<version>v\d)/linked-notes/(?P<slug>[\w-]+)$",
            views.LinkedNoteViewSet.as_view(
                {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
            ),
            name="linked-note-detail",
        ),
    ]
)

urlpatterns = [
    path("", include(router.urls)),
    path("", include(linked)),
    path("created-notes/", views.NoteCreateView.as_view()),
    path("sums/", views.SumView.as_view()),
    path("shout/<str:word>/", views.ShoutView.as_view()),
    path("listed/", views.listed),
    path("multiply/", views.multiply),
    path("add/", views.add),
    path("run/<str:name>/", views.TaskView.as_view()),
    path("", include(policies)),
    path("generic/", include(generic_views)),
    path("own/", include(own_handlers)),
    path("hooks/", include(receivers)),
]
