"""Checks of the set-up of metrics: several processes count together only by a directory."""

import os
from pathlib import Path
from typing import Any

from django.core import checks

from ...checks.messages import TAG, warning

__all__ = ["check_directory", "check_directory_is_set"]

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@checks.register(TAG)
def check_directory(**kwargs: Any) -> list[checks.CheckMessage]:
    """W018: the directory is set, and cannot be written."""
    path = os.environ.get(VARIABLE)
    if not path or (Path(path).is_dir() and os.access(path, os.W_OK)):
        return []
    message = f"{VARIABLE} is no directory that this process can write, so no metrics are counted."
    return [warning(18, message, "mkdir it, before the first process starts")]


@checks.register(TAG, deploy=True)
def check_directory_is_set(**kwargs: Any) -> list[checks.CheckMessage]:
    """I003: no directory is set, so only one process is seen."""
    if os.environ.get(VARIABLE):
        return []
    return [
        checks.Info(
            f"{VARIABLE} is not set, so metrics are those of one process: of a web server with several, each scrape "
            "finds another one, and the processes of a worker are not seen.",
            hint=f"{VARIABLE}=/run/shop/metrics in the environment of web and workers",
            id="async_accept.I003",
        )
    ]
