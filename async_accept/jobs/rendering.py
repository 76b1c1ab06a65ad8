"""Render a response in the worker as Django would after the view.

A replayed view negotiates its renderer again, by the ``Accept``, ``?format=`` or suffix of the request.
"""

from functools import lru_cache
from inspect import isclass
from typing import Any

from django.conf import settings
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.module_loading import import_string
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

from ..exceptions import Unencodable

__all__ = ["render"]


def render(response: Any) -> Any:
    """Render *response* as Django would after the view, and return it.

    A page of the browsable API is for one reader: in its place is what it shows, such as JSON.

    Raises:
        Unencodable: the data has no JSON form.
    """
    if not (hasattr(response, "render") and callable(response.render)):
        return _in_its_language(response)
    renderer = getattr(response, "accepted_renderer", None)
    if isinstance(renderer, BrowsableAPIRenderer):
        view = response.renderer_context["view"]
        renderer = renderer.get_default_renderer(view) or JSONRenderer()
        response.accepted_renderer, response.accepted_media_type = renderer, renderer.media_type
    try:
        return _in_its_language(response.render())
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        if isinstance(renderer, JSONRenderer):
            raise Unencodable(f"The value has no JSON form ({type(error).__name__}).") from error
        raise


def _in_its_language(response: Any) -> Any:
    """Say the language, if ``LocaleMiddleware`` would have: to the result URL, readers of other languages come."""
    if _tells_language(tuple(settings.MIDDLEWARE)):
        response.headers.setdefault("Content-Language", translation.get_language())
    return response


@lru_cache(maxsize=8)
def _tells_language(middleware: tuple[str, ...]) -> bool:
    kinds = [import_string(path) for path in middleware]
    return any(isclass(kind) and issubclass(kind, LocaleMiddleware) for kind in kinds)
