"""Endpoints and deliveries in the Django admin, made for a million rows as the list of jobs is.

No page shows a secret or a body, and of a URL only its host: a path may hold a token.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import NoReverseMatch
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from ..admin import detail, filters
from ..admin.actions import count_text
from ..admin.cells import NOTHING, moment, soft
from ..admin.changelist import CAP, CappedPaginator, JobChangeList
from ..admin.confirm import ActionsMixin
from ..admin.lookups import LookupsMixin
from ..admin.pages import model_url
from ..db.functions import CountOf
from ..models import Job
from .admin_actions import DISABLE, ENABLE, RESEND
from .guard import host_of
from .models import Delivery, Endpoint
from .states import DeliveryState

__all__ = ["DeliveryAdmin", "EndpointAdmin"]

#: Icon and tone of each state, as style sheets know them.
LOOKS = {
    DeliveryState.WAITING: ("○", "waiting"),
    DeliveryState.SENDING: ("▸", "busy"),
    DeliveryState.DELIVERED: ("✓", "good"),
    DeliveryState.FAILED: ("✕", "bad"),
    DeliveryState.HELD: ("…", "warning"),
    DeliveryState.DROPPED: ("⊘", "quiet"),
}
#: How many deliveries the page of a job shows.
SHOWN = 20


def badge(state: str) -> SafeString:
    """Return a state as an icon, its label and a colour."""
    icon, tone = LOOKS[DeliveryState(state)]
    return format_html(
        '<span class="aa-badge aa-{}"><span class="aa-icon" aria-hidden="true">{}</span>{}</span>',
        tone,
        icon,
        DeliveryState(state).label,
    )


# --- What both have in common ----------------------------------------------------------------------------------


class WebhookAdmin(LookupsMixin, ActionsMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that nobody adds, edits or deletes by hand."""

    confirm_template = "admin/async_accept_webhooks/confirm.html"
    list_per_page = 50
    list_max_show_all = 100
    sortable_by = ("created",)
    guarded = ("body", "url", "secret", "previous_secret")
    search_fields = ("id",)  # shows the search box; get_search_results() decides what is found
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = CappedPaginator
    actions_on_bottom = False

    @property
    def media(self) -> forms.Media:
        own = forms.Media(css={"all": ["async_accept/admin.css"]})
        return super().media + own  # type: ignore[no-any-return]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        return JobChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find rows by an id in full: of an endpoint, a job, or a delivery as its receiver knows it."""
        for word in search_term.split():
            try:
                queryset = queryset.filter(self.found_by(UUID(word.removeprefix("msg_"))))
            except ValueError:
                queryset = queryset.none()
        return queryset, False

    def found_by(self, pk: UUID) -> Q:
        return Q(pk=pk)

    @admin.display(description=gettext_lazy("created"), ordering="id")
    def created(self, row: Any) -> SafeString:
        return moment(row.created_at)

    def link(self, model: Any, pk: Any) -> SafeString:
        """Return the id *pk*, with a link to its page in this admin if there is one."""
        if pk is None:
            return SafeString(NOTHING)
        try:
            url = model_url(self.admin_site, model._meta, "change", pk)
        except NoReverseMatch:
            return format_html('<code dir="ltr">{}</code>', pk)
        return format_html('<a href="{}"><code dir="ltr">{}</code></a>', url, pk)


# --- Deliveries ------------------------------------------------------------------------------------------------


class DeliveryStateFilter(filters.OneOf):
    """By state."""

    title = gettext_lazy("state")
    parameter_name = "state"
    choices_ = DeliveryState.choices

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(state=self.value()) if self.value() in DeliveryState.values else None


@admin.register(Delivery)
class DeliveryAdmin(WebhookAdmin):
    """Deliveries: what was sent, what was not, and send again."""

    list_display = ("webhook", "state_badge", "host", "owner", "event", "attempt", "outcome", "created")
    list_filter = (DeliveryStateFilter, filters.CreatedFilter)
    list_select_related = ("endpoint__owner",)
    ordering = ("-id",)  # time-ordered; one index serves each filter
    fields = (
        *("webhook", "state_badge", "endpoint_link", "host", "job_link", "event", "sequence", "attempt"),
        *("outcome", "try_at", "created_at", "finished_at"),
    )
    actions = ("resend",)

    def get_queryset(self, request: HttpRequest) -> Any:
        hidden = ("body", "url", *(f"endpoint__{name}" for name in ("url", "secret", "previous_secret")))
        return super().get_queryset(request).select_related("endpoint__owner").defer(*hidden)

    def found_by(self, pk: UUID) -> Q:
        return Q(pk=pk) | Q(job_id=pk) | Q(endpoint=pk)

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept_webhooks.resend_delivery")

    @admin.action(permissions=["resend"], description=gettext_lazy("Send selected deliveries again"))
    def resend(self, request: HttpRequest, queryset: Any) -> Any:
        return self.run_action(request, RESEND, queryset)

    @admin.display(description="webhook-id")
    def webhook(self, row: Delivery) -> SafeString:
        return format_html('<code dir="ltr">{}</code>', row.webhook_id)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, row: Delivery) -> SafeString:
        return badge(row.state)

    @admin.display(description=gettext_lazy("owner"))
    def owner(self, row: Delivery) -> SafeString:
        return soft(row.endpoint.owner or NOTHING)

    @admin.display(description=gettext_lazy("webhook endpoint"))
    def endpoint_link(self, row: Delivery) -> SafeString:
        return self.link(Endpoint, row.endpoint_id)

    @admin.display(description=gettext_lazy("job"))
    def job_link(self, row: Delivery) -> SafeString:
        return self.link(Job, row.job_id)


# --- Endpoints -------------------------------------------------------------------------------------------------


class EnabledFilter(filters.OneOf):
    """By whether anything is sent."""

    title = gettext_lazy("endpoint")
    parameter_name = "enabled"
    choices_ = (
        ("1", gettext_lazy("enabled")),
        ("0", gettext_lazy("disabled")),
        ("failing", gettext_lazy("failing")),
    )

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "1" | "0" as flag:
                return queryset.filter(disabled_at__isnull=flag == "1")
            case "failing":
                return queryset.filter(failures__gt=0)
        return None


@admin.register(Endpoint)
class EndpointAdmin(WebhookAdmin):
    """Endpoints of all owners."""

    list_display = ("identity", "owner", "host", "enabled", "disabled_by", "failures", "created")
    list_filter = (EnabledFilter,)
    list_select_related = ("owner",)
    ordering = ("-id",)
    fields = (
        *("identity", "owner", "host", "operations_named", "states_named", "include_result", "figures"),
        *("disabled_at", "disabled_by", "failures", "failing_since", "created_at"),
    )
    actions = ("disable", "enable")

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.alive().defer("secret", "previous_secret")

    def _may_change(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept_webhooks.change_endpoint")

    has_disable_permission = has_enable_permission = _may_change

    @admin.action(permissions=["disable"], description=gettext_lazy("Disable selected endpoints"))
    def disable(self, request: HttpRequest, queryset: Any) -> Any:
        return self.run_action(request, DISABLE, queryset)

    @admin.action(permissions=["enable"], description=gettext_lazy("Enable selected endpoints"))
    def enable(self, request: HttpRequest, queryset: Any) -> Any:
        return self.run_action(request, ENABLE, queryset)

    @admin.display(description=gettext_lazy("id"))
    def identity(self, row: Endpoint) -> SafeString:
        return format_html('<code dir="ltr">{}</code>', row.pk)

    @admin.display(description=gettext_lazy("host"))
    def host(self, row: Endpoint) -> SafeString:
        return soft(host_of(row.url) or NOTHING)

    @admin.display(description=gettext_lazy("enabled"), boolean=True)
    def enabled(self, row: Endpoint) -> bool:
        return row.disabled_at is None

    @admin.display(description=gettext_lazy("operations"))
    def operations_named(self, row: Endpoint) -> str:
        return ", ".join(row.operations) or gettext("all")

    @admin.display(description=gettext_lazy("states"))
    def states_named(self, row: Endpoint) -> str:
        return ", ".join(row.states) or gettext("all")

    @admin.display(description=gettext_lazy("webhook deliveries"))
    def figures(self, row: Endpoint) -> SafeString:
        """How many deliveries are in each state, counted up to the cap in one statement; with a link to them."""
        rows = Delivery.objects.filter(endpoint=row.pk)
        counts = {f"in_{state}": CountOf(rows.filter(state=state), CAP + 1) for state in DeliveryState.values}
        found = Endpoint.objects.filter(pk=row.pk).annotate(**counts).values(*counts).get()
        said = SafeString("")
        for state in DeliveryState:
            if count := found[f"in_{state}"]:
                said += format_html("{} <bdi>{}</bdi> ", badge(state), count_text(count))
        try:
            url = model_url(self.admin_site, Delivery._meta, "changelist")
        except NoReverseMatch:
            return said
        return said + format_html('<a href="{}?q={}">{}</a>', url, row.pk, gettext("Show them"))


# --- The page of a job -----------------------------------------------------------------------------------------


def deliveries_of(request: HttpRequest, job: Job, site: admin.AdminSite) -> SafeString:
    """Return the deliveries of *job* for its page; empty if there are none, or the user may not see them."""
    if not request.user.has_perm("async_accept_webhooks.view_delivery"):
        return SafeString("")
    rows = Delivery.objects.filter(job_id=job.pk).order_by("id")
    found = list(rows.only("state", "host", "attempt", "outcome", "created_at", "finished_at")[: SHOWN + 1])
    if not found:
        return SafeString("")
    context = {
        "more": len(found) > SHOWN,
        "rows": [
            {"row": row, "badge": badge(row.state), "when": moment(row.finished_at), "url": _page(site, row)}
            for row in found[:SHOWN]
        ],
    }
    return SafeString(render_to_string("admin/async_accept_webhooks/job_deliveries.html", context))


def _page(site: admin.AdminSite, row: Delivery) -> str:
    try:
        return model_url(site, Delivery._meta, "change", row.pk)
    except NoReverseMatch:
        return ""


detail.BLOCKS.append(deliveries_of)
