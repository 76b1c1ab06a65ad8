"""A wall clock that a test can set while a process runs.

    python -m tests.integration.faults.clock celery -A example_project worker

runs ``python -m celery …`` with ``time.time()`` and ``datetime.now()`` shifted by what the file CLOCK_FILE says. Only
the wall clock moves: the monotonic one does not, as on a machine whose clock is set.
"""

import copyreg
import datetime
import importlib
import mmap
import os
import runpy
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Clock"]

_FORMAT = "d"
_BYTES = struct.calcsize(_FORMAT)


class Clock:
    """The test's side: the file says by how many seconds the process's clock is wrong."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set_wrong(0.0)

    def set_wrong(self, seconds: float) -> None:
        # In place, because the process has the file mapped into its memory.
        with self.file.open("r+b" if self.file.exists() else "w+b") as file:
            file.write(struct.pack(_FORMAT, seconds))


def _shift_by(file: str) -> None:
    """Replace the functions that read the wall clock. Child processes have the same file mapped, and shift with it."""
    with open(file, "rb") as opened:
        shared = mmap.mmap(opened.fileno(), _BYTES, access=mmap.ACCESS_READ)
    # Compiled modules compare the size of the class when they are imported.
    for driver in ("psycopg", "pymysql"):
        with suppress(ImportError):
            importlib.import_module(driver)
    real_time, real_ns, real = time.time, time.time_ns, datetime.datetime

    def wrong() -> float:
        return float(struct.unpack(_FORMAT, shared[:_BYTES])[0])

    class Type(type):
        """What the shifted class is compared with is the real class, of which all its instances are."""

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, other: Any) -> bool:
            return issubclass(other, real)

        def __eq__(cls, other: Any) -> bool:
            return other is real or other is Shifted

        def __hash__(cls) -> int:
            return hash(real)  # drivers look up how to write a value by its class

        def __getattr__(cls, name: str) -> Any:
            return getattr(real, name)

    class Shifted(metaclass=Type):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs)

        @staticmethod
        def now(tz: Any = None) -> Any:
            return real.fromtimestamp(real_time() + wrong(), tz)

        @staticmethod
        def utcnow() -> Any:
            return real.fromtimestamp(real_time() + wrong(), datetime.UTC).replace(tzinfo=None)

        @staticmethod
        def today() -> Any:
            return real.fromtimestamp(real_time() + wrong())

    Shifted.__module__, Shifted.__qualname__ = real.__module__, real.__qualname__
    copyreg.pickle(real, lambda value: (Shifted, value.__reduce_ex__(2)[1]))  # type: ignore[arg-type,return-value]
    time.time = lambda: real_time() + wrong()
    time.time_ns = lambda: real_ns() + int(wrong() * 1e9)
    datetime.datetime = Shifted  # type: ignore[assignment,misc]


def main() -> None:
    _shift_by(os.environ["CLOCK_FILE"])
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
