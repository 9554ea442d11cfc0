"""The side of the protocol that runs in the peers' own Python: one process measures one peer.

A driver prints a JSON line for what it is, one before each step and one for each figure, and `done` at its end. It
catches nothing: a step that fails ends it with a traceback, and the other side says so, ends whatever is left of its
session and starts it again with the steps that remain. This file knows no peer and imports nothing of grpcflow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.plan import FOLDER_PREFIX, STEPS
from benchmarks.processes import cpu_seconds, family
from benchmarks.rows import Sizes

#: Seconds that the workers get, after one of them has answered, to be there all.
SETTLE = 1.0


class NoWay(Exception):
    """The peer has no way to do a step; the text says why."""


class Peer:
    """A task system under measurement, and how it does each step at its best.

    Class attributes: `settings` says how it is set up, `durability` what is on disk when a submit has returned,
    `packages` whose versions are told. The working directory is an empty folder of the driver's own.
    """

    settings = ""
    durability = ""
    packages: Sequence[str] = ()

    def open(self) -> None:
        """Start the broker and connect to it; no worker may run yet.

        Raises:
            NoWay: the machine lacks what the peer needs.
        """

    def start_workers(self) -> None:
        """Start two worker processes.

        Raises:
            NoWay: nothing that needs a worker can be compared.
        """
        raise NotImplementedError

    def clear(self) -> None:
        """Drop every task that waits."""
        raise NotImplementedError

    def close(self) -> None:
        """End what does not bear being killed."""

    def submit(self, count: int) -> None:
        """Submit `add` so many times, the fastest way there is; return when the broker has them all."""
        raise NotImplementedError

    def one(self, number: int) -> int:
        """Run `add(number, 1)` and return its result."""
        raise NotImplementedError

    def group(self, count: int) -> list[int]:
        """Run `add(i, i)` for every i below count at once, and return the results."""
        raise NotImplementedError

    def chord(self, count: int) -> int:
        """Run the same, and have a task add up the results; return the sum."""
        raise NoWay("it has no chord")

    def chords(self, count: int, each: int) -> int:
        """Run so many chords of so many members at once, and have a task add up their sums."""
        raise NoWay("it has no chord")

    def chain(self, steps: int) -> int:
        """Run `add(0, 1)` and then `add(1)` to what came before, in all so many times; return the last result."""
        raise NoWay("it has no chain")

    def echoes(self, texts: list[str]) -> list[str]:
        """Run `echo` of every text at once, and return the results."""
        raise NotImplementedError


def start(*command: str, log: str = "workers", user: str | None = None) -> subprocess.Popen[bytes]:
    """Start a process of the peer with the commands of this Python; what it prints goes to a file beside.

    Args:
        command: what to run; a name alone is looked for beside this Python first.
        log: the name of the file.
        user: whom it runs as; None: as this process.
    """
    path = Path(sys.executable).parent / command[0]
    whole = [str(path) if path.exists() else command[0], *command[1:]]
    with Path(f"{log}.log").open("ab") as file:
        return subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=file, stderr=file, user=user)


class _Steps:
    """The steps, timed and checked; each returns its figures and how many tasks they are of."""

    def __init__(self, peer: Peer, sizes: Sizes) -> None:
        self._peer = peer
        self._sizes = sizes

    def submit(self) -> tuple[dict[str, float], int]:
        count = self._sizes.tasks
        seconds, _ = _timed(lambda: self._peer.submit(count))
        return {"submit": count / seconds}, count

    def bulk(self) -> tuple[dict[str, float], int]:
        count = self._sizes.tasks
        before = _cpu()
        seconds, values = _timed(lambda: self._peer.group(count))
        used = _cpu() - before
        _check(values, [2 * i for i in range(count)])
        return {"bulk": count / seconds, "cpu": used / count * 1e6}, count

    def latency(self) -> tuple[dict[str, float], int]:
        times = []
        count = self._sizes.calls
        for number in range(count):
            seconds, value = _timed(lambda number=number: self._peer.one(number))  # type: ignore[misc]
            _check(value, number + 1)
            times.append(seconds * 1e3)
        times.sort()
        return {"latency_p50": times[count // 2], "latency_p99": times[int(count * 0.99)]}, count

    def group(self) -> tuple[dict[str, float], int]:
        count = self._sizes.members
        seconds, values = _timed(lambda: self._peer.group(count))
        _check(values, [2 * i for i in range(count)])
        return {"group": seconds * 1e3}, count

    def chord(self) -> tuple[dict[str, float], int]:
        count = self._sizes.members
        seconds, value = _timed(lambda: self._peer.chord(count))
        _check(value, count * (count - 1))
        return {"chord": seconds * 1e3}, count

    def chords(self) -> tuple[dict[str, float], int]:
        count, each = self._sizes.chords, self._sizes.chord_members
        seconds, value = _timed(lambda: self._peer.chords(count, each))
        _check(value, count * each * (each - 1))
        return {"chords": seconds * 1e3}, count * each

    def chain(self) -> tuple[dict[str, float], int]:
        count = self._sizes.steps
        seconds, value = _timed(lambda: self._peer.chain(count))
        _check(value, count)
        return {"chain": seconds * 1e3}, count

    def payloads(self) -> tuple[dict[str, float], int]:
        texts = [f"{i:08}".ljust(self._sizes.payload_bytes, "x") for i in range(self._sizes.payloads)]
        _check(self._peer.echoes(texts), texts)  # as for grpcflow: the second of two runs is timed
        seconds, values = _timed(lambda: self._peer.echoes(texts))
        _check(values, texts)
        return {"payloads": seconds * 1e3}, len(texts)


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = act()
    return time.perf_counter() - start, value


def _check(found: Any, expected: Any) -> None:
    if found != expected:
        raise RuntimeError(f"wrong results: {str(found)[:100]} for {str(expected)[:100]}")


def _cpu() -> float:
    """The CPU seconds of this process and of all that it started: broker, workers and client."""
    return cpu_seconds(family(os.getpid()))


def _end_with_the_parent() -> None:
    """End our process group, and drop our folder, when the other side is gone, however it went: then our input ends."""
    sys.stdin.buffer.read()
    if Path.cwd().name.startswith(FOLDER_PREFIX):
        shutil.rmtree(Path.cwd(), ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _start_workers(peer: Peer, sizes: Sizes) -> None:
    """Start the workers, and have them import and connect before anything is timed."""
    peer.start_workers()
    _check(peer.one(1), 2)
    time.sleep(SETTLE)
    peer.group(min(sizes.tasks, 1_000))


def _measure(peer: Peer, steps: list[str], sizes: Sizes, say: Callable[..., None]) -> None:
    """Run the steps in order; the workers start behind the one that wants none."""
    timed = _Steps(peer, sizes)
    working = False
    for step in steps:
        try:
            if step != "submit" and not working:
                _start_workers(peer, sizes)
                working = True
            say(begin=step)
            figures, count = getattr(timed, step)()
        except NoWay as reason:
            say(left_out=step, reason=str(reason))
            continue
        for measure, value in figures.items():
            say(measure=measure, value=value, count=count)
        say(end=step)
        if step == "submit":
            peer.clear()


def main(peer: Peer) -> None:
    """Measure a peer as the command line says, and print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description="Measure one peer; see benchmarks.peers.")
    parser.add_argument("--steps", required=True, help="names of steps with commas between")
    parser.add_argument("--sizes", required=True, help="the sizes as JSON")
    options = parser.parse_args()
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a peer prints is no line of ours

    def say(**fields: object) -> None:
        lines.write(json.dumps(fields) + "\n")
        lines.flush()

    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    steps = sorted(options.steps.split(","), key=list(STEPS).index)
    try:
        peer.open()
    except NoWay as reason:
        for step in steps:
            say(left_out=step, reason=str(reason))
        say(done=True)
        return
    versions = ", ".join(f"{name} {version(name)}" for name in peer.packages)
    say(settings=f"{peer.settings} ({versions})" if versions else peer.settings, durability=peer.durability)
    _measure(peer, steps, Sizes(**json.loads(options.sizes)), say)
    peer.close()
    say(done=True)
