"""System checks: every mistake of the set-up is found before the first request, with the line that mends it.

The ids are stable. Errors keep the promise of a 202 from being kept, warnings make it dearer or shorter than it should
be, and the one note makes it faster. What needs a server to answer is asked by ``manage.py async_accept doctor``.
"""

from .celery import check_celery
from .databases import check_databases
from .messages import TAG
from .settings import check_settings
from .urls import check_urls
from .views import check_views

__all__ = ["TAG", "check_celery", "check_databases", "check_settings", "check_urls", "check_views"]
