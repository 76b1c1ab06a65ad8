"""The frame of the admin's pages of jobs. Every link stays at the site that the page belongs to, whatever its name."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

__all__ = ["SiteMixin", "model_url"]


def model_url(site: admin.AdminSite, opts: Any, name: str, *args: Any) -> str:
    """Return the URL of one of a model's pages at *site*.

    Raises:
        NoReverseMatch: it has no such page.
    """
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args, current_app=site.name)


class SiteMixin:
    """What the pages of a ``ModelAdmin`` have in common."""

    admin_site: admin.AdminSite
    opts: Any
    media: Any
    has_view_permission: Any

    def url_to(self, name: str, *args: Any) -> str:
        """Return the URL of one of the pages of jobs."""
        return model_url(self.admin_site, self.opts, name, *args)

    def render_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        # Django's {% url 'admin:…' %} looks here for the site.
        request.current_app = self.admin_site.name
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, frame | context)

    def demand_view(self, request: HttpRequest) -> None:
        """Let nobody pass who may not look at jobs.

        Raises:
            PermissionDenied: 403.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
