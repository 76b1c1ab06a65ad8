"""System checks: they find a mistake of the set-up before the first request, and the hint names the line to change.

The ids are stable. An error means that a 202 could not be kept, a warning that it costs more or lasts shorter than it
should. A note says what is better in production; only ``manage.py check --deploy`` tells it. Only ``manage.py
async_accept doctor`` asks servers.
"""

from .authentication import check_authentication
from .celery import check_celery, check_reconnects
from .cors import check_cors
from .databases import check_atomic_requests, check_databases, check_isolation_of_server
from .messages import TAG
from .receivers import check_receivers
from .settings import check_settings
from .urls import check_urls
from .views import check_views

__all__ = [
    "TAG",
    "check_atomic_requests",
    "check_authentication",
    "check_celery",
    "check_cors",
    "check_databases",
    "check_isolation_of_server",
    "check_receivers",
    "check_reconnects",
    "check_settings",
    "check_urls",
    "check_views",
]
