"""The Content-Security-Policy of the shop's pages: no inline script or style, and nothing from other sites.

The browsable API and the admin have inline scripts and styles, so they do not get this policy.
"""

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from drf_spectacular.views import SpectacularSwaggerSplitView

__all__ = ["POLICY", "DocsView", "protect_job_pages"]

POLICY = "; ".join(
    f"{name} {value}"
    for name, value in {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }.items()
)


@sync_and_async_middleware
def protect_job_pages(get_response):
    """Middleware: set the policy on the pages of jobs, which async_accept renders with the shop's base template."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            return _protect(await get_response(request))
    else:

        def middleware(request: HttpRequest) -> HttpResponseBase:
            return _protect(get_response(request))

    return middleware


def _protect(response: HttpResponseBase) -> HttpResponseBase:
    # REST framework notes the renderer on its responses. The browsable API's format is "api", a job page's is "html".
    renderer = getattr(response, "accepted_renderer", None)
    if getattr(renderer, "format", None) == "html":
        response.setdefault("Content-Security-Policy", POLICY)
    return response


class DocsView(SpectacularSwaggerSplitView):
    """The API's page of Swagger UI, which has a style in the page, and images in its own style sheet."""

    def finalize_response(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().finalize_response(*args, **kwargs)
        policy = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
        response["Content-Security-Policy"] = policy.replace("img-src 'self'", "img-src 'self' data:")
        return response
