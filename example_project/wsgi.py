"""WSGI entry point: `gunicorn example_project.wsgi`.

Django itself serves the static files here, so the shop needs no `collectstatic`. On a public site, let a web server
or a CDN serve them.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
# Under WSGI a thread serves many requests, so it keeps its database connection for a minute.
os.environ.setdefault("CONN_MAX_AGE", "60")

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from example_project.tracing import trace_requests

trace_requests()
application = StaticFilesHandler(get_wsgi_application())
