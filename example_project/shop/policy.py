"""The Content-Security-Policy of the shop's own pages: no inline script or style, nothing from elsewhere.

REST framework's browsable API and Django's admin have inline parts, so the policy is not set for those.
"""

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from async_accept.http.renderers import JobPageRenderer

__all__ = ["POLICY", "strict_status_pages"]

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


def _protect(response: HttpResponseBase) -> HttpResponseBase:
    if isinstance(getattr(response, "accepted_renderer", None), JobPageRenderer):
        response["Content-Security-Policy"] = POLICY
    return response


@sync_and_async_middleware
def strict_status_pages(get_response):
    """Middleware that sets the policy for the status pages of jobs, which the package draws in the shop's frame."""
    if iscoroutinefunction(get_response):

        async def answer(request: HttpRequest) -> HttpResponseBase:
            return _protect(await get_response(request))
    else:

        def answer(request: HttpRequest) -> HttpResponseBase:
            return _protect(get_response(request))

    return answer
