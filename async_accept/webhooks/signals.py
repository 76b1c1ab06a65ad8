"""Signals of webhooks. They are sent after the change is committed; an exception of a receiver is logged."""

from django.dispatch import Signal

__all__ = ["endpoint_disabled"]

#: An endpoint was disabled because its deliveries fail. Gets ``sender`` (the ``Endpoint`` class) and ``endpoint``. Tell
#: its owner in another way here, by mail for instance.
endpoint_disabled = Signal()
