"""The renderers of what is ours: plain JSON, the status monitor as a page, and the browsable API with a live panel.

HTML is offered after all others, so only clients that ask for it get it. A missing ``Accept``, ``*/*`` (curl) and
``application/json`` get JSON. ``?format=api`` shows the browsable API.
"""

import hashlib
import shlex
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.http import QueryDict
from django.shortcuts import resolve_url
from django.template import loader
from django.urls import NoReverseMatch, Resolver404, resolve
from django.utils.safestring import SafeString, mark_safe
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request, is_form_media_type
from rest_framework.reverse import reverse
from rest_framework.settings import api_settings
from rest_framework.utils.encoders import JSONEncoder

from ..jobs.parsed import take_field
from ..problems import OWN, translated
from .links import job_url
from .panel import panel

__all__ = [
    "DIALECT",
    "AcceptBrowsableAPIRenderer",
    "DialectRenderer",
    "EventStreamRenderer",
    "JobPageRenderer",
    "PlainJSONRenderer",
    "adopt_form_key",
]

#: The shortest time between two reloads of a page without its script.
REFRESH_SECONDS = 5
#: The hidden field in forms of the browsable API; it replaces the ``Idempotency-Key`` header.
FORM_KEY = "_idempotency_key"
#: The query parameter that asks for our own JSON: ``?dialect=async-accept``.
DIALECT = "dialect"


class PlainJSONRenderer(JSONRenderer):
    """JSON as this library documents it, whatever the project has made of REST framework's settings."""

    compact = True
    ensure_ascii = False
    strict = True
    encoder_class = JSONEncoder


class DialectRenderer(PlainJSONRenderer):
    """The same under a media type of its own: for scripts that must understand what they get in every project."""

    media_type = "application/vnd.async-accept+json"
    format = "async-accept"


class JobPageRenderer(BaseRenderer):
    """The status monitor as a page: complete without JavaScript; with it, ``<async-job>`` keeps the page current."""

    media_type = "text/html"
    format = "html"
    charset = "utf-8"
    template = "async_accept/job_page.html"
    error_template = "async_accept/job_error.html"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        view, request, response = (renderer_context[name] for name in ("view", "request", "response"))
        if data is None:
            return ""
        job = getattr(response, "job", None)
        is_ours = getattr(view, "is_ours", False)
        if is_ours and request.method == "POST" and (job or response.status_code == 409):
            # Post/Redirect/Get: a reload reads again, and does not cancel or rerun again. If the job ended before the
            # click (409), the page shows its end.
            response.status_code = 303
            response["Location"] = data["url"] if job else _monitor_url(view, request)
            response.headers.pop("Retry-After", None)
            return ""
        if job is None:
            return self._error(data, view, request)
        if "Retry-After" in response:
            # For browsers without JavaScript; the script stops it. The reader needs time to reach the buttons
            # (WCAG 2.2.1).
            seconds = max(int(response["Retry-After"]), REFRESH_SECONDS)
            # What was accepted must not be sent again: the page goes on as the job's own.
            response["Refresh"] = str(seconds) if is_ours else f"{seconds}; url={data['url']}"
        return loader.get_template(self.template).render(
            {
                **panel(data),
                "job": job,
                "request": request,
                "user": request.user,
                "wait": response.get("Retry-After", 1),
                "format_name": is_ours and api_settings.URL_FORMAT_OVERRIDE,
                "has_api": any(renderer.format == "api" for renderer in view.get_renderers()),
                "list_url": _url("job-list", request),
            },
            request=request._request,
        )

    def _error(self, data: Mapping[str, Any], view: Any, request: Request) -> str:
        detail = translated(data.get("detail") or "")
        # REST framework's own errors have an English title, and a detail in the reader's language.
        title = translated(data["title"]) if data.get("title") in OWN else detail.rstrip(".")
        missing = data.get("status") == 404
        known = _is_known(request)
        has_no_monitor = missing or data.get("code") == "not-authenticated" or not _is_of_a_job(view)
        context = {
            "title": title,
            # Not twice the same on one page.
            "detail": "" if missing or detail.rstrip(".") == title else detail,
            "request": request,
            "is_missing": missing,
            "login_url": None if known else _login_url(),
            "list_url": _url("job-list", request) if known else None,
            "monitor_url": None if has_no_monitor else _monitor_url(view, request),
        }
        return loader.get_template(self.error_template).render(context, request=request._request)


class AcceptBrowsableAPIRenderer(BrowsableAPIRenderer):
    """REST framework's browsable API with a live panel above a job. A form that is sent twice makes one job."""

    template = "async_accept/api.html"

    def get_default_renderer(self, view: Any) -> Any:
        """Return the renderer of what the page shows: a document of ours is shown as our clients get it."""
        response = getattr(self, "renderer_context", {}).get("response")
        own = getattr(response, "shown_by", None)
        return own(view) if own is not None else super().get_default_renderer(view)

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Any
    ) -> dict[str, Any]:
        self.form_key = uuid4().hex
        job = getattr(renderer_context["response"], "job", None)
        if job is not None and data:
            data = dict(data)  # without its serializer: REST framework would make the forms of it
        context: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        view, response = context["view"], context["response"]
        hidden = (DialectRenderer.format, EventStreamRenderer.format)
        formats = [each.format for each in view.get_renderers() if each.format not in hidden]
        context |= {"form_key": self.form_key, "available_formats": list(dict.fromkeys(formats))}
        if job is not None:
            request = context["request"]
            context |= {
                "job": job,
                "wait": response.get("Retry-After"),
                "curl": _curl(job_url(job, request), request),
            }
        return context

    def show_form_for_method(self, view: Any, method: str, request: Request, obj: Any) -> Any:
        """Whether the page has this form. An outage has no forms: permissions and choices may need the database."""
        context: dict[str, Any] = self.renderer_context  # type: ignore[attr-defined] # render() sets it
        if context["response"].status_code == 503:
            return False
        return super().show_form_for_method(view, method, request, obj)

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        form = super().get_rendered_html_form(data, view, method, request)
        if not isinstance(form, SafeString):
            return form  # True for a button without a form, or None
        return form + mark_safe(f'<input type="hidden" name="{FORM_KEY}" value="{self.form_key}">')  # noqa: S308 both ours


class EventStreamRenderer(PlainJSONRenderer):
    """Stands for server-sent events in content negotiation; it writes JSON if the response is no stream."""

    media_type = "text/event-stream"
    format = "event-stream"
    charset = None


def adopt_form_key(request: Request) -> None:
    """Turn the hidden field of a browsable API's form into the request's ``Idempotency-Key``.

    A form cannot send a header. The field is removed from the data, so no serializer and no replay sees it. The values
    of the form become part of the key: a user who goes back and changes a value makes another request.
    """
    renderer = getattr(request, "accepted_renderer", None)
    if not isinstance(renderer, AcceptBrowsableAPIRenderer) or not is_form_media_type(request.content_type):
        return
    key = take_field(request, FORM_KEY)
    data = request.data
    if key and isinstance(data, QueryDict) and "HTTP_IDEMPOTENCY_KEY" not in request.META:
        said = [(name, [_said(value) for value in data.getlist(name)]) for name in sorted(data)]
        request.META["HTTP_IDEMPOTENCY_KEY"] = hashlib.sha256(repr((key, said)).encode()).hexdigest()


def _said(value: Any) -> Any:
    """Return what the key needs of a form value; of a file its name and size, because its content comes later."""
    return value if isinstance(value, str) else (getattr(value, "name", ""), getattr(value, "size", 0))


def _is_known(request: Request) -> bool:
    # The user is None if UNAUTHENTICATED_USER is.
    return getattr(request.user, "is_authenticated", False)


def _curl(url: str, request: Request) -> str:
    login = " -H 'Authorization: …'" if _is_known(request) else ""
    return f"curl -i{login} {shlex.quote(url)}"


def _is_of_a_job(view: Any) -> bool:
    return getattr(view, "is_ours", False) and view.action != "retrieve" and "pk" in view.kwargs


def _monitor_url(view: Any, request: Request) -> str:
    return _url("job-detail", request, pk=view.kwargs["pk"])


def _url(name: str, request: Request, **kwargs: Any) -> str:
    match = request.resolver_match
    space = match.namespace if match else None
    url = reverse(f"async_accept:{name}", kwargs=kwargs, request=request, current_app=space)
    return url.partition("?")[0]  # without ?format=, which is for this page only


def _login_url() -> str | None:
    """Return the project's login page; None if ``LOGIN_URL`` names no page of the project."""
    try:
        url = resolve_url(settings.LOGIN_URL)
        resolve(url)
    except (NoReverseMatch, Resolver404):
        return None
    return url
