"""Ways between the parts of an installation, which a test can cut, hold or slow down: TCP proxies."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Wire", "Wires"]

#: How long each piece of data takes on a slow way, in seconds.
SLOW_SECONDS = 0.05


class Wire:
    """The way of one part to one server. Change it by `Wires.do()` only: it belongs to the thread of the loop."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.is_cut = False
        self.delay = 0.0
        self.passes = asyncio.Event()
        self.passes.set()
        self.open: set[asyncio.StreamWriter] = set()
        #: Without a reference, a running task may be collected.
        self.server: asyncio.Server | None = None

    async def listen(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and new ones at once."""
        self.is_cut = True
        for writer in self.open:
            writer.transport.abort()

    def hold(self) -> None:
        """Let nothing pass. What was sent arrives when the way is mended, as TCP would repeat it."""
        self.passes.clear()

    def slow(self) -> None:
        self.delay = SLOW_SECONDS

    def mend(self) -> None:
        self.is_cut = False
        self.delay = 0.0
        self.passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.passes.wait()
        try:
            if self.is_cut:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self.open |= ends
        try:
            await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        finally:
            self.open -= ends

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.passes.wait()
                writer.write(data)
                await writer.drain()
            await self.passes.wait()  # an end, too, arrives later
        writer.close()


class Wires:
    """All ways of an installation, in one thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="wires", daemon=True)
        self.thread.start()

    def add(self, target: int) -> Wire:
        """Return a new way to this port."""

        async def listening() -> Wire:
            wire = Wire(target)
            await wire.listen()
            return wire

        return asyncio.run_coroutine_threadsafe(listening(), self.loop).result(10)

    def do(self, change: Callable[[], None]) -> None:
        """Call a method of a wire in the thread of the loop, and wait for it."""

        async def changed() -> None:
            change()

        asyncio.run_coroutine_threadsafe(changed(), self.loop).result(10)

    def stop(self) -> None:
        async def canceled() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(canceled(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()
