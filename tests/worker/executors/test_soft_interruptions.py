"""Where the soft signal finds a child: what of its code may be interrupted, and for which attempt."""

import mmap
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from grpcflow import Grpcflow, Task
from grpcflow_worker.executor import Call, CallRun, Ended
from grpcflow_worker.executors.frames import MARK, SOFT_RAISED, SOFT_RAISED_AT, SOFT_WANTED, SOFT_WANTED_AT
from grpcflow_worker.executors.soft import SoftLimit
from grpcflow_worker.invoke import Invoke, Invoker

TOKEN = 7


class Signalled:
    """A child's soft limit, and a signal that comes when it is told to."""

    def __init__(self, page: mmap.mmap) -> None:
        self.page = page
        self.limit = SoftLimit(page)
        MARK.pack_into(page, 0, 0.0, TOKEN)
        SOFT_WANTED.pack_into(page, SOFT_WANTED_AT, TOKEN)

    def come(self, frame: FrameType | None = None) -> None:
        """Interrupt the caller, as the signal does."""
        self.limit._told(0, frame or sys._getframe(1))

    def raised(self) -> bool:
        return bool(SOFT_RAISED.unpack_from(self.page, SOFT_RAISED_AT)[0] == TOKEN)


@pytest.fixture
def signalled() -> Iterator[Signalled]:
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        yield Signalled(page)


def bound(app: Grpcflow, name: str, token: int = TOKEN) -> Invoke:
    payload = b"[[],{}]"
    run = CallRun(call=Call(task=name), graph=bytes(16), first=0, token=token, payloads=[payload])
    return Invoker(app, hostname="w1").bind(run)


def test_what_prepares_the_next_run_is_not_interrupted_for_the_attempt_before_it(
    signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Grpcflow("soft")
    app.task(name="next")(lambda: 1)
    looked: list[str] = []

    def overrides(_task: Task[..., Any]) -> bool:
        signalled.come()
        looked.append("at the handlers")
        return False

    monkeypatch.setattr("grpcflow_worker.invoke.overrides", overrides)
    end = bound(app, "next", TOKEN + 1)(0)
    assert (end, looked, signalled.raised()) == (b"1", ["at the handlers"], False)


def test_a_task_is_interrupted(signalled: Signalled) -> None:
    app = Grpcflow("soft")
    app.task(name="long")(lambda: signalled.come())
    end = bound(app, "long")(0)
    assert isinstance(end, Ended)
    assert end.kind == "failure"
    assert b"SoftTimeLimitExceeded" in end.failure
    assert signalled.raised()
