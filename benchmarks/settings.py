"""The settings that both projects share. They differ by what is compared, and by nothing else.

They are those that ``startproject`` makes, with REST framework, tokens, and Celery. ``DATABASE_URL`` names a server;
each project has a database of its own there, and a queue of the same name.
"""

import os
from typing import Any

from example_project import environment as env

from . import brokers

SECRET_KEY = "django-insecure-for-benchmarks-only"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "django_celery_results",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
STATIC_URL = "/static/"
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = brokers.url()
if CELERY_BROKER_URL.startswith("amqp"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_TRACK_STARTED = True
# How many tasks use one connection of a worker; 0, Celery's default, opens a new one for each.
CELERY_DB_REUSE_MAX = int(env.number("CELERY_DB_REUSE_MAX", 0))


def database(project: str) -> dict[str, Any]:
    """Return the database of *project*: the name in ``DATABASE_URL``, followed by the project's."""
    entry = env.database(env.text("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/bench"))
    suffix = os.environ.get("BENCH_SUFFIX", project)
    # A health check would be one more statement for each request, of both.
    return {**entry, "NAME": f"{entry['NAME']}_{suffix}", "CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": False}
