"""What the metrics say, as samples by their names and labels."""

from prometheus_client.parser import text_string_to_metric_families

from async_accept.contrib.prometheus import exposition
from async_accept.models import Job
from tests.testapp.tasks import add

__all__ = ["OURS", "exposed", "new", "read"]

OURS = "async_accept_"


def read(text):
    """Return the samples of an exposition."""
    return {
        (
            sample.name.removeprefix(OURS),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(OURS) and not sample.name.endswith("_created")
    }


def exposed(*, with_table=False):
    return read(exposition.exposed("", table=with_table)[0].decode())


def new(operation="orders.create"):
    return Job(operation=operation, task=add.name, input={"x": 1, "y": 2})
