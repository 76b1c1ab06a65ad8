"""``@accepts`` and ``@accepts_task``: accepting in an action, a method of an ``APIView``, or a function view.

They stand below ``@action`` and below ``@api_view``, directly above the function, as REST framework's own decorators
do. Above ``@api_view`` they take charge of the whole view: then an error before the function is reached, such as a
database that is away while the caller is authenticated, is answered as an accepting view answers it, too.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from .exceptions import Unavailable
from .http import generic
from .http.accept import Acceptance, Prepared
from .http.errors import naming_refusals
from .http.generic import VERBS
from .http.metadata import with_terms
from .http.negotiation import with_panel
from .http.options import AcceptOptions
from .http.outages import passes
from .http.responses import VARY
from .jobs.parsed import keep_input
from .jobs.replay import decorated, job_of
from .mixins import AcceptingView

__all__ = ["accepts", "accepts_task", "decorated", "no_request"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
#: Decides about one request; gets the handler, called with its arguments.
Way = Callable[[Acceptance, Callable[[], Any]], Any]


def accepts(*, serializer_class: Any = None, **options: Any) -> Callable[[Handler], Handler]:
    """Let the decorated handler run in the worker.

    In the request, *serializer_class* validates the data, if it is given, and a detail route looks up its object: so
    400, 403 and 404 come at once. What the handler returns is the result.

    Args:
        serializer_class: also names the serializer that the browsable API draws its form of.
        options: any attribute of an accepting view, without ``accept_``: ``operation="orders.publish"``.

    Raises:
        ImproperlyConfigured: an unknown option, or it stands on what is no handler of REST framework's.
    """

    def run_in_worker(acceptance: Acceptance, work: Callable[[], Any]) -> Any:
        view, request = acceptance.view, acceptance.request

        def prepare() -> Prepared:
            instance = acceptance.hook("get_accept_object")()
            if serializer_class is None or not acceptance.has_data:
                return None, instance
            return generic.validate(view, request, instance, serializer_class), instance

        return acceptance.decide(prepare, work)

    return _decorator(run_in_worker, options, serializer_class)


def accepts_task(task: Any, **options: Any) -> Callable[[Handler], Handler]:
    """Let *task* do the work; the decorated handler runs in the request.

    The handler validates the request and returns the keyword arguments of the task as a mapping. If the answer can be
    had at once it returns a ``Response`` instead, and there is no job.

    Args:
        task: a ``JobTask``.
        options: any attribute of an accepting view, without ``accept_``, but no ``mode``: the handler decides.

    Raises:
        ImproperlyConfigured: an unknown option, or ``mode``.
    """
    if options.get("mode") is not None:
        raise ImproperlyConfigured(
            "@accepts_task takes no mode: only the handler can answer at once, by returning a Response."
        )

    def run_now(acceptance: Acceptance, work: Callable[[], Any]) -> Any:
        def prepare() -> Prepared:
            if not acceptance.has_data:  # a rerun; the handler would read other data
                return None, acceptance.hook("get_accept_object")()
            found = work()
            if isinstance(found, HttpResponseBase):
                return found
            if not isinstance(found, Mapping):
                raise ImproperlyConfigured(
                    f"The handler of {task.name} must return its keyword arguments as a mapping, or a Response; "
                    f"it returned a {type(found).__name__}."
                )
            return found, None

        return acceptance.decide(prepare)

    return _decorator(run_now, {**options, "task": task})


def _decorator(
    way: Way, options: dict[str, Any], serializer_class: Any = None
) -> Callable[[Handler], Handler]:
    unknown = [name for name in options if not hasattr(AcceptOptions, f"accept_{name}")]
    if unknown:
        raise ImproperlyConfigured(f"There is no option {', '.join(unknown)}.")

    told = options if serializer_class is None else {**options, "serializer_class": serializer_class}

    def decorate(handler: Handler) -> Handler:
        _check_handler(handler)
        if hasattr(handler, "cls"):
            return cast(Handler, _whole(handler.cls, decorate, options))

        @wraps(handler)
        def accepting(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(handler, args)
            if job_of(request) is None:
                keep_input(request)
            [request.accepted_renderer] = with_panel([request.accepted_renderer])
            view = request.parser_context["view"]
            acceptance = Acceptance(view, request, _named(view, handler, options))
            work = partial(handler, *args, **kwargs)
            if isinstance(view, AcceptingView):
                return way(acceptance, work)
            # What AcceptingView does around every answer.
            view.headers["Vary"] = ", ".join(VARY)
            handle = naming_refusals(view.get_exception_handler())
            view.get_exception_handler = lambda: handle
            try:
                acceptance.adopt_form_key()
                return way(acceptance, work)
            except Exception as error:
                if not passes(error) or job_of(request) is not None:
                    raise
                raise Unavailable.because(error) from error

        # @api_view takes these from here; OPTIONS tells the options.
        renderers = getattr(handler, "renderer_classes", APIView.renderer_classes)
        accepting.renderer_classes = with_panel(renderers)  # type: ignore[attr-defined]
        metadata = getattr(handler, "metadata_class", APIView.metadata_class)
        accepting.metadata_class = with_terms(metadata, partial(_named, handler=handler, options=options))  # type: ignore[attr-defined]
        accepting.accept_options = told  # type: ignore[attr-defined]
        return cast(Handler, accepting)

    return decorate


def _check_handler(handler: Any) -> None:
    """Refuse what REST framework does not call, with the line that mends it.

    Raises:
        ImproperlyConfigured: *handler* is a class, a view of Django's, or a coroutine function.
    """
    view = handler if inspect.isclass(handler) else getattr(handler, "view_class", None)
    name = getattr(view or handler, "__name__", repr(handler))
    if view is not None and not hasattr(handler, "cls"):
        kind = "APIView" if not issubclass(view, APIView) else view.__bases__[0].__name__
        raise ImproperlyConfigured(
            f"@accepts stands above a handler, not above the class {name}. "
            f"To let all handlers of the class accept: class {name}(AcceptMixin, {kind}):"
        )
    if not callable(handler):
        raise ImproperlyConfigured(
            f"@accepts stands above {handler!r}, which cannot be called. Put it directly above the function, below "
            "@action and @api_view."
        )
    if iscoroutinefunction(handler):
        raise ImproperlyConfigured(
            f"REST framework calls no coroutine; the handler must be: def {name}(...):"
        )


def _request_of(handler: Callable[..., Any], args: tuple[Any, ...]) -> Request:
    """Return REST framework's request among the arguments of *handler*.

    Raises:
        ImproperlyConfigured: there is none, because Django has called the handler. This cannot be known at import.
    """
    found = next((arg for arg in args if isinstance(arg, Request)), None)
    if found is None:
        raise ImproperlyConfigured(no_request(handler))
    return found


def no_request(handler: Callable[..., Any]) -> str:
    """Return what to tell of a decorated *handler* that only Django calls, with the line that mends it."""
    name, outer = handler.__name__, handler.__qualname__.rpartition(".")[0].rpartition("<locals>.")[2]
    line = (
        f"class {outer}(APIView):"
        if outer and "<locals>" not in outer
        else f'@api_view(["POST"])  # above @accepts, above def {name}(...)'
    )
    place = f"{handler.__module__}.{name}"
    return f"@accepts on {place} needs a view of REST framework's, and this is one of Django's: {line}"


def _named(view: Any, handler: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return *options*, with the operation of a function view: ``@api_view`` names its class after the function."""
    if type(view).__name__ != handler.__name__:
        return options
    return {"operation": handler.__name__, **options}


def _whole(
    view: type[APIView], decorate: Callable[[Any], Any], options: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return *view*, the class that ``@api_view`` made, as one that accepts in all handlers."""
    handlers = {name: decorate(getattr(view, name)) for name in map(str.lower, VERBS) if hasattr(view, name)}
    members = {"__module__": view.__module__, "__doc__": view.__doc__, "accept_operation": view.__name__}
    # As an attribute of the class, a function would become a method; the handlers have it, too.
    members |= {f"accept_{name}": value for name, value in options.items() if not callable(value)}
    whole: Any = type(view.__name__, (AcceptingView, view), members | handlers)
    return cast(Callable[..., Any], whole.as_view())
