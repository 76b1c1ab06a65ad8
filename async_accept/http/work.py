"""What an accepting view gives the worker: a task with its input, or the request for a replay."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.local import Proxy
from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import ValidationError

from .. import encoding
from ..conf import conf
from ..exceptions import Unencodable
from ..jobs import values
from ..jobs.arguments import check_arguments
from ..jobs.capture import capture
from ..jobs.limits import replay_limits, task_limits
from ..jobs.once import checks_of
from ..jobs.parsed import capture_data, input_of
from ..jobs.publish import message_options
from ..jobs.replay import REPLAY
from ..models import INTEGER_CEILING
from .generic import is_unchecked
from .options import AcceptOptions

if TYPE_CHECKING:
    from .accept import Acceptance

__all__ = ["work_columns"]


def work_columns(asked: "Acceptance", validated: Any) -> dict[str, Any]:
    """Return the columns that say what is to be done, with what input, and how often it may be attempted.

    Raises:
        Unencodable: the input has no strict JSON form.
        ValidationError: the task does not take what the client sent, and nothing of the project has validated it (400).
        ImproperlyConfigured: the view gives what the task does not take, or what cannot be kept.
    """
    task = asked.option("task")
    if issubclass(type(task), Proxy):
        # What @shared_task returns looks for its task each time it is asked something.
        task = task._get_current_object()
    seconds = asked.option("retry_after", getattr(task, "retry_after", None))
    shared = {
        # A whole number here already: the row is not read back for the 202.
        "retry_after": None if seconds is None else max(1, math.ceil(min(seconds, INTEGER_CEILING))),
        "message_options": _message_options(asked),
    }
    return shared | (_of_replay(asked) if task is None else _of_task(asked, task, validated))


# --- A task -------------------------------------------------------------------------------------------------------


def _of_task(asked: "Acceptance", task: Any, validated: Any) -> dict[str, Any]:
    given = asked.hook("get_accept_input")(asked.request, validated)
    _check_arguments(asked, task, given, validated)
    return {
        "task": task.name,
        "input": values.keep(given),
        # The view renders what the task answers, and decides about a rerun.
        "request": {
            **capture(asked.request, _headers(asked)),
            "input_is_data": _is_data(given, asked.request.data),
        },
        **task_limits(task),
    }


def _check_arguments(asked: "Acceptance", task: Any, given: Any, validated: Any) -> None:
    try:
        check_arguments(task, given)
    except TypeError as error:
        if is_unchecked(validated, asked.request):
            raise ValidationError(
                {"detail": [f"The input is not complete, or has too much: {error}."]}
            ) from None
        raise ImproperlyConfigured(
            f"{task.name} cannot be called with what {type(asked.view).__name__} gives it: {error}. "
            "See its serializer, or get_accept_input()."
        ) from error


def _is_data(given: Any, data: Any) -> bool:
    """Whether *given*, a task's input, still has all that the client sent, so that it could be sent again."""
    if not isinstance(data, Mapping) or not isinstance(given, Mapping):
        return False
    return all(name in given and str(given[name]) == str(value) for name, value in data.items())


# --- A replay -----------------------------------------------------------------------------------------------------


def _of_replay(asked: "Acceptance") -> dict[str, Any]:
    atomic = asked.option("atomic")
    return {
        "task": REPLAY,
        "input": _input(asked),
        "request": {
            **capture(asked.request, _headers(asked), _context(asked)),
            "checks": checks_of(asked.request._request).keep(),
            "atomic": atomic,
        },
        **replay_limits(asked.option("retry_when_lost", atomic)),
    }


def _input(asked: "Acceptance") -> dict[str, Any]:
    """Return what the client sent. What a ``validate_accept()`` of the view's own has changed is changed there, too."""
    request = asked.request
    default = AcceptOptions.validate_accept
    if getattr(type(asked.view), "validate_accept", default) is default:
        return input_of(request)  # the worker runs whatever else changes it
    return capture_data(request.data, request.FILES)


def _context(asked: "Acceptance") -> Any:
    """Return what the view keeps of its request for the worker."""
    pair = asked.option("context")
    keep = pair[0] if pair else asked.hook("get_accept_context")
    try:
        kept = values.keep(keep(asked.request))
        encoding.dumps(kept)
    except (ImproperlyConfigured, Unencodable) as error:
        name = getattr(keep, "__qualname__", keep)
        raise ImproperlyConfigured(
            f"What {name}() returned for {asked.operation} cannot be kept. {error}"
        ) from error
    return kept


# --- Both ---------------------------------------------------------------------------------------------------------


def _headers(asked: "Acceptance") -> list[str]:
    """Return the names of the headers that are kept beside the usual ones."""
    own = asked.option("headers", ())
    return [*conf.KEEP_HEADERS, *([own] if isinstance(own, str) else own)]


def _message_options(asked: "Acceptance") -> dict[str, Any] | None:
    """Return how the messages of the job are sent, as far as the view says so."""
    names = ("queue", "priority", "time_limit", "soft_time_limit")
    given = {name: value for name in names if (value := asked.option(name)) is not None}
    if not given:
        return None
    try:
        return message_options(**given)
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"{type(asked.view).__name__}.accept_{error}") from None
