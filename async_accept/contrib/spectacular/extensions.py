"""The extensions by which drf-spectacular finds our views and serializers.

Only one extension replaces a view. Ours comes first, and lets the project's own replace the view before: so a project
can say more of a view that accepts.
"""

from abc import ABC
from inspect import getmembers_static, isfunction
from typing import Any, ClassVar

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_class
from rest_framework.views import APIView

from ...http.endpoint import JobEndpoint
from ...jobs.replay import decorated
from ...mixins import AcceptingView
from . import parts
from .accepting import Accepting
from .jobs import Jobs

__all__ = ["Replacing"]


class OnTop:
    """The attribute ``schema`` of a replaced view: whatever is set gets our class above drf-spectacular's.

    A data descriptor, because the generator sets the schema of ``@extend_schema`` on the view.

    Args:
        base: an ``AutoSchema`` of ours.
        view: the view's class, which has its own schema.
    """

    def __init__(self, base: type[AutoSchema], view: Any) -> None:
        self.base = base
        self.view = view

    def __get__(self, view: Any, owner: Any = None) -> Any:
        if view is None:
            return self.view.schema
        if "schema" not in vars(view):
            self.__set__(view, self.view.schema)
        return vars(view)["schema"]

    def __set__(self, view: Any, schema: Any) -> None:
        kind = get_class(schema)
        if schema is not None and issubclass(kind, AutoSchema):
            # The project's own classes come first, ours next, and drf-spectacular's last.
            bases = (self.base,) if issubclass(self.base, kind) else (kind, self.base)
            schema = type(self.base.__name__, bases, {})()
            schema.view = view
        vars(view)["schema"] = schema


class Replacing(OpenApiViewExtension, ABC):
    """Base of our extensions."""

    priority = 1_000_000
    match_subclasses = True
    #: The class that describes the view.
    schema_class: ClassVar[type[AutoSchema]]

    def view_replacement(self) -> Any:
        view = self._replaced_by_others()
        members = {"__module__": view.__module__, "__qualname__": view.__qualname__}
        return type(view.__name__, (view,), {**members, "schema": OnTop(self.schema_class, view)})

    def _replaced_by_others(self) -> Any:
        others = sorted(OpenApiViewExtension._registry, key=lambda each: each.priority, reverse=True)
        for each in others:
            if not issubclass(each, Replacing) and each._matches(self.target_callback.cls):
                return each(self.target_callback).view_replacement()
        return self.target


class AcceptingExtension(Replacing):
    """Views with a mixin, and views with a decorated handler."""

    schema_class = Accepting

    @classmethod
    def _matches(cls, target: Any) -> bool:
        if not (isinstance(target, type) and issubclass(target, APIView)):
            return False
        if issubclass(target, AcceptingView):
            return True
        return any(decorated(each) is not None for _, each in getmembers_static(target, isfunction))


class JobsExtension(Replacing):
    """The endpoints of jobs."""

    target_class = JobEndpoint
    schema_class = Jobs


class _Named(OpenApiSerializerExtension):
    """Gives a component a name that no component of a project has."""

    name = ""

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        return self.name


class JobExtension(_Named):
    """The status document."""

    target_class = "async_accept.http.monitor.JobSerializer"
    name = "AcceptedJob"

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = super().map_serializer(auto_schema, direction)
        schema["properties"]["status"] = parts.status(auto_schema)
        return schema


class JobNoticeDataExtension(JobExtension):
    """The status document in a notice."""

    target_class = "async_accept.contrib.spectacular.notices.JobNoticeDataSerializer"
    name = "AcceptedJobNoticeData"


class ProgressExtension(_Named):
    """The progress in it."""

    target_class = "async_accept.http.monitor.ProgressSerializer"
    name = "AcceptedJobProgress"


class ProblemExtension(_Named):
    """A problem document."""

    target_class = "async_accept.http.monitor.ProblemSerializer"
    name = "AcceptedJobProblem"

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = super().map_serializer(auto_schema, direction)
        schema["properties"] |= {
            "errors": {"description": "The errors by field, or whatever the view has answered."},
            "reference": {"type": "string", "description": "By this the error is found in the log."},
            "original_status": {
                "type": "integer",
                "description": "The status of the view, if clients would repeat it.",
            },
        }
        return schema
