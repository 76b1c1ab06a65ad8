"""The input of a drill."""

from django.db import models
from rest_framework import serializers

__all__ = ["DrillSerializer", "Mode"]


class Mode(models.TextChoices):
    """What a drill does after its working time."""

    OK = "ok", "succeeds"
    RAISE = "raise", "raises an exception whose message holds a secret"
    EXIT = "exit", "kills its process"
    UNPICKLABLE = "unpicklable", "raises an exception that cannot be pickled"
    UNSERIALIZABLE = "unserializable", "returns something that is not JSON"
    NAN = "nan", "returns a number that JSON does not have"
    NUL = "nul", "returns a text that PostgreSQL cannot store"
    BIG = "big", "returns several megabytes"
    RETRY = "retry", "asks for a retry twice, then succeeds"


class DrillSerializer(serializers.Serializer):
    """`key` names the effects, `ms` is the working time, `mode` what happens then."""

    key = serializers.RegexField(r"\A[\x21-\x7e]+\Z", min_length=1, max_length=200)
    ms = serializers.IntegerField(min_value=0, max_value=600_000, default=0)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.OK)
