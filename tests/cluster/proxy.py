"""A link that a test can hurt: a proxy on a thread of the test, between one side and the coordinator.

It may swallow bytes without a word, close what it carries, or close one end alone; it understands nothing of what
goes through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: Bytes of one read.
CHUNK = 65_536

#: Seconds that the thread has to start and to end.
PATIENCE = 40.0


@dataclass(eq=False)
class Carried:
    """One connection through the proxy, with its two ends."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    swallows_up: bool = False
    swallows_down: bool = False

    def swallow(self, *, up: bool, down: bool) -> None:
        """Lose from now on what goes up to the coordinator, or comes down from it."""
        self.swallows_up |= up
        self.swallows_down |= down

    def abort_near(self) -> None:
        """Close the end of who came; the other one is kept open and told nothing."""
        self.swallow(up=True, down=True)
        self.near.transport.abort()

    def abort_far(self) -> None:
        """Close the coordinator's end; the other one is kept open and told nothing."""
        self.swallow(up=True, down=True)
        self.far.transport.abort()

    def abort(self) -> None:
        """Close both ends at once."""
        self.near.transport.abort()
        self.far.transport.abort()


class Proxy:
    """Carries connections to a port of this machine.

    Args:
        port: Where they go.
        lifetime: Seconds after which each connection is closed; None: never.
    """

    def __init__(self, port: int, lifetime: float | None = None) -> None:
        self.lifetime = lifetime
        #: How many connections came so far, and how many bytes went up to the coordinator.
        self.connections = 0
        self.bytes_up = 0
        self.address = ""
        self._port = port
        self._lets_up: int | None = None
        self._parted = False
        self._carried: set[Carried] = set()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def swallow(self, *, up: bool = True, down: bool = True) -> None:
        """Lose all bytes of the connections there are; nobody is told. New connections work."""
        self._tell(lambda one: one.swallow(up=up, down=down))

    def part(self) -> None:
        """Lose all bytes of the connections there are, and of new ones, until `heal`; nobody is told."""
        self._parted = True
        self.swallow()

    def heal(self) -> None:
        """Let new connections through again; those that were caught are closed."""
        self._parted = False
        self.cut()

    def swallow_after(self, count: int) -> None:
        """Lose everything that goes up once so many bytes did; to be called before anybody connects."""
        self._lets_up = count

    def cut(self) -> None:
        """Close both ends of all connections there are."""
        self._tell(Carried.abort)

    def close_near(self) -> None:
        """Close the ends of those who came; the coordinator hears nothing of it."""
        self._tell(Carried.abort_near)

    def close_far(self) -> None:
        """Close the coordinator's ends; those who came hear nothing of it."""
        self._tell(Carried.abort_far)

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        assert self._started.wait(PATIENCE), "the proxy did not start"

    def stop(self) -> None:
        """Close everything and end the thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the proxy did not end"

    def _tell(self, act: Callable[[Carried], object]) -> None:
        """Do something to all connections, on the proxy's thread, and wait until it is done."""
        done = threading.Event()

        def tell() -> None:
            for one in tuple(self._carried):
                act(one)
            done.set()

        self._loop.call_soon_threadsafe(tell)
        assert done.wait(PATIENCE), "the proxy does not answer"

    # --- the proxy's own thread ---

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._over.wait()
        server.close()
        for one in tuple(self._carried):
            one.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            near.transport.abort()
            return
        self.connections += 1
        one = Carried(near, far, swallows_up=self._parted, swallows_down=self._parted)
        self._carried.add(one)
        if self.lifetime is not None:
            self._loop.call_later(self.lifetime, one.abort)
        try:
            await asyncio.gather(self._pump(one, reader, up=True), self._pump(one, far_reader, up=False))
        finally:
            one.abort()
            self._carried.discard(one)

    async def _pump(self, one: Carried, reader: asyncio.StreamReader, *, up: bool) -> None:
        """Carry bytes one way until that end closes; then close the other, unless it is to hear nothing."""
        writer = one.far if up else one.near
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                self._count(one, len(data) if up else 0)
                if one.swallows_up if up else one.swallows_down:
                    continue
                writer.write(data)
                await writer.drain()
        if not (one.swallows_up if up else one.swallows_down):
            writer.transport.abort()

    def _count(self, one: Carried, went_up: int) -> None:
        self.bytes_up += went_up
        if self._lets_up is not None and self.bytes_up > self._lets_up:
            one.swallow(up=True, down=False)


@contextlib.contextmanager
def proxy_to(port: int, lifetime: float | None = None) -> Iterator[Proxy]:
    """Give a proxy to a port of this machine; see `Proxy`."""
    proxy = Proxy(port, lifetime)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
