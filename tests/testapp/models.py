"""What the views and tasks of the tests create."""

from django.conf import settings
from django.db import models


class Shelf(models.Model):
    """The parent of notes, for nested URLs."""

    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Note(models.Model):
    """A small resource with what makes a replay difficult: an owner, a unique field, a decimal, a parent."""

    shelf = models.ForeignKey(Shelf, null=True, blank=True, on_delete=models.CASCADE, related_name="notes")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.slug
