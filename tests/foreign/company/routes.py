"""Where the views are, in two versions; the format may be a suffix."""

from typing import Any

from django.urls import include, path
from rest_framework.routers import SimpleRouter
from rest_framework.urlpatterns import format_suffix_patterns


def routes(views: Any, *others: Any) -> list[Any]:
    """Return the URLs for the views of a module, ``plain`` or ``accepting``, and for *others*."""
    router = SimpleRouter()
    order = r"customers/(?P<customer_pk>\d+)/orders"
    router.register("customers", views.Customers, basename="customer")
    router.register(order, views.Orders, basename="order")
    router.register(order + r"/(?P<order_pk>\d+)/documents", views.Documents, basename="document")
    entries = [
        *router.urls,
        *format_suffix_patterns([path("report", views.Report.as_view(), name="report")]),
        path(
            "customers/<int:customer_pk>/bulk/", views.BulkOrders.as_view({"get": "list"}), name="bulk-list"
        ),
        path("import/", views.Import.as_view()),
        path("me/", views.Me.as_view()),
        *format_suffix_patterns(
            [path("stock", views.Stock.as_view()), path("restock", views.Restock.as_view())]
        ),
        path("office/", views.Office.as_view()),
        path("fixed/", views.Fixed.as_view()),
        path("sheet/", views.Sheet.as_view()),
        path("letter/", views.Letter.as_view()),
        path("legacy/", views.Legacy.as_view()),
        path("bare/", views.Bare.as_view()),
        path("quote/", views.quote),
        path("whoami/token/", views.Whoami.as_view()),
        path("whoami/basic/", views.WhoamiBasic.as_view()),
        path("whoami/key/", views.WhoamiKey.as_view()),
        path("whoami/session/", views.WhoamiSession.as_view()),
        path("whoami/anybody/", views.WhoamiAnybody.as_view()),
        path("whoami/gate/", views.Gate.as_view()),
        path("whoami/scoped/", views.Scoped.as_view()),
        path("work/<str:name>/", views.Work.as_view(), name="work"),
        path("asked/<str:name>/", views.Asked.as_view()),
        path("exact/<str:name>/", views.Exact.as_view()),
        path("loose/<str:name>/", views.Loose.as_view()),
        path("untied/<str:name>/", views.Untied.as_view()),
        path("table/", views.Table.as_view()),
        *others,
    ]
    return [path("v1/", include((entries, "v1"))), path("v2/", include((entries, "v2")))]
