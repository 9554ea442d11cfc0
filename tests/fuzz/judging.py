"""What is held against an input: time, memory, lines in the log, statuses. A breach is a `Finding`."""

from __future__ import annotations

import logging
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from google.rpc import error_details_pb2, status_pb2

from grpcflow_coordinator.errors import STATUS_OF

#: Seconds of processor time that one input may take, and seconds after which it is taken for one that hangs.
SECONDS: Final = 2.0
HANGS: Final = 10.0

#: KiB by which one input may raise the most memory that the process ever had.
GROWTH: Final = 256 * 1024

#: Bytes of what a refusal says: it travels in the trailers, of which transports take 8 KiB.
MESSAGE_BYTES: Final = 2_000

#: Fewest characters in which it can be said what to do.
MESSAGE_LEAST: Final = 15


class Finding(AssertionError):
    """An input did what none may do; the text says what, and has the input."""


class Hang(BaseException):
    """An input has taken so much processor time that it will not end; no `except Exception` may take it."""


def _on_alarm(_number: int, _frame: Any) -> None:
    raise Hang


@contextmanager
def judged(what: object) -> Iterator[None]:
    """Judge what is done inside by its time and its memory.

    Args:
        what: the input; its text is in the finding.
    """
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    previous = signal.signal(signal.SIGVTALRM, _on_alarm)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
    try:
        yield
    except Hang:
        raise Finding(f"it hangs: {what}") from None
    except Finding as error:
        raise Finding(f"{error}\n{what}") from error.__cause__
    except Exception as error:
        raise Finding(f"it raised {type(error).__name__}: {error}\n{what}") from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
    if (took := time.process_time() - began) > SECONDS:
        raise Finding(f"it took {took:.1f} s: {what}")
    if (grown := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) > GROWTH:
        raise Finding(f"it took {grown // 1024} MiB of memory: {what}")


def check_refusal(code: Any, message: str, trailers: Any) -> None:
    """Check what a call was refused with: a code of ours, with the status that belongs to it, and words.

    Args:
        code: the gRPC status.
        message: what it says.
        trailers: the metadata at the end, in which the details are.

    Raises:
        Finding: it is none that a caller can act on.
    """
    details = dict(trailers or ()).get("grpc-status-details-bin")
    if details is None:
        raise Finding(f"refused with {code} and no details: {message}")
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    if STATUS_OF.get(info.reason) is not code:
        raise Finding(f"refused with {code}, which does not belong to {info.reason!r}: {message}")
    if not MESSAGE_LEAST <= len(message.encode()) <= MESSAGE_BYTES or "Traceback" in message:
        raise Finding(f"refused with a message of {len(message)} characters: {message[:300]!r}")


class Lines(logging.Handler):
    """Gathers what is logged as an error: no input may be one.

    While it is in use, all loggers write to it.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with its traceback."""
        self.lines.append(self.format(record))

    def check(self) -> None:
        """Raise a finding where there are lines."""
        if self.lines:
            found, self.lines = "\n".join(self.lines), []
            raise Finding(f"logged as an error: {found}")

    def __enter__(self) -> Lines:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_error: object) -> None:
        logging.getLogger().removeHandler(self)
