"""The history of a run: what clients called and saw, what tasks ran, what was hurt, and what is there at the end.

Each record is one line of JSON, written by one `write` to a file opened with O_APPEND: a process that is killed leaves
whole lines. Times are those of the monotonic clock, which all processes of a host share. May NOT judge anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Promise:
    """What an acknowledged call is to come to.

    Attributes:
        node: id of the call.
        value: what it returns.
        how: `value`: this and nothing else; `once`: it may have been lost with its worker instead, and runs once at
            most; `revoked`: it was revoked, or had run before; `shared`: what another call of the same key returned.
        key: key of the call that gives the value; empty for one that only gathers others.
    """

    node: str
    value: Any
    how: str = "value"
    key: str = ""


@dataclass(frozen=True, slots=True)
class Invoked:
    """A client begins an operation; `about` is the node that a revoke is for."""

    at: float
    op: str
    kind: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """An operation ended: `ok`, `error` (refused for good) or `unknown` (it may have happened)."""

    at: float
    op: str
    how: str
    promises: tuple[Promise, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Saw:
    """A client was told what a call came to: SUCCESS and its value, or the name of an exception."""

    at: float
    op: str
    node: str
    state: str
    value: Any


@dataclass(frozen=True, slots=True)
class Begun:
    """A run of a task began; by the task itself."""

    at: float
    node: str
    token: int
    retries: int
    key: str
    task: str
    pid: int
    parent: int
    worker: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The run of an attempt ended in the task's own code."""

    at: float
    node: str
    token: int


@dataclass(frozen=True, slots=True)
class Hit:
    """Something was hurt from `at` until `until`.

    Attributes:
        kind: `kill`, `stop`, `cut`, `part` or `leave`.
        role: `coordinator`, `worker`, `child` or `client`.
        name: whose.
        pids: the processes that were hurt; one of them stands for its children. A worker goes by its name instead.
    """

    at: float
    until: float
    kind: str
    role: str
    name: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the records say of a node once all has healed; state as in `Saw`, or PENDING where it is not settled."""

    node: str
    state: str
    value: Any


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A graph that has not ended though all has healed and nothing moves."""

    graph: str
    note: str


@dataclass(frozen=True, slots=True)
class Ticks:
    """A schedule that fired from `first` to `last`, in milliseconds since 1970, every `period`."""

    task: str
    first: int
    last: int
    period: int


Record = Invoked | Answered | Saw | Begun | Ended | Hit | Outcome | Unfinished | Ticks

_KINDS: Final[dict[str, type[Record]]] = {
    one.__name__: one for one in (Invoked, Answered, Saw, Begun, Ended, Hit, Outcome, Unfinished, Ticks)
}


class Journal:
    """One file of a history, for appending.

    Args:
        path: where it is; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, *records: Record) -> None:
        """Append records; they are there, whole, even if the process is killed right after.

        Raises:
            OSError: the file took a part only, as where a disk is full.
        """
        data = "".join(f"{json.dumps([type(one).__name__, asdict(one)])}\n" for one in records).encode()
        if os.write(self._file, data) != len(data):
            raise OSError("the history could not be written whole: give it room")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


@dataclass(slots=True)
class History:
    """All records of a run, by kind, each kind in the order of its files."""

    invoked: list[Invoked] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    saw: list[Saw] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    hit: list[Hit] = field(default_factory=list)
    outcome: list[Outcome] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    ticks: list[Ticks] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take one more record."""
        getattr(self, type(record).__name__.lower()).append(record)


def records_of(path: Path) -> Iterator[Record]:
    """Yield the records of one file.

    Raises:
        ValueError: a line is none.
    """
    with path.open(encoding="utf-8") as file:
        for line in file:
            name, fields = json.loads(line)
            if name == "Answered":
                fields["promises"] = tuple(Promise(**one) for one in fields["promises"])
            if name == "Hit":
                fields["pids"] = tuple(fields["pids"])
            yield _KINDS[name](**fields)


def history_in(folder: Path) -> History:
    """Return the history that is in the files `*.jsonl` of a folder."""
    made = History()
    for path in sorted(folder.glob("*.jsonl")):
        for record in records_of(path):
            made.add(record)
    return made
