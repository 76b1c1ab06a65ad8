"""The actions in the admin: each needs its own permission, and a page asks before it is done.

The list of jobs offers all actions, and the page of a job those that suit it.
"""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.translation import gettext_lazy

from ..models import Job
from ..querysets import JobQuerySet
from .actions import ACTIONS, JobAction, count_text, count_up_to_cap
from .pages import SiteMixin

__all__ = ["ActionsMixin"]


class ActionsMixin(SiteMixin):
    """Offers the actions in the menu of the list and on the page of a job, and asks before each."""

    confirm_template = "admin/async_accept/job/confirm.html"
    actions: Any = ("cancel", "rerun", "purge", "export")
    get_queryset: Any
    find_job: Any
    missing_job: Any

    def may(self, request: HttpRequest, action: JobAction) -> bool:
        """Whether the user may do *action*, as ``has_<name>_permission()`` says."""
        return bool(getattr(self, f"has_{action.name}_permission")(request))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the actions that the user may do.

        Django's own delete is not among them: it would leave the results behind, and delete active jobs as well.
        """
        where = {} if action_location is None else {"action_location": action_location}  # from Django 6.1 on
        actions: dict[str, Any] = super().get_actions(request, **where)  # type: ignore[misc]
        actions.pop("delete_selected", None)
        return actions

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.cancel_job")

    def has_rerun_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.rerun_job")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.purge_job")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("async_accept.export_job")

    @admin.action(permissions=["cancel"], description=gettext_lazy("Cancel selected jobs"))
    def cancel(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["cancel"], queryset)

    @admin.action(permissions=["rerun"], description=gettext_lazy("Run selected jobs again"))
    def rerun(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["rerun"], queryset)

    @admin.action(permissions=["purge"], description=gettext_lazy("Purge selected jobs that have ended"))
    def purge(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["purge"], queryset)

    @admin.action(permissions=["export"], description=gettext_lazy("Export selected jobs as CSV"))
    def export(self, request: HttpRequest, queryset: JobQuerySet) -> HttpResponseBase | None:
        return self.run_action(request, ACTIONS["export"], queryset)

    def action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponseBase:
        """Ask whether to do an action with one job, and do it if the user confirms."""
        job = self.find_job(request, object_id)
        if job is None:
            return self.missing_job(request, object_id)  # type: ignore[no-any-return]
        rows = self.get_queryset(request).filter(pk=job.pk)
        back = self.url_to("change", job.pk)
        response = self.run_action(request, ACTIONS[action], rows, job, back)
        if response is not None:
            return response
        return HttpResponseRedirect(back if rows.exists() else self.url_to("changelist"))

    def run_action(
        self,
        request: HttpRequest,
        action: JobAction,
        jobs: JobQuerySet,
        job: Job | None = None,
        back: str = "",
    ) -> HttpResponseBase | None:
        """Return the page that asks, or do *action* if the user has confirmed; None once it is done.

        Args:
            job: the only one of *jobs*, if a button on its page was clicked.
            back: the URL to return to without doing it; that of the list by default.

        Raises:
            PermissionDenied: the user may not do it (403).
        """
        if not self.may(request, action):
            raise PermissionDenied
        by_button = job is not None
        eligible = action.eligible(jobs, by_button=by_button)
        if request.method == "POST" and request.POST.get("confirmed"):
            return action.run(request, eligible)
        left = action.left_alone(jobs, by_button=by_button)
        context = {"job": job, "back": back or self._list_url(request)}
        return self._ask(request, action, count_up_to_cap(eligible), count_up_to_cap(left), context)

    def _ask(
        self, request: HttpRequest, action: JobAction, eligible: int, left: int, context: dict[str, Any]
    ) -> HttpResponse:
        taken = min(eligible, action.limit)
        context |= {
            "title": action.button,
            "action": action,
            "question": action.question(taken) % {"count": count_text(taken)} if taken else "",
            "chosen": count_text(eligible + left),
            "left_alone": count_text(left) if left else "",
            "limited": action.limit_note(eligible),
            "hidden": list(self._hidden(request)),
            "key": uuid4().hex,
        }
        return self.render_page(request, self.confirm_template, context)

    def _list_url(self, request: HttpRequest) -> str:
        """Return the URL of the list, with the filters, the search and the page that it had."""
        query = request.GET.urlencode()
        return self.url_to("changelist") + (f"?{query}" if query else "")

    def _hidden(self, request: HttpRequest) -> Iterable[tuple[str, str]]:
        """Yield the form fields that say which jobs were chosen in the list."""
        if "action" in request.POST:
            for name in ("action", "select_across", ACTION_CHECKBOX_NAME):
                for value in request.POST.getlist(name):
                    yield name, value
