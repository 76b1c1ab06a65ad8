"""What Prometheus reads: what was counted, here or by all who share a directory, and what is in the table."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ...jobs.duties import Once
from .directory import directory, logger
from .names import OTHER, first
from .table import JobsCollector

__all__ = ["Everything", "exposed"]

OURS = "async_accept_"
_said = Once()


class Everything(Collector):
    """All metrics of this process, or of all processes that share its directory.

    Args:
        table: also ask the database what is now. One scrape target is enough for that.
    """

    def __init__(self, *, table: bool) -> None:
        self.table = table

    def collect(self) -> Iterator[Metric]:
        counted = _counted()
        operations = first(_operations(counted))
        yield from (_bounded(metric, operations) for metric in counted)
        if self.table:
            yield from JobsCollector(operations).collect()


def exposed(accept: str, *, table: bool) -> tuple[bytes, str]:
    """Return a body and its content type, in the format that the header *accept* asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(Everything(table=table)), content_type


def _counted() -> list[Metric]:
    files = directory()
    if files is None:
        return list(REGISTRY.collect())
    try:
        return files.collect()
    except OSError as error:
        if _said.is_new("read", error):
            logger.warning("PROMETHEUS_MULTIPROC_DIR cannot be read: %s", type(error).__name__)
        return []


def _operations(metrics: Iterable[Metric]) -> set[str]:
    """Return the operations that have been counted."""
    samples = (sample for metric in metrics if metric.name.startswith(OURS) for sample in metric.samples)
    return {sample.labels["operation"] for sample in samples if "operation" in sample.labels}


def _bounded(metric: Metric, operations: set[str]) -> Metric:
    """Add up the samples of all but these operations: each process has named the first ones that it met."""
    if not metric.name.startswith(OURS) or _operations([metric]) <= operations:
        return metric
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for sample in metric.samples:
        labels = dict(sample.labels)
        if labels.get("operation") not in operations:
            labels["operation"] = OTHER
        sums[sample.name, tuple(labels.items())] += sample.value
    metric.samples = [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
    return metric
