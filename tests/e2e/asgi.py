"""The tests' project on ASGI, which can hold streams: ``uvicorn tests.e2e.asgi:application``."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

application = get_asgi_application()
settings.ROOT_URLCONF = "tests.e2e.urls"
settings.MIDDLEWARE = ["tests.e2e.policy.strict_policy", *settings.MIDDLEWARE]
application = ASGIStaticFilesHandler(get_asgi_application())
