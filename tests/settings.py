"""Settings of the tests.

Alone they need no server: SQLite and an in-memory broker. ``DATABASE_URL`` and ``CELERY_BROKER_URL`` name
servers instead. The database in ``DATABASE_URL`` need not exist: Django creates ``test_<name>`` and drops it,
so two runs on one server only need two names.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import dj_database_url

# Shared through the environment by a test run and the processes that it starts: they see one database.
if "ASYNC_ACCEPT_TEST_DIR" not in os.environ:
    os.environ["ASYNC_ACCEPT_TEST_DIR"] = tempfile.mkdtemp(prefix="async-accept-tests-")
    atexit.register(shutil.rmtree, os.environ["ASYNC_ACCEPT_TEST_DIR"], ignore_errors=True)
TEST_DIR = Path(os.environ["ASYNC_ACCEPT_TEST_DIR"])

SECRET_KEY = "only-for-tests-and-long-enough-to-satisfy-every-check"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "/static/"
MEDIA_ROOT = TEST_DIR / "media"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "rest_framework",
    "rest_framework.authtoken",
    "django_celery_results",
    "async_accept",
    "async_accept.webhooks",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "async_accept.contrib.prometheus",
    "example_project.shop",
    "example_project.inbox",
    "example_project.drills",
    "tests.testapp",
]

# The processes that write their spans to this file.
TRACES_FILE = os.environ.get("TRACES_FILE", "")
if TRACES_FILE:
    INSTALLED_APPS.append("async_accept.contrib.opentelemetry")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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

DATABASE = dj_database_url.parse(os.environ.get("DATABASE_URL", f"sqlite:///{TEST_DIR}/db.sqlite3"))
DATABASE["CONN_MAX_AGE"] = None
DATABASES = {"default": DATABASE}

if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory: worker threads and processes write while the test's own thread reads.
    DATABASE["TEST"] = {"NAME": str(TEST_DIR / "test_db.sqlite3")}
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

if DATABASE["ENGINE"] == "django.db.backends.postgresql":
    # A test database need not outlive a power cut: no commit waits for the disk.
    DATABASE["OPTIONS"] = {"options": "-c synchronous_commit=off"}

if DATABASE["ENGINE"] == "django.db.backends.mysql":
    # A driver in pure Python: nothing to compile, and Django's checks accept the version it reports.
    import pymysql

    pymysql.install_as_MySQLdb()

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
# The test views say less than a project's: drf-spectacular warns of that at `check --deploy`.
SPECTACULAR_SETTINGS = {"ENABLE_DJANGO_DEPLOY_CHECK": False}

# Two secrets of one receiver, as while one is replaced by the next.
HOOK_SECRETS = ["the old secret of the hooks", "the new secret of the hooks"]

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "memory://")
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
# The tasks for real workers have queues of this run's own, because others may use the same broker.
INTEGRATION_QUEUE = f"integration-{TEST_DIR.name}"
CELERY_TASK_ROUTES = {
    "tests.integration.tasks.refused": f"{INTEGRATION_QUEUE}-refused",
    "tests.integration.tasks.*": INTEGRATION_QUEUE,
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# The drills of the example project read this when they are imported.
DRILLS_VERSION = 1
