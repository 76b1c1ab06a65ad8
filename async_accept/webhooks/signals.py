"""Signals of webhooks. They are sent after the change is committed; an exception of a receiver is logged."""

from django.dispatch import Signal

__all__ = ["delivery_attempted", "endpoint_disabled"]

#: An attempt to deliver a notice has ended. Gets ``sender`` (the ``Delivery`` class), ``delivery`` and ``outcome``: 2xx
#: to 5xx, timeout, unreachable, blocked or error.
delivery_attempted = Signal()

#: An endpoint was disabled because its deliveries fail. Gets ``sender`` (the ``Endpoint`` class) and ``endpoint``. Tell
#: its owner in another way here, by mail for instance.
endpoint_disabled = Signal()
