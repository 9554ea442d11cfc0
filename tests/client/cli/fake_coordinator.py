"""A coordinator with workers that answers the command line in memory; written by hand, like the real thing.

It stands in for `grpcflow.connection.Connection`: the same methods, no network, and a list of what was asked.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from tests.support.awaited import AlsoAwaited

from grpcflow import errors
from grpcflow.settled import Settled
from grpcflow.targets import Targets
from grpcflow_protos.v1 import control_service_pb2 as control_pb2
from grpcflow_protos.v1 import graph_pb2, value_pb2


@dataclass
class FakeReply:
    worker: str
    status: Literal["answered", "no_reply", "disconnected"] = "answered"
    reply: Any = None
    error: str = ""


@dataclass
class FakeSettled:
    state: str
    data: bytes | None = None
    content_type: str = ""
    value: value_pb2.Value | None = None
    failure: value_pb2.Failure | None = None
    settled_at: Any = None
    worker: str = ""
    retries: int = 0


@dataclass
class FakeWorker:
    """One connected worker: its answers by question, and how it behaves."""

    name: str
    answers: dict[str, Any] = field(default_factory=dict)
    status: Literal["answered", "no_reply", "disconnected"] = "answered"
    error: str = ""
    info: dict[str, Any] = field(default_factory=dict)


def _is_meant(worker: FakeWorker, targets: Targets | None) -> bool:
    """Of the ways to choose workers, it knows queues only; a worker without any is always meant."""
    queues = worker.info.get("queues")
    return not (targets and targets.queues and queues) or bool(set(targets.queues) & set(queues))


class FakeConnection(AlsoAwaited):
    """The connection that commands talk to."""

    def __init__(self, *workers: FakeWorker) -> None:
        self.workers = {worker.name: worker for worker in workers}
        self.asked: list[tuple[str, str, dict[str, Any], tuple[str, ...], float]] = []
        self.revokes: list[tuple[list[str], bool, str]] = []
        self.results: dict[str, FakeSettled] = {}
        self.settles_later: dict[str, FakeSettled] = {}
        self.submitted: list[graph_pb2.GraphChunk] = []
        self.settle_submitted: FakeSettled | None = None
        self.news: list[Settled] = []
        self.pending_submitted = False
        self.queues = control_pb2.ListQueuesResponse()
        self.error: Exception | None = None
        self.closed = threading.Event()
        #: Commands that there are, and the targets of what was asked of some workers only.
        self.commands: list[control_pb2.AvailableCommand] = []
        self.targets: list[Targets] = []

    def _ask(
        self,
        kind: str,
        command: str,
        arguments: Mapping[str, Any],
        destination: Sequence[str],
        timeout: float,
        targets: Targets | None = None,
        on_reply: Callable[[Any], None] | None = None,
    ) -> list[FakeReply]:
        if self.error is not None:
            raise self.error
        if targets is not None:
            self.targets.append(targets)
        self.asked.append((kind, command, json.loads(json.dumps(arguments)), tuple(destination), timeout))
        replies = [self._answer(worker, command) for worker in self._targets(destination) if _is_meant(worker, targets)]
        if on_reply is not None:
            for reply in replies:
                on_reply(reply)
        return replies

    def close(self) -> None:
        self.closed.set()

    def list_commands(self) -> list[control_pb2.AvailableCommand]:
        return self.commands

    def _targets(self, destination: Sequence[str]) -> list[FakeWorker]:
        if not destination:
            return list(self.workers.values())
        targets = []
        for name in destination:
            found = [worker for worker in self.workers.values() if name in (worker.name, worker.name.split("@")[0])]
            if not found:
                raise errors.UnknownDestination(f"no worker {name!r}", known=tuple(self.workers))
            targets += found
        return targets

    def _answer(self, worker: FakeWorker, command: str) -> FakeReply:
        if worker.status != "answered":
            return FakeReply(worker.name, worker.status)
        if worker.error:
            return FakeReply(worker.name, error=worker.error)
        return FakeReply(worker.name, reply=worker.answers.get(command, {"ok": "pong"}))

    def inspect(
        self, command: str, arguments: Mapping[str, Any], destination: Sequence[str], timeout: float, **more: Any
    ) -> list[FakeReply]:
        return self._ask("inspect", command, arguments, destination, timeout, **more)

    def control(
        self, command: str, arguments: Mapping[str, Any], destination: Sequence[str], timeout: float, **more: Any
    ) -> list[FakeReply]:
        return self._ask("control", command, arguments, destination, timeout, **more)

    def revoke(self, ids: Sequence[str], terminate: bool, signal: str) -> control_pb2.RevokeResponse:
        self.revokes.append((list(ids), terminate, signal))
        unknown = [task_id for task_id in ids if task_id.startswith("unknown")]
        return control_pb2.RevokeResponse(revoked=len(ids) - len(unknown), unknown=unknown)

    def list_workers(self) -> list[control_pb2.WorkerInfo]:
        return [control_pb2.WorkerInfo(name=worker.name, **worker.info) for worker in self.workers.values()]

    def list_queues(self) -> control_pb2.ListQueuesResponse:
        return self.queues

    def lookup(self, ids: Sequence[str], *, states_only: bool = False) -> list[FakeSettled | None]:
        del states_only
        return [self.results.get(task_id) for task_id in ids]

    def submit(self, chunks: Sequence[graph_pb2.GraphChunk], *, timeout: float | None = None) -> None:
        del timeout
        self.submitted += chunks
        task_id = str(UUID(bytes=chunks[0].graph + bytes(4)))
        if self.settle_submitted is not None:
            self.settles_later[task_id] = self.settle_submitted
        if self.pending_submitted:
            self.results[task_id] = FakeSettled("PENDING")

    def arrivals(self, ids: Sequence[str], *, timeout: float | None, progress: bool = False) -> Iterator[Any]:
        for told in self.news if progress else ():
            yield ids[0], told
        yield from self.wait(ids, timeout=timeout).items()

    def wait(self, ids: Sequence[str], *, timeout: float | None, on_result: Any = None) -> dict[str, FakeSettled]:
        del on_result
        for task_id in ids:
            if task_id not in self.settles_later:
                if task_id not in self.results:
                    raise errors.NotFound(f"no task {task_id}")
                raise errors.TimeoutError(f"{len(ids)} missing after {timeout} s")
        return {task_id: self.settles_later[task_id] for task_id in ids}
