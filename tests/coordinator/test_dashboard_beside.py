"""The dashboard that a coordinator runs: how it is started, when another one follows, how it ends. No process here."""

import importlib.util
import io
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.dashboard import Dashboard, check_installed, command, surroundings
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.server import Coordinator

WAIT = 30.0


class Fake:
    """A process that says something and ends when it is told to."""

    def __init__(self, *said: bytes, code: int | None = 0, obeys: bool = True) -> None:
        self.stderr = io.BytesIO(b"".join(said))
        self.code, self.obeys = code, obeys
        self.ended = threading.Event()
        self.signals: list[str] = []
        if code is not None:
            self.ended.set()

    def __enter__(self) -> "Fake":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.wait(WAIT)

    def wait(self) -> int | None:
        self.ended.wait(WAIT)
        return self.code

    def poll(self) -> int | None:
        return self.code

    def _end(self, name: str, code: int) -> None:
        self.signals.append(name)
        if name == "KILL" or self.obeys:
            self.code = code
            self.ended.set()

    def terminate(self) -> None:
        self._end("TERM", 0)

    def kill(self) -> None:
        self._end("KILL", -9)


class World:
    """Time that passes when somebody rests, and processes by their turn; the last one lives until it is ended."""

    def __init__(self, *processes: Fake | OSError, lives: Callable[[int], float] = lambda _: 0.1) -> None:
        self.processes, self.lives = list(processes), lives
        self.now = 0.0
        self.started = 0
        self.pauses: list[float] = []
        self.last = threading.Event()

    def start(self) -> Any:
        self.started += 1
        self.now += self.lives(self.started)
        process = self.processes[self.started - 1]
        if self.started == len(self.processes):
            self.last.set()
        if isinstance(process, OSError):
            raise process
        return process

    def rest(self, over: threading.Event, seconds: float) -> None:
        assert not over.is_set()
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, **more: Any) -> Dashboard:
        made = Dashboard(self.start, rest=self.rest, clock=lambda: self.now, **more)
        assert self.last.wait(WAIT)
        return made


def config(**settings: Any) -> Config:
    return Config(data="/somewhere", **{"dashboard": "127.0.0.1:8551", **settings})


def options(words: list[str]) -> dict[str, str]:
    """Returns the options of a command; what has no value has that of the next one."""
    return {word: following for word, following in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}


# --- when another one follows ------------------------------------------------------------------------------


def test_pauses_grow_so_that_it_starts_a_few_times_a_minute() -> None:
    world = World(*[Fake(code=1) for _ in range(9)], Fake(code=None))
    world.run().close()
    assert world.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    within = [sum(world.pauses[:at]) for at in range(9) if sum(world.pauses[:at]) < 60]
    assert len(within) <= 6


def test_pauses_begin_anew_once_it_has_worked_for_a_while() -> None:
    world = World(*[Fake(code=1) for _ in range(4)], Fake(code=None), lives=lambda start: 61.0 if start == 3 else 0.1)
    world.run().close()
    assert world.pauses == [1, 2, 1, 2]


def test_the_log_tells_where_it_is_how_it_ended_and_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    said = (b"Dashboard: http://127.0.0.1:8551/\n", b"\n", b"oh no\n", b"x" * 5_000)
    world = World(Fake(*said, code=78), Fake(code=-9), OSError("no memory"), Fake(code=None))
    with caplog.at_level(logging.INFO, "grpcflow_coordinator.dashboard"):
        world.run().close()
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("INFO", "Dashboard: http://127.0.0.1:8551/"),
        ("WARNING", "oh no"),
        *(("WARNING", "x" * size) for size in (2_000, 2_000, 1_000)),
        ("WARNING", "the dashboard ended with exit code 78; another one starts in 1 s"),
        ("WARNING", "the dashboard was ended by signal 9; another one starts in 2 s"),
        ("WARNING", "the dashboard cannot be started (no memory); another one starts in 4 s"),
    ]


# --- how it ends -------------------------------------------------------------------------------------------


def test_it_is_asked_to_end_and_no_other_one_follows() -> None:
    process = Fake(code=None)
    world = World(process)
    world.run().close()
    assert (process.signals, world.started, world.pauses) == (["TERM"], 1, [])


def test_one_that_does_not_end_is_killed() -> None:
    process = Fake(code=None, obeys=False)
    World(process).run(grace=0.05).close()
    assert process.signals == ["TERM", "KILL"]


def test_a_rest_between_two_ends_with_it() -> None:
    ended = Fake(code=1)
    made = Dashboard(lambda: ended, clock=lambda: 0.0)  # type: ignore[arg-type,return-value]
    made.close()
    assert ended.signals == []


# --- how it is started -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("127.0.0.1:50551", "127.0.0.1:50551"),
        ("0.0.0.0:50551", "127.0.0.1:50551"),
        ("[::]:50551", "[::1]:50551"),
        ("10.1.2.3:50551", "10.1.2.3:50551"),
    ],
)
def test_it_reaches_the_coordinator_where_that_listens_or_where_it_is_told(address: str, reached: str) -> None:
    assert options(command(config(), address, {}))["--coordinator"] == reached
    told = config(dashboard_coordinator="cluster.example.org:50551")
    assert options(command(told, address, {}))["--coordinator"] == "cluster.example.org:50551"


def test_it_believes_the_coordinators_own_certificate_unless_it_is_told_of_another() -> None:
    guarded = config(tls_cert="c.pem", tls_key="c.key", tokens="tokens.json", tls_client_ca="clients.pem")
    found = options(command(guarded, "127.0.0.1:1", {}))
    assert (found["--tls-ca"], found["--tls-cert"], found["--tls-key"]) == ("c.pem", "c.pem", "c.key")
    assert "--certificate" not in found, "on loopback it speaks HTTP"
    elsewhere = {"GRPCFLOW_TLS_CA": "ca.pem", "GRPCFLOW_TLS_CERT": "me.pem", "GRPCFLOW_TLS_KEY": "me.key"}
    assert not {"--tls-ca", "--tls-cert", "--tls-key"} & options(command(guarded, "127.0.0.1:1", elsewhere)).keys()
    assert "--tls-ca" not in options(command(config(), "127.0.0.1:1", {}))


def test_beyond_loopback_it_shows_the_coordinators_certificate_or_is_as_open() -> None:
    guarded = config(dashboard="0.0.0.0:8551", tls_cert="c.pem", tls_key="c.key", tokens="tokens.json")
    found = options(command(guarded, "127.0.0.1:1", {}))
    assert (found["--certificate"], found["--key"]) == ("c.pem", "c.key")
    assert "--insecure" not in found
    open_to_all = options(command(config(dashboard="0.0.0.0:8551", insecure=True), "127.0.0.1:1", {}))
    assert "--insecure" in open_to_all
    assert "--certificate" not in open_to_all
    assert "--insecure" not in options(command(config(insecure=True), "127.0.0.1:1", {})), "nobody else reaches it"


def test_it_gets_no_secret_and_no_setting_of_the_coordinator() -> None:
    around = {"GRPCFLOW_TOKEN": "s", "GRPCFLOW_COORDINATOR_TOKENS": "f", "GRPCFLOW_TLS_CA": "ca", "PATH": "/bin"}
    assert surroundings(around) == {"GRPCFLOW_TLS_CA": "ca", "PATH": "/bin"}


# --- what is refused ---------------------------------------------------------------------------------------


def test_without_the_extra_the_coordinator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else found(name))
    with pytest.raises(ConfigurationError, match=r"needs uvicorn.*pip install 'grpcflow\[dashboard\]'"):
        Coordinator(Config(data="", memory=True, dashboard="127.0.0.1:0"))


def test_it_is_held_to_the_rule_of_the_coordinators_own_door() -> None:
    with pytest.raises(ConfigurationError, match=r"dashboard 0\.0\.0\.0:8551.*TLS and tokens lack"):
        config(dashboard="0.0.0.0:8551")
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        config(dashboard="8551")
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        config(dashboard_coordinator="here")
