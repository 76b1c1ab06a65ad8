"""The columns of the job list."""

from django.contrib import admin
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Job
from .cells import NOTHING, elapsed, moment, object_link, soft, state_cell
from .live import live
from .pages import SiteMixin

__all__ = ["ColumnsMixin"]


class ColumnsMixin(SiteMixin):
    """The columns that ``list_display`` and ``more_columns`` name."""

    @admin.display(description=_("state"))
    def state_column(self, job: Job) -> SafeString:
        return live(job, "state", state_cell(job))

    @admin.display(description=_("operation"))
    def operation_column(self, job: Job) -> SafeString:
        return soft(job.operation)

    @admin.display(description=_("owner"))
    def owner_column(self, job: Job) -> str:
        if job.owner is not None:
            return soft(job.owner)
        return gettext("anonymous") if job.anonymous else NOTHING

    @admin.display(description=_("object"))
    def object_column(self, job: Job) -> SafeString:
        return object_link(job, self.admin_site, getattr(job, "viewed_in", None))

    @admin.display(description=_("created"), ordering="created_at")
    def created_column(self, job: Job) -> SafeString:
        return live(job, "created", moment(job.created_at))

    @admin.display(description=_("duration"))
    def duration_column(self, job: Job) -> SafeString:
        return live(job, "duration", elapsed(job))

    @admin.display(description=_("attempts"))
    def attempts_column(self, job: Job) -> SafeString:
        return live(job, "attempt", formats.number_format(job.attempt))

    @admin.display(description=_("worker"))
    def worker_column(self, job: Job) -> str:
        return soft(job.worker or NOTHING)

    @admin.display(description=_("queue"))
    def queue_column(self, job: Job) -> str:
        return soft(job.queue or NOTHING)
