"""The endpoints of jobs, with operation ids that do not depend on where they are mounted."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import camelize_operation
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiParameter

from ...conf import conf
from ...http.filters import FILTERS
from ...states import State
from . import parts
from .accepting import Guess
from .ours import Ours
from .shared import Part, component, shared

__all__ = ["Jobs"]

DESCRIPTIONS = {
    "list": "Your jobs, newest first.",
    "retrieve": (
        "The status monitor: where the job stands. It is always 200, also if the job has failed: then `error` is a "
        "problem. With `Accept: text/event-stream` it is a stream, as events; with `text/html` it is a page."
    ),
    "result": (
        "202 with the status document while the job is active. Then the result, which is what the request would have "
        "been answered at once: its status, its body and its media type, whatever `Accept` says."
    ),
    "events": (
        "The status document whenever it changes, as server-sent events, until the job ends. 406 if the server cannot "
        "hold streams; 204 if the client has seen the end."
    ),
    "cancel": "Ask the job to stop: 202 while it is active, however often; 200 once it is canceled.",
    "rerun": "Accept a new job with the input of one that has ended.",
    "destroy": "Forget the job: from now on it is 404. An active one is asked to stop (202).",
}
#: The names of the links that lead to an action.
LINKS = {
    "retrieve": ("status", "Where the job stands."),
    "result": ("result", "The result, once there is one."),
    "cancel": ("cancel", "Ask the job to stop."),
    "events": ("events", "The changes of the job as server-sent events."),
}
#: The schemas of the filters.
MOMENT = {"type": "string", "format": "date-time"}
FILTER_SCHEMAS: dict[str, Part] = {
    "status": {"type": "array", "items": {"type": "string", "enum": list(State.values)}},
    "operation": {"type": "string"},
    "created_after": MOMENT,
    "created_before": MOMENT,
}


IF_NONE_MATCH = parts.header_parameter("If-None-Match", "304 if this is still the current entity tag.")


def _wait() -> list[OpenApiParameter]:
    most = int(conf.MAX_WAIT_SECONDS)
    if not most:
        return []
    text = f"For how many seconds to wait; more than {most} count as {most}. `Prefer: wait=N` means the same."
    schema = {"type": "integer", "minimum": 0}
    return [OpenApiParameter("wait", schema, description=text), parts.prefer(["wait=N (seconds)"])]


class Jobs(Ours):
    """The schema of ``JobViewSet``; below whatever the project says of its subclass."""

    descriptions = DESCRIPTIONS

    # --- What drf-spectacular asks for -----------------------------------------------------------------------------

    def get_operation_id(self) -> str:
        """Return a fixed id, which links and clients can rely on; of a second mount, drf-spectacular's own."""
        fixed = f"accepted_jobs_{self.action}"
        is_first = self.action in DESCRIPTIONS and shared(self.registry).claim(fixed, self.path)
        return fixed if is_first else super().get_operation_id()

    def get_operation(self, *args: Any) -> Any:
        operation = super().get_operation(*args)
        if operation and self.action in LINKS:
            name, description = LINKS[self.action]
            link = {
                "operationId": _final_id(operation["operationId"]),
                "parameters": {parts.id_name(): "$response.body#/id"},
                "description": description,
            }
            shared(self.registry).links.setdefault(name, link)
        return operation

    def get_request_serializer(self) -> Any:
        return None

    def get_response_serializers(self) -> Any:
        return super().get_response_serializers() if self.action == "list" else Guess()

    def get_auth(self) -> list[Any]:
        found = super().get_auth()
        # A job may be everybody's who has its URL, but a list is always somebody's.
        is_somebodys = self.action == "list" and bool(self.view.get_authenticators())
        return [each for each in found if each or not is_somebodys]

    def get_override_parameters(self) -> list[Any]:
        found = {
            "retrieve": [*_wait(), IF_NONE_MATCH],
            "result": _wait(),
            "events": [
                parts.header_parameter("Last-Event-ID", "The last event that the client has seen."),
                OpenApiParameter(
                    "last_event_id", str, description="The same, for clients that send no headers."
                ),
            ],
            "cancel": [parts.IF_MATCH],
            "rerun": [parts.IF_MATCH, *self._of_accepting()],
            "destroy": [parts.IF_MATCH],
        }
        return [*found.get(self.action, []), *super().get_override_parameters()]

    def _of_accepting(self) -> list[OpenApiParameter]:
        wait = ["wait=N (seconds)"] if conf.MAX_WAIT_SECONDS else []
        key = [] if conf.IDEMPOTENCY == "ignored" else [parts.idempotency_key("optional")]
        return [parts.prefer([*wait, "return=minimal"]), *key]

    def _get_filter_parameters(self) -> list[Part]:
        found: list[Part] = super()._get_filter_parameters()
        for parameter in found:
            if parameter["name"] in FILTERS:
                parameter["schema"] = FILTER_SCHEMAS[parameter["name"]]
            if parameter["name"] == "status":
                parameter |= {
                    "style": "form",
                    "explode": False,
                    "description": "One or several, with commas.",
                }
        return found

    # --- Responses -------------------------------------------------------------------------------------------------

    def _get_response_bodies(self, direction: Any = "response") -> Part:
        theirs = super()._get_response_bodies(direction)
        make: Callable[[Jobs], Part] | None = RESPONSES.get(self.action)
        if make is None:  # an action of a subclass
            return theirs
        problems = self._common_problems(finds=self.action != "list")
        responses = {**problems, **make(self), **theirs}
        responses = dict(sorted(responses.items()))
        if self.action in ("result", "rerun"):
            shared(self.registry).tell_results(responses)
        return responses


def _final_id(operation_id: str) -> str:
    """Return *operation_id* as the generator will write it (``CAMELIZE_NAMES``)."""
    operation = {"operationId": operation_id}
    if spectacular_settings.CAMELIZE_NAMES:
        camelize_operation("", operation)
    return operation["operationId"]


def _retrieve(auto: AutoSchema) -> Part:
    unchanged = {"description": "Nothing has changed.", "headers": {"ETag": parts.MONITOR_HEADERS["ETag"]}}
    return {"200": parts.document(auto, "The status document.", parts.MONITOR_HEADERS), "304": unchanged}


def _ended(auto: AutoSchema) -> Part:
    """Return the failures of a job as the result URL answers them: as the view itself answers, or as a problem.

    Both media types and all statuses have one component: orval cannot declare two types for a status, nor one for 4XX.
    """
    failures = parts.problems(auto, [400, 403, 404, 409, 412, 422])
    for failure in failures.values():
        failure["description"] = "The job has failed with this status."
        failure["headers"] = dict(parts.RESULT_HEADERS)
        ((problem_type, problem),) = failure["content"].items()
        either = {"anyOf": [problem["schema"], {"description": "What the view itself has answered."}]}
        schema = component(auto.registry, "AcceptedJobFailure", either)
        failure |= parts.content(schema, ["application/json", problem_type])
    failures["4XX"] = dict(failures["400"])
    failures["404"]["description"] = "There is no such job, or it has failed with this status."
    failures["409"]["description"] = "The job has failed, or was canceled."
    return failures


def _result(auto: AutoSchema) -> Part:
    gone = parts.problems(auto, [410])
    return {"202": parts.accepted(auto), **_ended(auto), **gone}


def _events(auto: AutoSchema) -> Part:
    stream = {
        "description": "Events, each with the status document.",
        **parts.content({"type": "string"}, ["text/event-stream"]),
    }
    seen = {"description": "The client has seen the end."}
    return {"200": stream, "204": seen, **parts.problems(auto, [410])}


def _cancel(auto: AutoSchema) -> Part:
    location = {"Location": parts.ACCEPTED_HEADERS["Location"]}
    return {
        "200": parts.document(auto, "The job is canceled.", parts.MONITOR_HEADERS),
        "202": {
            **parts.document(auto, "The job is asked to stop.", {**parts.MONITOR_HEADERS, **location}),
            "links": shared(auto.registry).links,
        },
        **parts.problems(auto, [409, 412]),
    }


def _rerun(auto: AutoSchema) -> Part:
    codes = [400, 409, 410, 412, 413, *([422] if conf.IDEMPOTENCY != "ignored" else [])]
    return {"202": parts.accepted(auto), **parts.problems(auto, codes)}


def _destroy(auto: AutoSchema) -> Part:
    return {
        "202": parts.document(auto, "The job was active: it is asked to stop.", {}),
        "204": {"description": "The job had ended."},
        **parts.problems(auto, [412]),
    }


#: What each action answers, beside the problems of all.
RESPONSES: dict[str, Callable[[Jobs], Part]] = {
    "list": lambda auto: parts.problems(auto, [400]),
    "retrieve": _retrieve,
    "result": _result,
    "events": _events,
    "cancel": _cancel,
    "rerun": _rerun,
    "destroy": _destroy,
}
