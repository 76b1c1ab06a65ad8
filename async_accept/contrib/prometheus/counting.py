"""What happened, counted in memory by the process that has changed a job, after the commit.

Nothing that goes wrong here may cost a job: an error is logged once, and costs the count.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.apps import apps
from django.dispatch import Signal
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from ... import signals
from ...jobs.duties import Once
from ...jobs.transitions import was_lost
from ...models import Job
from ...states import FINAL, State
from .directory import directory
from .names import Operations

__all__ = ["Counts", "counts"]

logger = logging.getLogger(__name__)

#: In seconds: from what a client does not notice to what takes a night.
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 1800, 7200)
#: Which signal tells of which end.
ENDS: dict[Signal, State] = {
    signals.job_succeeded: State.SUCCEEDED,
    signals.job_failed: State.FAILED,
    signals.job_canceled: State.CANCELED,
}

#: Held while something is counted, and while this process forks: else a child could be born with a lock of
#: prometheus_client that nobody releases, and its job would wait for ever.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def _safely(count: Callable[..., None]) -> Callable[..., None]:
    """Make a receiver of *count*, which may fail, in a process that may fork."""

    @wraps(count)
    def receive(self: "Counts", **told: Any) -> None:
        try:
            with _lock:
                self._reserve()
                count(self, **told)
        except Exception as error:
            if self.said.is_new("count", error):
                logger.warning("Metrics are not counted: %s", type(error).__name__)
        else:
            self.said.works("count")

    return receive


class Counts:
    """The counters and histograms of one process; those of several are put together at the scrape."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.operations = Operations()
        self.said = Once()
        #: The process whose files have their whole size.
        self.reserved: int | None = None
        by_operation: dict[str, Any] = {"labelnames": ["operation"], "registry": registry}
        self.accepted = Counter("async_accept_jobs_accepted", "Jobs that were accepted.", **by_operation)
        self.ended = Counter(
            "async_accept_jobs_ended",
            "Jobs that have ended, by their final state.",
            ["operation", "state"],
            registry=registry,
        )
        self.retries = Counter("async_accept_retries", "Attempts that asked for a retry.", **by_operation)
        self.lost = Counter(
            "async_accept_attempts_lost",
            "Attempts that were lost with their worker or their database.",
            **by_operation,
        )
        self.wait = Histogram(
            "async_accept_wait_seconds",
            "From the acceptance of a job to its first attempt.",
            buckets=BUCKETS,
            **by_operation,
        )
        self.run = Histogram(
            "async_accept_run_seconds",
            "The last attempt of a job, from its beginning to the end of the job.",
            buckets=BUCKETS,
            **by_operation,
        )
        self.delivery_attempts = Counter(
            "async_accept_delivery_attempts",
            "Attempts to deliver a webhook, by their outcome.",
            ["outcome"],
            registry=registry,
        )

    def connect(self) -> None:
        """Count from now on what this process changes."""
        receivers: dict[Signal, Callable[..., None]] = {
            signals.job_accepted: self.count_accepted,
            signals.job_started: self.count_started,
            signals.job_given_back: self.count_given_back,
            **dict.fromkeys(ENDS, self.count_end),
        }
        for signal, receiver in receivers.items():
            signal.connect(receiver, sender=Job, dispatch_uid="async_accept.prometheus")
        if apps.is_installed("async_accept.webhooks"):
            from ...webhooks.signals import delivery_attempted

            delivery_attempted.connect(self.count_delivery, dispatch_uid="async_accept.prometheus")

    # --- Receivers --------------------------------------------------------------------------------------

    @_safely
    def count_accepted(self, job: Job, **kwargs: Any) -> None:
        self.accepted.labels(self._operation(job)).inc()

    @_safely
    def count_started(self, job: Job, **kwargs: Any) -> None:
        operation = self._operation(job)
        if job.attempt == 1 and job.started_at is not None:
            self.wait.labels(operation).observe(max((job.started_at - job.created_at).total_seconds(), 0))

    @_safely
    def count_given_back(self, signal: Signal, job: Job, **kwargs: Any) -> None:
        which = self.lost if was_lost(signal, job) else self.retries
        which.labels(self._operation(job)).inc()

    @_safely
    def count_end(self, signal: Signal, job: Job, before: str, **kwargs: Any) -> None:
        operation = self._operation(job)
        self.ended.labels(operation, ENDS[signal].value).inc()
        if was_lost(signal, job):
            self.lost.labels(operation).inc()
        if before != State.ACCEPTED and job.started_at is not None and job.finished_at is not None:
            self.run.labels(operation).observe(max((job.finished_at - job.started_at).total_seconds(), 0))

    @_safely
    def count_delivery(self, outcome: str, **kwargs: Any) -> None:
        self.delivery_attempts.labels(outcome).inc()

    # --- Their parts --------------------------------------------------------------------------------------

    def _reserve(self) -> None:
        if self.reserved != os.getpid():
            files = directory()
            if files is not None:
                files.reserve(os.getpid())
            self.reserved = os.getpid()

    def _operation(self, job: Job) -> str:
        """Return the label of the job's operation.

        At the first one, all its counts begin at 0: so Prometheus sees the first failure as an increase.
        """
        is_new = job.operation not in self.operations.named
        operation = self.operations.label(job.operation)
        if is_new:
            for metric in (self.accepted, self.retries, self.lost, self.wait, self.run):
                metric.labels(operation)
            for state in FINAL:
                self.ended.labels(operation, state.value)
        return operation


#: What this process has counted.
counts = Counts()
