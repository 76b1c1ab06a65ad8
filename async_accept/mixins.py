"""Accepting in views: validate now, answer 202, and let a worker run the view's own logic, or a task.

Mix one of these before REST framework's class. Everything that the view does before its handler stays in force in the
request: authentication, permissions, throttles, parsers, versioning. The steps of accepting are methods of
``Accepting``, each of them one place to override.
"""

from collections.abc import Callable
from functools import partial, wraps
from types import MethodType
from typing import Any

from rest_framework.request import Request

from .http.accept import Accepting
from .http.generic import VERBS

__all__ = [
    "AcceptCreateMixin",
    "AcceptDestroyMixin",
    "AcceptMixin",
    "AcceptModelMixin",
    "AcceptUpdateMixin",
]


class AcceptMixin(Accepting):
    """For an ``APIView``: its POST, PUT, PATCH and DELETE handlers run in the worker, or ``accept_task`` does.

    With ``accept_task`` and no handler at all, the view takes POST.
    """

    _handlers: tuple[str, ...] = tuple(method.lower() for method in VERBS)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.accept_task is not None and not any(hasattr(cls, method.lower()) for method in VERBS):
            cls.post = cls._accept_handler  # type: ignore[attr-defined]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        name = str(request.method).lower()
        handler = getattr(self, name, None)
        # What @accepts made of a handler accepts on terms of its own.
        if request.method in VERBS and handler is not None and not hasattr(handler, "accept_options"):
            # REST framework takes the handler from the instance, right after this.
            setattr(self, name, partial(self._accept_handler, work=handler))

    def _accept_handler(self, request: Request, *args: Any, work: Any = None, **kwargs: Any) -> Any:
        def prepare() -> tuple[Any, Any]:
            instance = self.get_accept_object()
            return self.validate(request, instance), instance

        return self.decide(request, prepare, work and partial(work, request, *args, **kwargs))


class _AcceptVerbs(Accepting):
    """Base of the mixins for the generic verbs: whoever wrote the handler, it runs in the worker.

    The handler that a class ends up with, its own or inherited, is wrapped when the class is made. So the mixins bring
    no handlers themselves, and what a handler calls by ``super()`` is part of its work.
    """

    _handlers: tuple[str, ...] = ()
    #: Set while a handler answers here: those that it calls accept nothing.
    _answering = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        mixed_in = {name for base in cls.__mro__ for name in vars(base).get("_handlers", ())}
        for name in mixed_in.intersection(VERBS.values()):
            handler = getattr(cls, name, None)
            # What @accepts made of a handler accepts on terms of its own.
            if handler is not None and not hasattr(handler, "accept_options"):
                setattr(cls, name, _accepting(cls, name, handler))

    def _accept_or(self, answer: Callable[[], Any], request: Request, verb: str, *, partial: bool) -> Any:
        """Accept the request, unless it is answered at once, or *answer* is a part of the work already."""
        if self._answering:
            return answer()

        def check() -> None:
            if verb != "create":
                self.check_if_match(request)

        def answer_now() -> Any:
            check()
            self._answering = True
            try:
                return answer()
            finally:
                self._answering = False

        def prepare() -> tuple[Any, Any]:
            check()
            instance = None if verb == "create" else self.get_accept_object()
            validated = None if verb == "destroy" else self.validate(request, instance, partial=partial)
            return validated, instance

        return self.decide(request, prepare, answer_now)


def _accepting(cls: type, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return *handler*, which *cls* has under *name*, in the form that accepts."""
    is_own = name in vars(cls)

    @wraps(handler)
    def accepting(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        # An inherited one is looked up anew: a subclass may have put another class in between.
        work = MethodType(handler, self) if is_own else getattr(super(cls, self), name)
        partial = name == "partial_update" or bool(kwargs.get("partial"))
        return self._accept_or(lambda: work(request, *args, **kwargs), request, name, partial=partial)

    accepting.accept_options = {}  # type: ignore[attr-defined] # accepts, on the view's terms
    return accepting


class AcceptCreateMixin(_AcceptVerbs):
    """``create()`` runs in the worker: now 202, and there the very same 201 later."""

    _handlers: tuple[str, ...] = ("create",)


class AcceptUpdateMixin(_AcceptVerbs):
    """``update()`` and ``partial_update()`` run in the worker."""

    _handlers: tuple[str, ...] = ("update", "partial_update")


class AcceptDestroyMixin(_AcceptVerbs):
    """``destroy()`` runs in the worker."""

    _handlers: tuple[str, ...] = ("destroy",)


class AcceptModelMixin(AcceptCreateMixin, AcceptUpdateMixin, AcceptDestroyMixin):
    """Everything that changes a model runs in the worker."""
