"""The effect of a drill in the database."""

from django.db import models

__all__ = ["Effect"]


class Effect(models.Model):
    """One row for each time that the work of a drill was committed."""

    # Indexed, but not unique: an effect that happened twice is to be seen, not to be refused.
    key = models.CharField(max_length=200, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key
