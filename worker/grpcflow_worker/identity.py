"""Who a worker is, and how it says so in the first message of a stream. Pure data: this file may NOT do I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpcflow_protos import limits
from grpcflow_protos.v1 import command_pb2, limit_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a worker says about itself in each hello, and does not change.

    Attributes:
        name: the worker's name.
        secret: 16 random bytes that prove that a later stream is the same session.
        tasks: names of the tasks it can run.
        concurrency: how many tasks it runs at once.
        version, host, process_id, executor: for people.
        task_facts, queue_facts: limits and batches of its tasks, limits of queues.
        labels, commands: labels by which commands can reach it, and commands that its app defines.
    """

    name: str
    secret: bytes
    tasks: tuple[str, ...]
    concurrency: int
    version: str = ""
    host: str = ""
    process_id: int = 0
    executor: str = ""
    task_facts: tuple[limit_pb2.TaskFacts, ...] = ()
    queue_facts: tuple[limit_pb2.QueueFacts, ...] = ()
    labels: tuple[str, ...] = ()
    commands: tuple[command_pb2.CommandInfo, ...] = ()

    def hello(
        self, queues: Mapping[str, int], held: Sequence[pb.Held], *, capacity: int, draining: bool
    ) -> pb.WorkerHello:
        """Return the hello of a stream.

        Args:
            queues: the queues it serves, with their weights.
            held: the attempts that it holds.
            capacity: how many it will hold at once.
            draining: True where it wants no new ones.
        """
        return pb.WorkerHello(
            revision=limits.REVISION,
            features=limits.FEATURES,
            name=self.name,
            session=self.secret,
            queues=queues,
            weights=told_weights(queues),
            tasks=self.tasks,
            capacity=capacity,
            held=held,
            draining=draining,
            version=self.version,
            host=self.host,
            process_id=self.process_id,
            concurrency=self.concurrency,
            executor=self.executor,
            task_facts=self.task_facts,
            queue_facts=self.queue_facts,
            labels=self.labels,
            commands=self.commands,
        )


def told_weights(queues: Mapping[str, int]) -> list[int]:
    """Return the weights as the wire has them: nothing where all are the same."""
    weights = list(queues.values())
    return weights if any(weight != 1 for weight in weights) else []


def version() -> str:
    """Return the version of this package; "" where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version("grpcflow")
    except metadata.PackageNotFoundError:
        return ""
