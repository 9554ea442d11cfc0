"""A driver whose peer does everything in its head, and misbehaves in the step that MISBEHAVE names, as `how:step`."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.peers import driver
from benchmarks.peers.driver import NoWay, Peer, main

HOW, _, STEP = os.environ.get("MISBEHAVE", ":").partition(":")


class FakePeer(Peer):
    settings = "in its head"
    durability = "nothing is durable"
    packages = ("psutil",)

    def __init__(self) -> None:
        self._working = False
        self._waiting = 0

    def _misbehave(self, step: str) -> None:
        if step == STEP and HOW == "hang":
            threading.Event().wait()
        if step == STEP and HOW == "fail":
            raise OSError("the peer fell over")

    def open(self) -> None:
        if HOW == "lack":
            raise NoWay("the machine lacks a server")
        self._misbehave("open")
        print("a peer's own words on standard output are no figures")
        notes = os.environ.get("NOTES")
        if notes:
            self._leave_processes(Path(notes))

    def _leave_processes(self, notes: Path) -> None:
        """Starts what a kill of the driver's process group alone would leave behind."""
        forever = [sys.executable, "-c", "import threading; threading.Event().wait()"]
        kinds = ({"process_group": 0}, {"start_new_session": True})
        pids = [os.getpid(), *(subprocess.Popen(forever, **kind).pid for kind in kinds)]
        with notes.open("a") as file:
            file.write(" ".join(map(str, pids)) + "\n")

    def submit(self, count: int) -> None:
        self._misbehave("submit")
        if self._working:
            raise RuntimeError("a worker ran while tasks were submitted that nobody should take")
        self._waiting = count

    def clear(self) -> None:
        self._waiting = 0

    def start_workers(self) -> None:
        if self._waiting:
            raise RuntimeError("the workers would find what was submitted before")
        self._working = True

    def one(self, number: int) -> int:
        return number + 1

    def group(self, count: int) -> list[int]:
        return [2 * i for i in range(count)]

    def chain(self, steps: int) -> int:
        self._misbehave("chain")
        return steps + (HOW == "lie")

    def echoes(self, texts: list[str]) -> list[str]:
        self._misbehave("payloads")
        return list(texts)


if __name__ == "__main__":
    driver.SETTLE = 0
    main(FakePeer())
