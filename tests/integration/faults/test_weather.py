"""The test's own faults: ways that are cut or on hold, and a clock that is wrong."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clock import Clock
from .processes import ROOT
from .proxy import Wire, Wires


def echo(listener: socket.socket) -> None:
    """Send back what comes, on each connection."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


@pytest.fixture
def wires() -> Iterator[Wires]:
    made = Wires()
    yield made
    made.stop()


@pytest.fixture
def wire(wires: Wires) -> Iterator[Wire]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        yield wires.add(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def connect(wire: Wire, timeout: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=timeout)


def answer(connection: socket.socket, sent: bytes) -> bytes:
    connection.sendall(sent)
    return connection.recv(100)


def is_broken(connection: socket.socket) -> bool:
    try:
        return answer(connection, b"x") == b""
    except ConnectionError:
        return True


def test_cut_way_breaks_old_and_new_connections_until_it_is_mended(wires: Wires, wire: Wire) -> None:
    with connect(wire) as old:
        assert answer(old, b"one") == b"one"
        wires.do(wire.cut)
        assert is_broken(old)
    with connect(wire) as new:
        assert is_broken(new)
    wires.do(wire.mend)
    with connect(wire) as mended:
        assert answer(mended, b"three") == b"three"


def test_way_on_hold_delivers_when_it_is_mended(wires: Wires, wire: Wire) -> None:
    with connect(wire, timeout=0.1) as connection:
        assert answer(connection, b"one") == b"one"
        wires.do(wire.hold)
        with pytest.raises(TimeoutError):
            answer(connection, b"two")
        wires.do(wire.mend)
        connection.settimeout(5)
        assert connection.recv(100) == b"two"


SHOWN = """
import copy, datetime, pickle, time, sys
now = datetime.datetime.now(datetime.UTC)
assert isinstance(now, datetime.datetime) and pickle.loads(pickle.dumps(now)) == copy.deepcopy(now) == now
assert {datetime.datetime: 1}[type(now)] == 1 and datetime.datetime.fromisoformat(now.isoformat()) == now
print(time.time(), now.timestamp(), time.monotonic())
"""


@pytest.mark.parametrize("hours", [-5, 5])
def test_clock_of_a_process_can_be_wrong(tmp_path: Path, hours: int) -> None:
    clock = Clock(tmp_path / "clock")
    clock.set_wrong(hours * 3600.0)
    (tmp_path / "shown.py").write_text(SHOWN)
    command = [sys.executable, "-m", "tests.integration.faults.clock", "shown"]
    env = {**os.environ, "CLOCK_FILE": str(clock.file), "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    began, began_monotonic = time.time(), time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    seconds, of_datetime, monotonic = map(float, done.stdout.split())
    assert 0 <= seconds - hours * 3600 - began < 60
    assert abs(seconds - of_datetime) < 1
    assert 0 <= monotonic - began_monotonic < 60
