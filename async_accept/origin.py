"""Whether a module belongs to the project, to a library or to us."""

import os
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from django.conf import settings

__all__ = ["is_projects"]

OURS = f"{Path(__file__).resolve().parent}{os.sep}"
#: Where Python and installed packages are. A project is elsewhere, unless it was installed as a package.
LIBRARIES = tuple(
    {f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@lru_cache(maxsize=4096)
def is_projects(file: str, module: str) -> bool:
    """Whether code is the project's: not ours, not Python's, and not of a package that is installed.

    A project may be installed as a package itself. Then it is known by the names in its settings.

    Args:
        file: the path of its file, as tracebacks name it.
        module: the dotted name of its module.
    """
    if file.startswith(("<", OURS)):
        return False
    if not file.startswith(LIBRARIES) and "site-packages" not in file and "dist-packages" not in file:
        return True
    return module.partition(".")[0] in _own_packages()


def _own_packages() -> Iterator[str]:
    for name in ("SETTINGS_MODULE", "ROOT_URLCONF", "WSGI_APPLICATION", "ASGI_APPLICATION"):
        value = getattr(settings, name, None)
        if isinstance(value, str) and value:
            yield value.partition(".")[0]
