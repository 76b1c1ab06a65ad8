from django.db import models


class Entry(models.Model):
    reference = models.CharField(max_length=50)
    text = models.CharField(max_length=100)
    cents = models.IntegerField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.reference}: {self.text}"
