from django.db import transaction

from .models import Outbox
from .tasks import process


def relay() -> None:
    """Send what waits in the outbox, one row in each transaction, as an outbox is written by hand."""
    while True:
        with transaction.atomic():
            entry = Outbox.objects.select_for_update(skip_locked=True).order_by("pk").first()
            if entry is None:
                return
            pk = str(entry.job_id)
            process.apply_async(args=[pk], task_id=pk)
            entry.delete()
