"""A dashboard in memory: two workers, queues, and a coordinator that knows tokens where it is told some."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.client.cli.conftest import NAP, worker
from tests.client.cli.fake_coordinator import FakeConnection
from tests.client.dashboard.browser import Browser

from grpcflow import errors
from grpcflow.credentials import Credentials
from grpcflow.dashboard.entrance import Entrance
from grpcflow.dashboard.server import Dashboard
from grpcflow.dashboard.settings import Settings
from grpcflow.event_model import EventFilter, EventPage
from grpcflow_protos.v1.control_service_pb2 import LaneInfo, ListQueuesResponse


class World:
    """What all connections see: tokens with what they may, and what was done."""

    def __init__(self) -> None:
        #: Token -> what it may. Empty: nobody is asked for one.
        self.tokens: dict[str, frozenset[str]] = {}
        self.done: list[tuple[str, ...]] = []
        self.away = False
        self.pages: list[EventPage] = []
        self.opened: list[Connection] = []
        self.asked = threading.Event()

    def connect(self, shown: Credentials) -> Any:
        made = Connection(self, shown.token)
        self.opened.append(made)
        return made


class Connection(FakeConnection):
    """One connection, which shows a token or none."""

    def __init__(self, world: World, token: str) -> None:
        super().__init__(worker("w1", 4700, "hipri", running=[dict(NAP)]), worker("w2", 4800, "default"))
        self.world, self.token = world, token
        self.addresses = ("127.0.0.1:50551",)
        lanes = [LaneInfo(queue="default", task="add", waiting=7, oldest_ms=2_000)]
        self.queues = ListQueuesResponse(lanes=lanes, paused=["hipri"], scheduled=3)

    def need(self, role: str) -> None:
        if self.world.away:
            raise errors.CoordinatorUnavailable("no coordinator answers at 127.0.0.1:50551")
        if not self.world.tokens:
            return
        if self.token not in self.world.tokens:
            raise errors.RequestFailed("the token is not known", code="TOKEN_WRONG")
        if role not in self.world.tokens[self.token]:
            raise errors.RequestFailed(f"that is for the role {role}", code="ROLE_FORBIDDEN")

    def list_workers(self) -> list[Any]:
        self.need("inspect")
        self.world.asked.set()
        return super().list_workers()

    def revoke(self, ids: Sequence[str], terminate: bool = False, signal: str = "SIGTERM") -> Any:
        self.need("control")
        return super().revoke(ids, terminate, signal)

    def run_schedule(self, name: str) -> str:
        self.need("submit")
        raise errors.NotFound(f"there is no schedule {name!r}", code="UNKNOWN_SCHEDULE")

    def clear_retention(self, scope: str, name: str) -> None:
        self.need("admin")
        raise errors.InvalidRequest(f"no {scope} is named", code="BAD_ARGUMENTS")

    def control(self, command: str, arguments: Any, destination: Any, timeout: float, **more: Any) -> Any:
        self.need("control")
        return super().control(command, arguments, destination, timeout, **more)

    def _queue(self, what: str, queue: str) -> None:
        self.need("control")
        self.world.done.append((what, queue))

    def pause_queue(self, queue: str) -> None:
        self._queue("pause", queue)

    def resume_queue(self, queue: str) -> None:
        self._queue("resume", queue)

    def purge_queue(self, queue: str) -> int:
        self._queue("purge", queue)
        return 7

    def list_failed(self, _wanted: Any, _limit: int) -> list[Any]:
        return []

    def read_events(self, _wanted: EventFilter) -> Iterator[EventPage]:
        self.need("inspect")
        yield from self.world.pages or [EventPage((), 1, 0)]


@pytest.fixture
def world() -> World:
    return World()


Open = Callable[..., Browser]


@pytest.fixture
async def opened(world: World) -> AsyncIterator[Open]:
    """Makes a dashboard with these settings, and returns a browser that asks it."""
    entrances: list[Entrance] = []

    def make(host: str = "127.0.0.1", **settings: Any) -> Browser:
        made = Settings(host=host, port=8551, addresses=("127.0.0.1:50551",), **settings)
        entrances.append(Entrance(made, world.connect))
        return Browser(Dashboard(entrances[-1]).app, entrance=entrances[-1])

    yield make
    for entrance in entrances:
        await entrance.close()
