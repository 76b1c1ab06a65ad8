"""Sphinx settings. Build with ``sphinx-build -W docs docs/_build/html``."""

import sys
from pathlib import Path

import django
from django.conf import settings
from sphinx.ext import napoleon

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import async_accept

# autodoc imports the package, and its models want a Django that is set up.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "rest_framework",
        "django_celery_results",
        "async_accept",
    ],
    SECRET_KEY="docs",
    USE_TZ=True,
)
django.setup()

project = "django-async-accept"
author = "The django-async-accept developers"
copyright = f"2026, {author}"
release = version = async_accept.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "accept_settings", "benchmark_figures"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_numpy_docstring = False
nitpicky = False

# Napoleon takes what stands before a colon for an attribute's type. Ours are sentences.
_process = napoleon._process_docstring


def _process_but_attributes(app, what, *args):
    if what not in ("attribute", "property", "data"):
        _process(app, what, *args)


napoleon._process_docstring = _process_but_attributes

exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {version}"
