"""Where the spans of a job belong: below the context that its row keeps.

The row keeps the creation context, as traceparent and tracestate, among the headers of the job's messages. So there is
one context for every message, every attempt and every rerun, whoever publishes or runs them, and wherever that is.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["Place", "creation_of", "headers_of", "is_instrumented"]

#: Not the project's propagators: another one may add baggage, which is anybody's data.
PROPAGATOR = TraceContextTextMapPropagator()


class Place:
    """The place of a step's span in the trace of its job.

    Args:
        options: the job's ``message_options``.
    """

    def __init__(self, options: Mapping[str, Any] | None) -> None:
        #: In which the step is done, and below which its span is.
        self.context = context.get_current()
        self.creation = creation_of(options)
        #: To the creation context, and to what asks for this step from another trace.
        self.links: list[Link] = []
        if self.creation is None:
            return
        self.links.append(Link(self.creation))
        here = trace.get_current_span().get_span_context()
        # What runs in this trace already is nearer: the request, or a span of Celery's instrumentation.
        if here.trace_id != self.creation.trace_id:
            self.context = trace.set_span_in_context(trace.NonRecordingSpan(self.creation))
            if here.is_valid:
                self.links.append(Link(here))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let this be the current context in the block, whatever somebody else leaves attached there."""
        token = context.attach(self.context)
        try:
            yield
        finally:
            context.detach(token)


def creation_of(options: Mapping[str, Any] | None) -> SpanContext | None:
    """Return the creation context of a job; None if there was no trace when it was accepted."""
    found = PROPAGATOR.extract((options or {}).get("headers") or {}, Context())
    creation = trace.get_current_span(found).get_span_context()
    return creation if creation.is_valid else None


def headers_of(span: Span) -> dict[str, str]:
    """Return traceparent and tracestate of *span*; nothing if it is not valid."""
    headers: dict[str, str] = {}
    PROPAGATOR.inject(headers, trace.set_span_in_context(span, Context()))
    return headers


def is_instrumented(package: str) -> bool:
    """Whether OpenTelemetry's own instrumentation of *package*, such as ``celery``, makes spans in this process."""
    module = sys.modules.get(f"opentelemetry.instrumentation.{package}")
    kind = getattr(module, f"{package.capitalize()}Instrumentor", None)
    return kind is not None and bool(kind().is_instrumented_by_opentelemetry)
