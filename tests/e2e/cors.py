"""The tests' project for pages of another origin: django-cors-headers, with the lines of the docs.

``ORIGIN=http://127.0.0.1:1 uvicorn tests.e2e.cors:application``
"""

import os
import re
from pathlib import Path
from typing import Any

__all__ = ["MIDDLEWARE", "lines_of_the_docs"]

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "cross-origin.rst"
#: Above all others, as the README of django-cors-headers says.
MIDDLEWARE = "corsheaders.middleware.CorsMiddleware"


def lines_of_the_docs(origin: str) -> dict[str, Any]:
    """Return the settings that the page "Follow jobs from another origin" tells, for a page at *origin*."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text())
    names: dict[str, Any] = {}
    for block in blocks:
        exec(re.sub("(?m)^   ", "", block).replace("https://app.example", origin), names)  # noqa: S102
    return {name: value for name, value in names.items() if name.startswith("CORS_")}


if "ORIGIN" in os.environ:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

    from django.conf import settings
    from django.core.asgi import get_asgi_application

    get_asgi_application()
    for name, value in lines_of_the_docs(os.environ["ORIGIN"]).items():
        setattr(settings, name, value)
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    application = get_asgi_application()
