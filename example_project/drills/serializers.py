"""The input of a drill."""

from typing import Any

from django.conf import settings
from django.db import models
from rest_framework import serializers

__all__ = ["DrillSerializer", "Mode", "UploadSerializer"]


class Mode(models.TextChoices):
    """What a drill does after its working time."""

    OK = "ok", "succeeds"
    RAISE = "raise", "raises an exception whose message holds a secret"
    REFUSE = "refuse", "fails with a 422 of its own"
    EXIT = "exit", "kills its process"
    UNPICKLABLE = "unpicklable", "raises an exception that cannot be pickled"
    UNSERIALIZABLE = "unserializable", "returns something that is not JSON"
    NAN = "nan", "returns a number that JSON does not have"
    NUL = "nul", "returns a text that PostgreSQL cannot store"
    BIG = "big", "returns several megabytes"
    RETRY = "retry", "asks for a retry twice, then succeeds (tasks only)"


class DrillSerializer(serializers.Serializer):
    """`key` names the effects, `ms` is the working time, `mode` what happens then."""

    key = serializers.RegexField(r"\A[\x21-\x7e]+\Z", min_length=1, max_length=200)
    ms = serializers.IntegerField(min_value=0, max_value=600_000, default=0)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.OK)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Add what version 2 of the drills stores with each job, see `DRILLS_VERSION`."""
        return attrs if settings.DRILLS_VERSION < 2 else {**attrs, "asked_by": settings.DRILLS_VERSION}


class UploadSerializer(DrillSerializer):
    """A drill with a file."""

    file = serializers.FileField(allow_empty_file=True)
