"""Settings of the company's project. Databases and broker are those of the test run, under names of their own."""

from typing import Any

from tests import settings as usual

SECRET_KEY = usual.SECRET_KEY
DEBUG = False
ALLOWED_HOSTS = ["shop.example", "testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.foreign.urls"
AUTH_USER_MODEL = "company.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "tests.foreign.company.permissions.GrantBackend",
]
PASSWORD_HASHERS = usual.PASSWORD_HASHERS
DEFAULT_AUTO_FIELD = usual.DEFAULT_AUTO_FIELD
TEMPLATES = usual.TEMPLATES
STATIC_URL = usual.STATIC_URL
MEDIA_ROOT = usual.TEST_DIR / "foreign-media"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "tests.foreign.company",
    "tests.foreign.ledger",
]

MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tests.foreign.company.middleware.twin",
    "tests.foreign.company.middleware.tenant",
    "tests.foreign.company.middleware.time_zone",
    "tests.foreign.company.middleware.LanguageMiddleware",
]


def named(name: str) -> dict[str, Any]:
    """Return the database of the test run under another name, on the same server."""
    database: dict[str, Any] = usual.DATABASE | {"NAME": f"{usual.DATABASE['NAME']}_{name}"}
    if "TEST" in database:  # SQLite
        database["TEST"] = {"NAME": str(usual.TEST_DIR / f"test_{name}.sqlite3")}
        # It need not outlive a power cut: nothing waits for the disk.
        command = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
        database["OPTIONS"] = database["OPTIONS"] | {"init_command": command}
    return database


DATABASES = {"default": named("company") | {"ATOMIC_REQUESTS": True}, "ledger": named("ledger")}
DATABASE_ROUTERS = ["tests.foreign.ledger.router.LedgerRouter"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tests.foreign.company.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["tests.foreign.company.renderers.EnvelopeRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "tests.foreign.company.parsers.CamelCaseParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "ALLOWED_VERSIONS": ["v1", "v2"],
    "EXCEPTION_HANDLER": "tests.foreign.company.errors.handle",
}

CELERY_BROKER_URL = "memory://"
CELERY_RESULT_BACKEND = "django-db"

# The README's edit: until here it is the company's project.
INSTALLED_APPS += ["django_celery_results", "async_accept"]

# What the check prints, since some views have authentication of their own.
ASYNC_ACCEPT = {
    "AUTHENTICATION_CLASSES": [
        "tests.foreign.company.authentication.JWTAuthentication",
        "rest_framework.authentication.BasicAuthentication",
        "tests.foreign.company.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ]
}
