"""Jobs in the Django admin: to look at, and to cancel, rerun, purge and export; never to add or edit.

The logic is in ``JobAdminMixin``, so that a project with an admin theme of its own can register it anew::

    admin.site.unregister(Job)

    @admin.register(Job)
    class MyJobAdmin(JobAdminMixin, ThemedModelAdmin): ...
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..jobs import retention
from ..models import Job
from ..querysets import JobQuerySet
from . import filters as admin_filters
from .actions import ACTIONS
from .changelist import COLUMNS_VAR, CappedPaginator, JobChangeList, search
from .columns import ColumnsMixin
from .confirm import ActionsMixin
from .dashboard import dashboard_context
from .detail import DetailMixin
from .live import LiveMixin, parse_id
from .statistics import with_alarm

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Job]
else:
    ModelAdmin = object

__all__ = ["JobAdmin", "JobAdminMixin"]

#: Columns that the list does not read.
UNLISTED = ("response", "problem", "fingerprint", "idempotency_key", "active_key", "active_hash")
#: What a list's URL may look for, besides the filters; anything else could feel its way into stored inputs.
LOOKUPS = frozenset({"id", "owner", "operation", "state", "object_type", "object_id"})


class JobAdminMixin(ColumnsMixin, ActionsMixin, DetailMixin, LiveMixin, ModelAdmin):
    """Everything that makes a ``ModelAdmin`` the admin of jobs."""

    #: Shown always; ``more_columns`` too with ``?columns=all``.
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
        admin_filters.StateFilter,
        admin_filters.AttentionFilter,
        admin_filters.OperationFilter,
        admin_filters.CreatedFilter,
        admin_filters.MineFilter,
    )
    #: Object types too: Django caches them, but a fresh process would ask for each one by a statement of its own.
    list_select_related = ("owner", "object_type")
    list_per_page = 50
    list_max_show_all = 100
    #: Only the time has an index to sort by.
    sortable_by = ("created_column",)
    ordering = ("-created_at",)
    search_fields = ("id",)  # so that there is a box; search() decides what it finds
    search_hint = gettext_lazy(
        "A job’s id, an operation or an owner’s name; or owner:name, op:start-of-operation, "
        "key:hash as the page of a job shows it."
    )
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = CappedPaginator
    date_hierarchy = None
    actions_on_bottom = False
    detail_template = "admin/async_accept/job/detail.html"
    dashboard_template = "admin/async_accept/job/dashboard.html"

    @property
    def media(self) -> forms.Media:
        # No class Media: a subclass that has its own would hide it, because a mixin is no MediaDefiningClass.
        own = forms.Media(css={"all": ["async_accept/admin.css"]}, js=["async_accept/admin.js"])
        return super().media + own  # type: ignore[no-any-return]

    # --- Who may what -------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Only what has ended can be deleted; a job that waits or runs is a promise."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.is_final)

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        filters = {getattr(entry, "parameter_name", None) for entry in self.list_filter}
        return lookup in filters or lookup.removesuffix("__exact") in LOOKUPS

    # --- The list -----------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> JobQuerySet:
        jobs: JobQuerySet = super().get_queryset(request)
        return with_alarm(jobs.light().defer(*UNLISTED).filter(forgotten=False))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        more = self.more_columns if request.GET.get(COLUMNS_VAR) == "all" else ()
        return [*self.list_display, *more]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return search(request, queryset, search_term), False

    # --- One job --------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one job."""
        job = self._find(request, object_id)
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        context = {
            **self.detail_context(request, job),
            # The end of the id: its beginning is a time, which jobs of one minute share.
            "title": f"{job.operation} …{job.pk.hex[-8:]}",
            "subtitle": None,
            "buttons": [
                action for action in ACTIONS.values() if action.applies(job) and self.may(request, action)
            ],
            # Who may purge needs no second button for the same.
            "can_delete": self.has_delete_permission(request, job) and not self.has_purge_permission(request),
            "live_url": self.url_to("live_page", job.pk),
            **(extra_context or {}),
        }
        return self.render_page(request, self.detail_template, context)

    def action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponseBase:
        """Ask about one job's action, and do it."""
        job = self._find(request, object_id)
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        back = self.url_to("change", job.pk)
        answer = self.run_action(request, ACTIONS[action], Job.objects.filter(pk=job.pk), job, back)
        if answer is not None:
            return answer
        there = Job.objects.filter(pk=job.pk).exists()
        return HttpResponseRedirect(back if there else self.url_to("changelist"))

    def result_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give a job's result as a file."""
        job = self._find(request, object_id)
        if job is None:
            raise Http404
        return self.download(job)

    def delete_model(self, request: HttpRequest, obj: Job) -> None:
        """Delete the job together with its result."""
        retention.purge([obj.pk])

    # --- All jobs -------------------------------------------------------------------------------------------

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        """Show how the jobs of the last 24 hours went."""
        self.demand_view(request)
        context = {**dashboard_context(self.url_to), "title": _("Dashboard of jobs")}
        return self.render_page(request, self.dashboard_template, context)

    # --- Wiring -----------------------------------------------------------------------------------------------

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

    def _find(self, request: HttpRequest, object_id: Any) -> Job | None:
        """Return the job, or None where there is none.

        Raises:
            PermissionDenied: the user may not look at jobs (403), whether there is one or not.
        """
        self.demand_view(request)
        pk = parse_id(str(object_id))
        return self.detail_queryset(request).filter(pk=pk).first() if pk else None


@admin.register(Job)
class JobAdmin(JobAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Jobs in the default admin."""
