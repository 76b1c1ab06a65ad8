"""Settings of the Corner Shop, from the environment; without any it is the demo on your own machine.

| variable | meaning | default |
| --- | --- | --- |
| DATABASE_URL | where everything is kept | SQLite, `var/shop.sqlite3` |
| CONN_MAX_AGE | seconds that a database server's connection is kept | 0; 60 under WSGI |
| CELERY_BROKER_URL | `memory://`, `redis://…`, `amqp://…` | `memory://` |
| CELERY_DB_REUSE_MAX | tasks that share one database connection of a worker | Celery's: 0 |
| SECRET_KEY, DEBUG, ALLOWED_HOSTS | as in Django | a known key, 1, loopback |
| CSRF_TRUSTED_ORIGINS | as in Django, for HTTPS behind a proxy | none |
| TRUST_PROXY | 1: a proxy in front sets X-Forwarded-Proto | 0 |
| DEMO_LOGIN | 1: one-click logins on the home page | as DEBUG |
| PRICING_SECONDS | how long the pretended price service takes for an order | 0.003 |
| GATEWAY_SECONDS | how long the pretended payment gateway takes | 0.02 |
| REPORT_ROWS_PER_SECOND | pace of the long report | 17000 |
| ASYNC_ACCEPT_…_SECONDS | a duration of the package, such as ASYNC_ACCEPT_LEASE_SECONDS | the package's |
| IMPORT_MAX_BYTES | the largest upload of a price list | 500 MB |
| TROUBLEMAKER | 1: jobs that go wrong, to be watched | as DEBUG |
| DRILLS, EFFECTS_FILE | the URL of the drills, and the file it notes its effects in | off |
"""

from pathlib import Path
from urllib.parse import quote

from . import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent

# --- security --------------------------------------------------------------------------------------

# Known to everybody: `manage.py check --deploy` objects to the prefix (security.W009).
SECRET_KEY = env.text("SECRET_KEY", "django-insecure-corner-shop-for-your-own-machine-only")
DEBUG = env.flag("DEBUG", True)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [])
if env.flag("TRUST_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

# --- apps and HTTP ---------------------------------------------------------------------------------

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
    "example_project.shop",  # before the package, so that its frame of the status page is taken
    "async_accept",
    "example_project.drills",
]

# All of these run in async code as well: one that did not would hold a thread for each waiting client.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.shop.policy.strict_status_pages",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
LOGIN_URL = "rest_framework:login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "shop:home"

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
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = env.text("STATIC_ROOT") or None
MEDIA_ROOT = env.text("MEDIA_ROOT", str(BASE_DIR / "media"))

# --- storage and work ------------------------------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": env.database(
        env.text("DATABASE_URL", f"sqlite:///{quote(str(BASE_DIR / 'var' / 'shop.sqlite3'))}")
    )
}

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "memory://")
CELERY_RESULT_BACKEND = env.text("CELERY_RESULT_BACKEND", "django-db")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE
# Celery closes the database connection around each task unless this is set; 0 leaves that as it is.
CELERY_DB_REUSE_MAX = int(env.number("CELERY_DB_REUSE_MAX", 0))
if CELERY_BROKER_URL.startswith("memory:"):
    # The transport looks for messages once a second; nothing is on the wire, so look more often.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.1}

# The defaults of the package are the demo's, unless the environment says otherwise.
ASYNC_ACCEPT = env.package()

# --- the shop --------------------------------------------------------------------------------------

DEMO_LOGIN = env.flag("DEMO_LOGIN", DEBUG)
PRICING_SECONDS = env.number("PRICING_SECONDS", 0.003)
GATEWAY_SECONDS = env.number("GATEWAY_SECONDS", 0.02)
REPORT_ROWS_PER_SECOND = env.number("REPORT_ROWS_PER_SECOND", 17_000)
IMPORT_MAX_BYTES = int(env.number("IMPORT_MAX_BYTES", 500_000_000))
TROUBLEMAKER = env.flag("TROUBLEMAKER", DEBUG)
DRILLS = env.flag("DRILLS")
EFFECTS_FILE = env.text("EFFECTS_FILE")
