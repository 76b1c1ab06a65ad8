"""ASGI entry point: `uvicorn example_project.asgi:application`.

Database connections are not kept between requests here. Under ASGI each request has its own thread, and Django
advises against persistent connections (https://docs.djangoproject.com/en/stable/ref/databases/).
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from example_project.tracing import trace_requests

trace_requests()
application = ASGIStaticFilesHandler(get_asgi_application())
