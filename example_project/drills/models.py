"""What a drill does in the database."""

from django.db import models

__all__ = ["Effect"]


class Effect(models.Model):
    """One row for each commit of a drill's work."""

    # Not unique: a test must be able to see that an effect was committed twice.
    key = models.CharField(max_length=200, db_index=True)
    #: The job that did it: a rerun has the same key.
    job = models.UUIDField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key
