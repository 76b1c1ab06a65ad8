"""What all pages of jobs in the admin share. Their links stay at the admin site that shows the page, under any name."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

__all__ = ["SiteMixin", "model_url"]


def model_url(site: admin.AdminSite, opts: Any, name: str, *args: Any) -> str:
    """Return the URL of a page of a model in the admin *site*, such as ``change`` with a primary key.

    Raises:
        NoReverseMatch: the site has no such page.
    """
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args, current_app=site.name)


class SiteMixin:
    """URLs, rendering and the permission to view, for the pages of a ``ModelAdmin``."""

    admin_site: admin.AdminSite
    opts: Any
    media: Any
    has_view_permission: Any

    def url_to(self, name: str, *args: Any) -> str:
        """Return the URL of a page of jobs, such as ``changelist``."""
        return model_url(self.admin_site, self.opts, name, *args)

    def render_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        # {% url 'admin:…' %} finds the site by this.
        request.current_app = self.admin_site.name
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, frame | context)

    def demand_view(self, request: HttpRequest, job: Any = None) -> None:
        """Check that the user may view jobs, or this *job*.

        Raises:
            PermissionDenied: the user may not (403).
        """
        if not self.has_view_permission(request, job):
            raise PermissionDenied
