"""Traces of the shop, if TRACES_FILE is set: each process appends its spans to that file, one JSON document a line.

A real project sends them to a collector, by `BatchSpanProcessor(OTLPSpanExporter())`.
"""

import json
import os
from typing import Any

from celery import signals
from django.conf import settings

__all__ = ["trace_requests", "trace_worker"]


def trace_requests() -> None:
    """Trace the requests of this process, and what it accepts; called before its handler is made."""
    if settings.TRACES_FILE:
        from opentelemetry.instrumentation.django import DjangoInstrumentor

        _set_up("shop-web")
        DjangoInstrumentor().instrument()


# Not when this module is imported: that is before the worker forks its pool.
@signals.worker_process_init.connect  # each process of the pool, which runs jobs
@signals.worker_ready.connect  # the main process, whose relay publishes jobs again
def trace_worker(**kwargs: object) -> None:
    """Trace what this process of a worker does."""
    if getattr(settings, "TRACES_FILE", ""):  # the benchmarks import this package, with settings of their own
        _set_up("shop-worker")


def _set_up(service: str) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # a process of the pool that replaces a lost one has a copy of the main process's provider
    out = open(settings.TRACES_FILE, "a", encoding="utf-8")  # noqa: SIM115 open as long as the process
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = ConsoleSpanExporter(out=out, formatter=_line)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _line(span: Any) -> str:
    return json.dumps({**json.loads(span.to_json()), "pid": os.getpid()}) + "\n"
