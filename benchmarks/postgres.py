"""A PostgreSQL of the benchmark's own, with 100 connections: one that is exhausted must be nobody else's."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .processes import START_SECONDS, free_port

CONNECTIONS = 100


def programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs; None if they are not installed."""
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def own_server() -> Iterator[str]:
    """Run a server, and yield its URL.

    Raises:
        SystemExit: it is not installed, or does not start.
    """
    import psycopg

    found = programs()
    if found is None:
        raise SystemExit("PostgreSQL's server programs are not in /usr/lib/postgresql.")
    # PostgreSQL refuses to run as root.
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        data, port = f"{folder}/data", free_port()
        initdb = [str(found / "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-N"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        command = [str(found / "postgres"), "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        command += ["-c", f"max_connections={CONNECTIONS}", "-c", "log_min_messages=panic"]
        with subprocess.Popen(command, cwd=folder, **user) as server:  # type: ignore[call-overload]
            url = f"postgres://bench@127.0.0.1:{port}/bench"
            try:
                until = time.monotonic() + START_SECONDS
                while time.monotonic() < until:
                    with suppress(psycopg.Error), psycopg.connect(f"{url[:-6]}/postgres", connect_timeout=3):
                        break
                    time.sleep(0.1)
                else:
                    raise SystemExit(f"PostgreSQL did not start in {START_SECONDS} s.")
                yield url
            finally:
                server.terminate()
                server.send_signal(2)  # fast: it does not wait for its clients
                server.wait()
