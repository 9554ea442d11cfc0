"""``os.fork()`` with a live connection: put grpc to rest before, let both sides open anew after.

grpc's core keeps threads that a forked child does not have, and the child of a process with a live channel
hangs, with and without grpc's own fork variable (tried with grpcio 1.85). What is reliable: close every
channel, let go of every grpc object, and wait until grpc's threads have ended; then fork. Both processes open
new channels at their next call. The hooks must be registered after grpc's own (made with its first channel),
so that they run before it.

Channels of event loops cannot be closed while a coroutine forks. What grpc is in the child of such a fork nobody can
say (in one of seven calls hang, and so does the collection of its objects): the child is told so where it would use
it, and keeps what it inherited untouched.
"""

import contextlib
import gc
import logging
import os
import threading
import time
import weakref
from typing import Final, Protocol

from grpcflow.errors import ForkedEventLoop

__all__ = ["Restful", "channel_opened", "check_usable", "ended", "outlives", "watch_over"]

#: Seconds that a fork waits for grpc's threads to end.
_PATIENCE: Final = 10.0
_TASKS: Final = "/proc/self/task"
#: How grpc's core names its threads (Linux shows 15 characters).
_NAMES: Final = ("grpc_", "event_engine", "lifeguard", "timer_manager")

#: How Python names the thread in which grpc.aio waits.
_POLLER: Final = "(_poll_wrapper)"

_log: Final = logging.getLogger("grpcflow.connection")


class Restful(Protocol):
    """What can be put to rest before a fork."""

    def rest(self) -> None:
        """Close everything of grpc's, and hold still until one of the other two is called."""

    def resume_in_parent(self) -> None:
        """Go on: what was waited for is waited for still."""

    def resume_in_child(self) -> None:
        """Go on as a new process: only the forking thread is left."""


class _Hooks:
    """State of the hooks: whom they put to rest, and whether grpc was used since the last fork."""

    def __init__(self) -> None:
        self.all: weakref.WeakSet[Restful] = weakref.WeakSet()
        self.resting: list[Restful] = []
        #: Channels that a fork leaves open, and those that this process inherited so.
        self.lasting: weakref.WeakSet[object] = weakref.WeakSet()
        self.inherited: list[object] = []
        self.used = False
        self.registered = False
        self.lock = threading.Lock()

    def before(self) -> None:
        """Put everything to rest."""
        self.resting = list(self.all)
        for one in self.resting:
            one.rest()
        if self.used and not self.lasting:
            self.used = False
            if not _grpc_is_gone():
                _log.warning("grpc's threads did not end before a fork: the child may not be able to use grpc")

    def after_in_parent(self) -> None:
        """Let the parent go on."""
        resting, self.resting = self.resting, []
        for one in resting:
            one.resume_in_parent()

    def after_in_child(self) -> None:
        """Let the child go on."""
        self.lock = threading.Lock()
        if self.lasting:
            self.inherited += self.lasting
            gc.freeze()
        resting, self.resting = self.resting, []
        for one in resting:
            one.resume_in_child()


_HOOKS: Final = _Hooks()


def watch_over(one: Restful) -> None:
    """Put ``one`` to rest before every fork, for as long as it lives."""
    _HOOKS.all.add(one)


def check_usable() -> None:
    """Refuse to use grpc where a fork has made that impossible.

    Raises:
        ForkedEventLoop: This process was forked while an event loop was connected.
    """
    if _HOOKS.inherited:
        message = (
            "this process was forked while an event loop of its parent was connected to the coordinator, and nothing "
            "of grpc can be used in such a child: have the parent call `await app.aclose()` before it forks, or start "
            'a new process instead (subprocess, multiprocessing\'s "spawn")'
        )
        raise ForkedEventLoop(message)


def outlives(channel: object) -> None:
    """Say that a channel of an event loop was opened, which a fork leaves open."""
    _HOOKS.lasting.add(channel)
    channel_opened()


def ended(channel: object) -> None:
    """Say that a channel of an event loop was closed."""
    _HOOKS.lasting.discard(channel)


def channel_opened() -> None:
    """Say that a channel was opened; the first one registers the hooks, after grpc has registered its own."""
    with _HOOKS.lock:
        _HOOKS.used = True
        if not _HOOKS.registered and hasattr(os, "register_at_fork"):
            _HOOKS.registered = True
            os.register_at_fork(
                before=_HOOKS.before,
                after_in_parent=_HOOKS.after_in_parent,
                after_in_child=_HOOKS.after_in_child,
            )


def _grpc_is_gone() -> bool:
    """Let go of grpc's objects and wait until its threads have ended; False where they do not."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        # The objects of a finished call refer to each other; grpc's core ends with the last of them.
        gc.collect()
        if not os.path.isdir(_TASKS):
            # No way to see the threads on this system: give them the time that they need.
            time.sleep(0.05)
            return True
        soon = time.monotonic() + 0.02
        while time.monotonic() < soon:
            if not _grpc_threads():
                return True
            time.sleep(0.0005)
        if time.monotonic() > deadline:
            return False


def _grpc_threads() -> bool:
    """Return whether a thread of grpc's runs: of its core, or the one that waits for all event loops."""
    if any(thread.name.endswith(_POLLER) for thread in threading.enumerate()):
        return True
    for task in os.listdir(_TASKS):
        with contextlib.suppress(OSError), open(f"{_TASKS}/{task}/comm") as name:  # a thread that ends meanwhile
            if name.read().startswith(_NAMES):
                return True
    return False
