"""Jobs in the Django admin: staff view, cancel, rerun, purge and export them; nobody adds or edits one.

All of it is in ``JobAdminMixin``, so that a project can combine it with the ``ModelAdmin`` of an admin theme::

    admin.site.unregister(Job)

    @admin.register(Job)
    class MyJobAdmin(JobAdminMixin, ThemedModelAdmin): ...
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..jobs import retention
from ..models import Job
from ..querysets import JobQuerySet
from . import filters
from .actions import ACTIONS
from .changelist import COLUMNS_VAR, CappedPaginator, JobChangeList, search
from .columns import ColumnsMixin
from .confirm import ActionsMixin
from .dashboard import dashboard_context
from .detail import SENSITIVE, DetailMixin
from .live import LiveMixin
from .lookups import LookupsMixin
from .statistics import with_stalled

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Job]
else:
    ModelAdmin = object

__all__ = ["JobAdmin", "JobAdminMixin"]

#: Columns that the list does not read, besides the large ones.
UNLISTED = (
    *("response", "problem", "uploads", "message_options"),
    *("fingerprint", "idempotency_key", "active_key", "active_hash"),
)


class JobAdminMixin(ColumnsMixin, LookupsMixin, ActionsMixin, DetailMixin, LiveMixin, ModelAdmin):
    """Makes a ``ModelAdmin`` the admin of jobs."""

    #: Always shown; with ``?columns=all``, ``more_columns`` are shown as well.
    list_display = (
        "state_column",
        "operation_column",
        "owner_column",
        "object_column",
        "created_column",
        "duration_column",
        "attempts_column",
    )
    more_columns: Sequence[str] = ("worker_column", "queue_column")
    list_display_links = ("operation_column",)
    list_filter = (
        filters.StateFilter,
        filters.AttentionFilter,
        filters.OperationFilter,
        filters.CreatedFilter,
        filters.MineFilter,
    )
    lookups = frozenset({"id", "owner", "operation", "state", "object_type", "object_id"})
    guarded = SENSITIVE
    #: Django caches object types, but a new process would need one statement for each.
    list_select_related = ("owner", "object_type")
    list_per_page = 50
    list_max_show_all = 100
    #: Only the time has an index that a list can be sorted by.
    sortable_by = ("created_column",)
    ordering = ("-created_at",)
    search_fields = ("id",)  # shows the search box; search() decides what is found
    search_hint = gettext_lazy(
        "A job’s id, an operation or an owner’s name; or owner:name, op:start-of-operation, "
        "key:hash as the page of a job shows it."
    )
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = CappedPaginator
    date_hierarchy = None
    actions_on_bottom = False
    dashboard_template = "admin/async_accept/job/dashboard.html"

    @property
    def media(self) -> forms.Media:
        # Not a class Media: that of a subclass would replace it, because a mixin is no MediaDefiningClass.
        own = forms.Media(css={"all": ["async_accept/admin.css"]}, js=["async_accept/admin.js"])
        return super().media + own  # type: ignore[no-any-return]

    # --- Permissions -------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Only a job that has ended can be deleted; an active one is a promise."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.is_final)

    # --- The list -----------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> JobQuerySet:
        """Return the jobs that exist in this admin: in the list, its filters, the dashboard, and at every URL.

        Override it to narrow them.
        """
        jobs: JobQuerySet = super().get_queryset(request)
        return with_stalled(jobs.light().defer(*UNLISTED))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        more = self.more_columns if request.GET.get(COLUMNS_VAR) == "all" else ()
        return [*self.list_display, *more]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return search(request, queryset, search_term, self), False

    # --- One job: see also detail.py and confirm.py ---------------------------------------------------------

    def delete_model(self, request: HttpRequest, obj: Job) -> None:
        """Delete the job together with its result.

        Raises:
            PermissionDenied: the project protects the job, by more than the foreign keys that Django has looked at.
        """
        if not retention.purge([obj.pk]):
            raise PermissionDenied

    # --- All jobs -------------------------------------------------------------------------------------------

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        """Show the figures of the jobs of ``get_queryset()``."""
        self.demand_view(request)
        figures = dashboard_context(self.get_queryset(request), self.url_to)
        context = {**figures, "title": _("Dashboard of jobs")}
        return self.render_page(request, self.dashboard_template, context)

    # --- URLs -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        own = [
            path("live/", view(self.live_view), name=f"{name}_live"),
            path("dashboard/", view(self.dashboard_view), name=f"{name}_dashboard"),
            path("<uuid:object_id>/live/", view(self.live_page_view), name=f"{name}_live_page"),
            path("<uuid:object_id>/result/", view(self.result_view), name=f"{name}_result"),
        ]
        own += [
            path(
                f"<uuid:object_id>/{action}/",
                view(self.action_view),
                kwargs={"action": action},
                name=f"{name}_{action}",
            )
            for action in ACTIONS
        ]
        return [*own, *super().get_urls()]


@admin.register(Job)
class JobAdmin(JobAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Jobs in the default admin."""
