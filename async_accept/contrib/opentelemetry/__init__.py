"""Traces jobs by OpenTelemetry (extra ``opentelemetry``).

To switch it on, add ``async_accept.contrib.opentelemetry`` to ``INSTALLED_APPS``. It needs OpenTelemetry's API only:
which spans are kept, and where they go, is up to the SDK that the project sets up.
"""
