"""Settings of the Corner Shop. Without any environment variable they are those of the demo.

The comments "async_accept:" mark what async_accept needs. The rest is an ordinary Django project.
`env.text()`, `env.flag()` and the like read an environment variable; the second argument is the default.
"""

from pathlib import Path
from urllib.parse import quote

from . import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Security --------------------------------------------------------------------------------------

# Everybody knows the default. `manage.py check --deploy` reports it (security.W009).
SECRET_KEY = env.text("SECRET_KEY", "django-insecure-corner-shop-for-your-own-machine-only")
DEBUG = env.flag("DEBUG", True)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])

# --- Apps and HTTP ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    # Before async_accept: the shop replaces its template async_accept/base.html.
    "example_project.shop",
    # async_accept: these two, and the third for webhooks.
    "django_celery_results",
    "async_accept",
    "async_accept.webhooks",
    # async_accept: metrics for Prometheus.
    "async_accept.contrib.prometheus",
    # Nothing else is needed: the schema at /api/schema/ shows what is accepted, and the endpoints of jobs.
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "example_project.inbox",  # receives webhooks, in the place of another company
    "example_project.drills",  # for fault tests, see DRILLS
]

# Each of these can run as async code. A middleware that cannot would need a thread for each waiting client.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.shop.csp.protect_job_pages",
]

ROOT_URLCONF = "example_project.urls"
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

# Programs send a token, the shop's pages a session cookie.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "example_project.shop.schema.ShopSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Corner Shop",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVE_INCLUDE_SCHEMA": False,
    # A field that is read only is then in the response alone, and a generated client can require it there.
    "COMPONENT_SPLIT_REQUEST": True,
    # The files of the pages come with the package drf-spectacular-sidecar, so no page needs a CDN.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

TIME_ZONE = "UTC"
STATIC_URL = "/static/"
MEDIA_ROOT = env.text("MEDIA_ROOT", str(BASE_DIR / "media"))

# --- Database and Celery ---------------------------------------------------------------------------

# DATABASE_URL is sqlite:///…, postgresql://… or mariadb://…
DATABASES = {
    "default": env.database(
        env.text("DATABASE_URL", f"sqlite:///{quote(str(BASE_DIR / 'var' / 'shop.sqlite3'))}")
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# redis://… or amqp://… The demo runs its worker in the web server's process, so it can use memory://.
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "memory://")
if CELERY_BROKER_URL.startswith("memory://"):
    # Seconds between two looks for messages; the default is 1.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.1}
# A worker that starts before its broker waits for it.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
# async_accept: how many tasks use one database connection of a worker. With Celery's default, 0, CONN_MAX_AGE
# decides; if that is 0 as well, each task opens a new one. Set 1000 with a database server.
CELERY_DB_REUSE_MAX = int(env.number("CELERY_DB_REUSE_MAX", 0))

# async_accept: its own settings, all of them optional. The shop uses the defaults. An environment variable
# can change a duration or a switch: ASYNC_ACCEPT_LEASE_SECONDS=3, ASYNC_ACCEPT_RELAY_IN_WORKER=0.
ASYNC_ACCEPT = {
    **env.package_settings(),
    # Who may read metrics and health, beside staff: a monitoring system sends one of these tokens.
    "MONITORING_TOKENS": env.words("MONITORING_TOKENS", []),
    # Where a worker serves its metrics, such as 127.0.0.1:9540.
    "WORKER_METRICS_ADDRESS": env.text("WORKER_METRICS_ADDRESS") or None,
}

# Traces of requests and jobs go to this file; pip install opentelemetry-sdk opentelemetry-instrumentation-django
TRACES_FILE = env.text("TRACES_FILE")
if TRACES_FILE:
    INSTALLED_APPS.append("async_accept.contrib.opentelemetry")

# --- The shop itself -------------------------------------------------------------------------------

# Visitors can log in as alice or bob with one click, without a password.
DEMO_LOGIN = env.flag("DEMO_LOGIN", DEBUG)
# What the payment provider signs its webhooks with; two while one is replaced. Everybody knows the default.
PAYMENT_WEBHOOK_SECRETS = env.words(
    "PAYMENT_WEBHOOK_SECRETS", ["whsec_Y29ybmVyIHNob3AsIG9ubHkgZm9yIHRoZSBkZW1v"]
)
# Show the card "Troublemaker", whose jobs go wrong on purpose.
TROUBLEMAKER = env.flag("TROUBLEMAKER", DEBUG)
# How long pricing an order takes.
PRICING_SECONDS = env.number("PRICING_SECONDS", 0.003)
# How long the simulated payment gateway takes for a charge.
GATEWAY_SECONDS = env.number("GATEWAY_SECONDS", 0.02)
# The speed of the long report.
REPORT_ROWS_PER_SECOND = env.number("REPORT_ROWS_PER_SECOND", 17_000)
# The largest price list that can be uploaded.
IMPORT_MAX_BYTES = int(env.number("IMPORT_MAX_BYTES", 500_000_000))
# Offer /api/drills/, for fault tests. A drill writes what it does to EFFECTS_FILE, if that is set.
DRILLS = env.flag("DRILLS")
EFFECTS_FILE = env.text("EFFECTS_FILE")
# The version of the drills' code, to update an installation while it works: 2 stores more input and returns more.
DRILLS_VERSION = int(env.number("DRILLS_VERSION", 1))
