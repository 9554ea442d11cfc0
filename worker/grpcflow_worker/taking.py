"""Takes the signals of the operating system while a worker runs, and gives them back after it.

What they mean stands in `leaving`; this file may NOT decide anything, nor know tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Final

from grpcflow_worker.leaving import SIGNALS
from grpcflow_worker.logs import log_stream

#: Asks for the stacks of all threads, in the log.
DUMP: Final = int(getattr(signal, "SIGUSR1", 0))

#: What the end of a terminal sends.
HANGUP: Final = int(getattr(signal, "SIGHUP", 0))

_log = logging.getLogger("grpcflow.worker")


@contextlib.contextmanager
def signal_handlers(signalled: Callable[[int], None], dump_children: Callable[[], None]) -> Iterator[None]:
    """Take the signals for as long as the body runs; in no other thread than the main one, and not on Windows.

    Args:
        signalled: called on the event loop with the number of a signal to leave.
        dump_children: called there when stacks were asked for; those of this process are dumped without it.
    """
    loop = asyncio.get_running_loop()
    taken: list[int] = []
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN and number == HANGUP:
            continue  # whoever started us, nohup for one, wants us to outlive the terminal
        if _take(loop, number, signalled, number):
            taken.append(number)
    dumps = bool(DUMP) and _take(loop, DUMP, dump_children)
    if dumps:
        # Not by the event loop: it is what may be stuck. The handler of the loop is called after it.
        faulthandler.register(DUMP, file=log_stream(), all_threads=True, chain=True)
    try:
        yield
    finally:
        if dumps:
            faulthandler.unregister(DUMP)
            taken.append(DUMP)
        for number in taken:
            loop.remove_signal_handler(number)


def in_terminal() -> bool:
    """True where this process reads from a terminal, whose end will send it SIGHUP."""
    try:
        return os.isatty(0)
    except OSError:
        return False  # it has no standard input at all


def _take(loop: asyncio.AbstractEventLoop, number: int, handler: Callable[..., None], *arguments: int) -> bool:
    try:
        loop.add_signal_handler(number, handler, *arguments)
    except (NotImplementedError, RuntimeError, ValueError):
        # Windows, or not the main thread (a test, an embedding program): whoever runs us calls drain().
        _log.debug("signal %d is not handled here", number)
        return False
    return True
