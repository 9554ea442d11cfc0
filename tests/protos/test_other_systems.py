"""Systems and C libraries that lack what the daemons ask for: they do without."""

import os
import signal
import sys
from collections.abc import Callable

import pytest

from grpcflow_protos import first_process, freed_memory


def test_a_python_without_ctypes_keeps_no_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert not freed_memory.keep_freed_memory()


def never(what: str) -> Callable[..., int]:
    """Return what stands in for something that must not be called."""

    def called(*_: object) -> int:
        raise AssertionError(f"{what} was called")

    return called


def test_where_signals_cannot_be_waited_for_the_process_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "sigwaitinfo")
    monkeypatch.setattr(os, "fork", never("fork"))
    first_process.look_after(never("the end"))
