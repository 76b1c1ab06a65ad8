"""The shop as it is fuzzed: quick, and open to the many changes of one caller."""

from example_project.settings import *  # noqa: F403

# A throttle counts in the cache. Without one, a caller may change webhooks more often than 60 times a minute.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
