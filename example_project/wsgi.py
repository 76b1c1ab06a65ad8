"""WSGI entry point: `gunicorn example_project.wsgi`.

Static files (the admin's among them) are served by Django's own handler around the application rather
than by a middleware: it is the same one that the demo and the ASGI entry point use, and it needs no
`collectstatic`. In front of a shop with real visitors a web server or a CDN does that.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
# A WSGI thread serves many requests, so its database connection is worth keeping; ASGI is another matter.
os.environ.setdefault("CONN_MAX_AGE", "60")

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

application = StaticFilesHandler(get_wsgi_application())
