"""The directory of ``PROMETHEUS_MULTIPROC_DIR``, by whose files several processes count together.

prometheus_client maps a file of each process into memory. Three things are left to us. A process whose disk is full
would be killed by the kernel (SIGBUS) when it writes to such memory: so the files get their whole size before. Nobody
removes the files of processes that are gone: so they are added up in one. And one file that cannot be read must not
cost all the others.
"""

import errno
import logging
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ...jobs.duties import Once
from ...jobs.forks import call_after_fork

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Directory", "directory"]

logger = logging.getLogger(__name__)

#: The sizes of the files of one process in bytes, by what they count: enough for ``names.MOST`` operations.
SIZES = {"counter": 1 << 17, "histogram": 1 << 19}
#: In the place of a process id: the sum of all processes that are gone.
GONE = "gone"
#: How long a scrape waits for another one.
LOCK_SECONDS = 5.0
#: What reading a broken file raises.
BROKEN = (OSError, RuntimeError, TypeError, ValueError, struct.error)


class Directory:
    """One such directory.

    Raises:
        OSError: from each method, if the directory is gone, is full or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said = Once()
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        #: Locks of files are for processes; this one is for threads.
        self.lock = threading.Lock()

    def reserve(self, pid: int) -> None:
        """Give the files of this process their whole size, so that no later write needs room on the disk."""
        for kind, size in SIZES.items():
            path = self.path / f"{kind}_{pid}.db"
            if path.exists():
                continue
            fresh = self.path / f".{path.name}.new"  # a scrape must not read half a file
            try:
                fresh.write_bytes(bytes(size))
                fresh.rename(path)
            finally:
                fresh.unlink(missing_ok=True)

    def collect(self) -> list[Metric]:
        """Add up what all processes have counted; those that are gone keep what they have counted."""
        with self._locked():
            try:
                self._add_up_gone()
            except BROKEN as error:
                self._tell("The files of processes that are gone cannot be removed", error)
            files = self._files()
            try:
                return _merged(files)
            except BROKEN:
                return _merged([file for file in files if self._is_readable(file)])

    # --- Processes that are gone ------------------------------------------------------------------------

    def _add_up_gone(self) -> None:
        gone = {pid for file in self._files() if (pid := _pid(file)) is not None and not _runs(pid)}
        for pid in gone:
            mark_process_dead(pid, str(self.path))  # type: ignore[no-untyped-call]
        for kind in ("counter", "histogram", "summary"):
            found = [path for pid in gone if (path := self.path / f"{kind}_{pid}.db").exists()]
            if found:
                self._add_up(kind, found)

    def _add_up(self, kind: str, found: list[Path]) -> None:
        """Put the values of files into one, and remove them.

        If this process is killed between the two, they are counted twice; the other way round, never again, which
        Prometheus would take for a restart of all of them.
        """
        total = self.path / f"{kind}_{GONE}.db"
        sums: dict[str, float] = defaultdict(float)
        for path in (total, *found):
            if path.exists() and self._is_readable(str(path)):
                for key, value, *_ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
                    sums[key] += value
        fresh = self.path / f".{total.name}.new"
        fresh.unlink(missing_ok=True)
        _write(fresh, sums)
        fresh.rename(total)
        for path in found:
            path.unlink(missing_ok=True)

    # --- Files ------------------------------------------------------------------------------------------

    def _files(self) -> list[str]:
        return [str(path) for path in sorted(self.path.glob("[!.]*.db"))]

    def _is_readable(self, file: str) -> bool:
        try:
            _merged([file])
        except BROKEN as error:
            self._tell(f"{Path(file).name} cannot be read", error)
            return False
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time add up and read; else a value could be read twice.

        Not by flock(): a process that is forked meanwhile, as those of a worker are, would hold that lock for life.

        Raises:
            TimeoutError: another one has held the lock for too long.
        """
        until = monotonic() + LOCK_SECONDS
        if not self.lock.acquire(timeout=LOCK_SECONDS):
            raise TimeoutError
        try:
            with open(self.path / ".lock", "ab") as file:
                while not _lock(file):
                    if monotonic() > until:
                        raise TimeoutError
                    sleep(0.01)
                yield
        finally:
            self.lock.release()

    def _tell(self, what: str, error: BaseException) -> None:
        if self.said.is_new(what, error):
            logger.warning("%s in PROMETHEUS_MULTIPROC_DIR: %s", what, type(error).__name__)


def _merged(files: list[str]) -> list[Metric]:
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _pid(file: str) -> int | None:
    """Return whose file it is: ``counter_17.db``, ``gauge_livesum_17.db``."""
    last = Path(file).stem.rpartition("_")[2]
    return int(last) if last.isdecimal() else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _lock(file: BinaryIO) -> bool:
    """Lock *file* until it is closed; False if another process has locked it."""
    if fcntl is not None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
    return True


def _write(path: Path, values: dict[str, float]) -> None:
    """Write a file as prometheus_client does, without a map: a full disk is an error, and no signal."""
    entries: list[bytes] = []
    for key, value in values.items():
        encoded = key.encode()
        padded = encoded + b" " * (8 - (len(encoded) + 4) % 8)
        entries.append(struct.pack(f"i{len(padded)}sdd", len(encoded), padded, value, 0.0))
    body = b"".join(entries)
    path.write_bytes(struct.pack("ii", 8 + len(body), 0) + body)


_at = cache(Directory)


def directory() -> Directory | None:
    """Return the directory that is set; None if each process counts alone."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return _at(Path(path)) if path else None
