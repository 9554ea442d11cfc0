"""Imports the user's app for an executor and says what a supervisor must know of it.

Used in the forkserver, in spawned children and, by threads and solo, in the worker's own process. It may NOT be
imported by a supervisor of prefork: user code runs here.
"""

import importlib
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from grpcflow_worker import app_commands, hooks
from grpcflow_worker.captured import hear_logging
from grpcflow_worker.executors.frames import Preload
from grpcflow_worker.facts import declared, described
from grpcflow_worker.invoke import Invoker
from grpcflow_worker.log_lines import LogLine

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow


class Loaded(msgspec.Struct):
    """An imported app: what is registered, its plain settings, and what the user should know."""

    app: "Grpcflow"
    tasks: tuple[str, ...]
    conf: dict[str, Any]


def load(preload: Preload, *, first: bool = True, app: "Grpcflow | None" = None) -> Loaded:
    """Import the app and its modules, and send the signals of that.

    Args:
        preload: what to import.
        first: False in a child that imports the app once more.
        app: the app itself, where it is at hand; None: it is found by its name.

    Raises whatever the user's modules raise, SystemExit included; ImproperlyConfigured where no app is found.
    """
    for folder in reversed(preload.sys_path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if app is None:
        from grpcflow.loading import find_app

        app = find_app(preload.app)
    hooks.before_modules(app, preload)
    for module in preload.includes:
        importlib.import_module(module)
    app.load_includes()
    app.finalize()
    hooks.after_modules(app, preload, first=first)
    return Loaded(app=app, tasks=tuple(sorted(app.tasks)), conf=_plain(app) | schedules_of(app))


def invoker(
    app: "Grpcflow",
    preload: Preload,
    progress: Callable[[int, str, bytes, str], None],
    log: Callable[[int, LogLine], None],
) -> Invoker:
    """Make what runs the attempts of an app, and hear what they log.

    Args:
        app: the app.
        preload: what the supervisor said of the worker.
        progress: takes token, state, encoded value and content type of what a running task reports.
        log: takes the token and each line of what a running task prints and logs.
    """
    hear_logging()
    return Invoker(app, hostname=preload.hostname, payload_limit=preload.payload_limit, progress=progress, log=log)


def _plain(app: "Grpcflow") -> dict[str, Any]:
    """The settings that JSON can carry; the supervisor has no use for the others."""
    plain: dict[str, Any] = {"addresses": list(app.conf.addresses), "queues": _weights(app), "facts": declared(app)}
    plain |= {"commands": app_commands.declared(app), "described": described(app), "was_set": sorted(app.conf.table())}
    for name, value in sorted(app.conf.as_dict().items()):
        try:
            plain[name] = msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError, OverflowError):
            continue  # an object of the user's, for example a route function: it stays where the app is
    return plain


def _weights(app: "Grpcflow") -> dict[str, int]:
    """The queues that the app declares, or its default one, with their weights."""
    return {name: queue.weight for name, queue in app.conf.queues.items()}


def schedules_of(app: "Grpcflow") -> dict[str, Any]:
    """The schedules that the app's code declares, as the supervisor puts them; see `scheduling.SETTING`.

    Args:
        app: the app, finalized.
    """
    if not (app.conf.beat_sync and app.conf.beat_schedule):
        return {}
    from grpcflow.errors import ImproperlyConfigured
    from grpcflow.schedule_wire import app_request

    try:
        return {"schedules_to_put": app_request(app).SerializeToString(deterministic=True)}
    except ImproperlyConfigured as error:
        return {"schedules_to_put": str(error)}  # the tasks can run all the same


class ImportWatch:
    """Notes who starts a thread while the app is imported; use as a context manager around the import."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.starts: list[str] = []
        self._original: Callable[[threading.Thread], None] = threading.Thread.start

    def __enter__(self) -> Self:
        """Begin to watch `Thread.start`."""
        original, starts = self._original, self.starts

        def start(self: threading.Thread) -> None:
            starts.append(f"thread {self.name!r} was started in {_caller(sys._getframe(1))}")
            original(self)

        threading.Thread.start = start  # type: ignore[method-assign]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Put `Thread.start` back."""
        threading.Thread.start = self._original  # type: ignore[method-assign, assignment]

    def reasons(self) -> list[str]:
        """Why this process must not fork, one sentence each; empty where it may."""
        reasons: list[str] = []
        alive = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        if alive:
            known = [start for start in self.starts if any(repr(name) in start for name in alive)]
            reasons += known or [f"thread {name!r} runs" for name in alive]
        return reasons + _channels()


def _caller(frame: FrameType | None) -> str:
    """File, line and function of the innermost frame that is not the standard library's thread code."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("threading", "concurrent"):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    summary = traceback.extract_stack(frame, limit=1)[0]
    return f"{summary.filename}, line {summary.lineno}, in {summary.name}"


def _channels() -> list[str]:
    """Name the gRPC channels that the import left open, and the variables that hold them."""
    grpc: Any = sys.modules.get("grpc")
    if grpc is None:
        return []
    import gc

    kinds: tuple[type, ...] = (grpc.Channel,)
    if "grpc.aio" in sys.modules:
        kinds += (sys.modules["grpc.aio"].Channel,)
    channels = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    return [f"a gRPC channel is open{_held_by(channel)}" for channel in channels]


def _held_by(channel: object) -> str:
    """Say which variable of a module holds the channel; nothing where it is held inside of another object."""
    for name, module in list(sys.modules.items()):
        for variable, value in list(getattr(module, "__dict__", {}).items()):
            if value is channel:
                return f" in {name}.{variable}"
    return ""
