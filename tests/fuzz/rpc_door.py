"""The rpcs: every method of every service, with bytes, with messages that are nearly right, and in any order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from tests.fuzz import readers
from tests.fuzz.judging import Finding, Lines, judged
from tests.fuzz.making import Fitting, Maker, bent, junk
from tests.fuzz.world import Aborted, DigestedStore, World, sooner_or_later

from grpcflow_coordinator.core.model import text_id
from grpcflow_protos import limits
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    event_service_pb2,
    graph_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    worker_service_pb2,
)

#: Inputs that one coordinator gets, before it is looked at, restarted and asked to work.
WORLD: Final = 400

#: Messages of each method that were taken and are kept, to be changed.
KEPT: Final = 40

_MODULES: Final = (
    client_service_pb2,
    control_service_pb2,
    event_service_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    worker_service_pb2,
)

#: Methods, as paths, and the types of their messages.
TYPES: Final[dict[str, Descriptor]] = {
    f"/{service.full_name}/{method.name}": method.input_type
    for module in _MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

#: Methods that lead deepest, and are called more often.
OFTEN: Final = tuple(
    f"/grpcflow.v1.{name}"
    for name in (
        *("ClientService/Submit", "ClientService/Session", "WorkerService/Work", "WorkerService/Work"),
        "ScheduleService/PutSchedules",
    )
)

_QUEUES: Final = ("default", "q1", "q2")
_TASKS: Final = ("t", "u", "v")
_COMMANDS: Final = ("ping", "stats", "active", "reserved", "scheduled", "revoked", "conf", "shutdown", "rate_limit")
_JSON: Final = (b"", b"{}", b"[]", b"[[],{}]", b"null", b'{"task": "t"}', b'{"a": [1, 2.5, "x"]}', b"\xff", b"{")
_FIELDS: Final = ("*", "*/5", "0", "1-5", "59", "7", "60", "1,2,3", "sun", "*/0", "5-1", "")


def mint(rng: random.Random, wall_ms: int) -> bytes:
    """Returns the id of a new graph."""
    return wall_ms.to_bytes(6, "big") + b"\x70" + rng.randbytes(1) + b"\x80" + rng.randbytes(3)


class Known:
    """What is there in a world, for messages that name it."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng, self.world = rng, world
        self.graphs = [mint(rng, world.wall_ms) for _ in range(3)]
        self._looked = 0
        self.sessions = [rng.randbytes(16) for _ in range(2)]

    def graph(self, rng: random.Random) -> bytes:
        """Returns the id of a graph that may be there, or of a new one."""
        if rng.random() < 0.3:
            self.graphs = [*self.graphs[-20:], mint(rng, self.world.wall_ms)]
            return self.graphs[-1]
        return rng.choice(self.graphs)

    def look(self) -> None:
        """Look now and then which graphs there are."""
        self._looked += 1
        if self._looked % 10 == 0:
            there = self.world.engine.committed.all_graphs()
            self.graphs = [*self.graphs[-4:], *self.rng.sample(there, min(len(there), 16))]

    def node(self, rng: random.Random) -> bytes:
        """Returns the id of a node."""
        return rng.choice(self.graphs) + rng.choice((0, 0, 1, 2, 3, 2**32 - 1)).to_bytes(4, "big")

    def token(self, rng: random.Random) -> int:
        """Returns the token of an attempt, mostly of one that runs."""
        held = list(self.world.engine.machine.cluster.attempts)
        return rng.choice(held) if held and rng.random() < 0.9 else rng.randrange(2**42)

    def id(self, rng: random.Random) -> str:
        """Returns the id of a task, a graph, a group or a schedule."""
        node = self.node(rng)
        text = text_id(node[:12], int.from_bytes(node[12:], "big"))
        return rng.choice((text, text, text, "own", "saved", "every"))

    def fitting(self) -> dict[str, Fitting]:
        """Returns what fits fields, by their names."""
        small: Fitting = lambda rng: rng.choice((0, 0, 1, 1, 2, 3))  # noqa: E731
        name = _one_of(("w1", "w2", "own", "every", *_QUEUES, *_TASKS))
        return {
            "graph": self.graph,
            **dict.fromkeys(("node", "group"), self.node),
            "session": lambda rng: rng.choice(self.sessions),
            **dict.fromkeys(("token", "tokens"), self.token),
            **dict.fromkeys(("id", "ids"), lambda rng: self.id(rng) if rng.random() < 0.8 else ""),
            **dict.fromkeys(("first", "count", "template", "parent", "children", "final", "node_count"), small),
            "last": lambda rng: int(rng.random() < 0.9),
            "revision": lambda _: 1,
            "sequence": lambda rng: rng.choice((0, 0, 0, 1, 2, 3)),
            "priority": lambda rng: rng.randrange(10),
            **dict.fromkeys(("name", "names", "destination", "worker", "label"), name),
            "outcome": lambda _: 0,
            **dict.fromkeys(("queue", "queues"), _one_of(_QUEUES)),
            **dict.fromkeys(("task", "tasks"), _one_of(_TASKS)),
            "command": _one_of(_COMMANDS),
            **dict.fromkeys(("payloads", "arguments", "data", "values", "payload", "fields"), _one_of(_JSON)),
            "content_type": _one_of(("", "", limits.SERIALIZERS[1], limits.CONTENT_TYPES[5])),
            "headers_content_type": _one_of(("", "", limits.SERIALIZERS[1])),
            "time_zone": _one_of(("", "UTC", "Europe/Berlin")),
            **dict.fromkeys(("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), _one_of(_FIELDS)),
            "state": _one_of(("PROGRESS", "BUSY")),
            "signal": _one_of(("", "SIGTERM", "SIGKILL", "TERM")),
            "seconds": _one_of((0, 1, 60, -1, self.world.wall_ms // 1000, self.world.wall_ms // 1000 + 60)),
            "nanos": _one_of((0, 0, 500_000_000)),
            "capacity": _one_of((0, 1, 10)),
            "timeout_ms": _one_of((0, 1, 10)),
        }


def _one_of(choices: tuple[Any, ...]) -> Fitting:
    return lambda rng: rng.choice(choices)


class Caller:
    """Makes the inputs of one world and calls with them.

    Args:
        seed: the seed of the run.
        first: the number of its first input.
        methods: which are called; none: all.
    """

    def __init__(self, seed: int, first: int, methods: tuple[str, ...] = ()) -> None:
        self.rng = random.Random(f"{seed} rpc {first}")
        self.world = World()
        self.known = Known(self.rng, self.world)
        self.maker = Maker(self.rng, self.known.fitting())
        self.kept: dict[str, list[bytes]] = {}
        self.methods = list(methods or TYPES)

    async def run(self, count: int) -> None:
        """Call so many times; then see that nothing is broken, restart, and see that it works."""
        with Lines() as lines:
            asyncio.get_running_loop().set_exception_handler(lambda _, told: lines.lines.append(str(told)))
            await self.world.start()
            for number in range(count):
                method = self.rng.choice(OFTEN if self.rng.random() < 0.35 else self.methods)
                shown = Shown(number, method)
                with judged(shown):
                    try:
                        await self.one(shown)
                    finally:
                        lines.check()
            with judged(f"the state after {count} inputs"):
                await self.survey()
                self.world.check_state()
                await self.world.stop()
                await self._restarted()
                lines.check()

    async def survey(self) -> None:
        """Look at all that there is, as a client does that reads it."""
        asked: list[tuple[str, Message]] = [
            ("EventService/ReadEvents", event_service_pb2.ReadEventsRequest(limit=1_000)),
            ("ControlService/ListLimits", control_service_pb2.ListLimitsRequest()),
            ("ControlService/ListRetention", control_service_pb2.ListRetentionRequest()),
            ("GraphService/ListGraphs", graph_service_pb2.ListGraphsRequest(limit=1_000)),
            ("ScheduleService/ListSchedules", schedule_service_pb2.ListSchedulesRequest(next=3)),
        ]
        for graph in self.world.engine.committed.all_graphs()[:20]:
            asked += [
                ("GraphService/GetGraph", graph_service_pb2.GetGraphRequest(id=text_id(graph, 0))),
                ("GraphService/Explain", graph_service_pb2.ExplainRequest(id=text_id(graph, 0))),
            ]
        for name, request in asked:
            method = f"/grpcflow.v1.{name}"
            answers = await self.world.call(method, [request.SerializeToString()])
            if not isinstance(answers, Aborted):  # of a graph whose every node was forgotten nothing is told
                readers.read(method, answers)

    def _length(self, method: str) -> int:
        return self.rng.choice((1, 2, 2, 3, 5, 9)) if self.world.takes_many(method) else 1

    async def one(self, shown: Shown) -> None:
        """Call once, and note what is sent."""
        later = sooner_or_later(self.rng)
        # A schedule may catch up all that it has missed, ten times for each second.
        await self.world.pass_time(min(later, 1_000) if self.world.engine.machine.cluster.schedules else later)
        self.known.look()
        sent = self._inputs(shown, self._length(shown.method))
        outcome = await self.world.call(shown.method, sent, self.rng.choice((20, 60, 60, 300)))
        if not isinstance(outcome, Aborted):
            readers.read(shown.method, outcome)
            kept = self.kept.setdefault(shown.method, [])
            kept.extend(shown.messages)
            del kept[:-KEPT]

    def _inputs(self, shown: Shown, count: int) -> Iterator[bytes]:
        for _ in range(count):
            shown.messages.append(self.input(shown.method))
            yield shown.messages[-1]

    def input(self, method: str) -> bytes:
        """Returns one message for a method."""
        kept, rng = self.kept.get(method), self.rng
        way = rng.random()
        if way < 0.05:
            return junk(rng)
        if way < 0.55 or not kept:
            made = self.maker.message(TYPES[method])
            if method.endswith(("/Work", "/Session")) and rng.random() < 0.6:
                self._in_order(made)
            if rng.random() < 0.6:
                tidy(made)
            return made.SerializeToString()
        chosen = rng.choice(kept)
        if way < 0.7:
            return bent(rng, chosen, rng.choice(kept))
        message = GetMessageClass(TYPES[method])()
        try:
            message.ParseFromString(chosen)
        except DecodeError:
            return chosen
        for _ in range(rng.choice((1, 1, 2, 4))):
            self.maker.changed(message)
        return message.SerializeToString()

    def _in_order(self, message: Any) -> None:
        """Make the message of a stream one of those that may come where it comes: a hello or none."""
        if self.rng.random() < 0.5:
            message.ClearField("hello")
        elif isinstance(message, worker_service_pb2.WorkRequest):
            given: Any = {"revision": 1, "name": "w1", "session": self.known.sessions[0], "capacity": 5}
            message.hello.MergeFrom(worker_service_pb2.WorkerHello(**given))
            for field in ("weights", "task_facts", "queue_facts"):
                message.hello.ClearField(field)
        else:
            message.hello.revision = 1

    async def _restarted(self) -> None:
        """See that another coordinator recovers from what is there, and that it takes and hands out work."""
        store = self.world.store.reopened()
        successor = DigestedStore()
        successor._map, successor._size = store._map, store._size
        world = World(successor)
        world.wall_ms, world.monotonic = self.world.wall_ms + 1_000, self.world.monotonic + 1_000
        await world.start()
        await world.settle()
        world.check_state()
        await works(world, self.rng)
        await world.stop()


async def works(world: World, rng: random.Random) -> None:
    """See that a coordinator takes a graph and runs it, whatever came before.

    Raises:
        Finding: it does not.
    """
    graph, session = mint(rng, world.wall_ms), rng.randbytes(16)
    chunk = graph_pb2.GraphChunk(
        graph=graph,
        last=True,
        node_count=1,
        templates=[graph_pb2.Template(task=graph.hex(), queue=graph.hex())],
        runs=[graph_pb2.NodeRun(count=1, payloads=[b"[[],{}]"])],
    )
    submit = client_service_pb2.SubmitRequest(chunks=[chunk])
    taken = await world.call("/grpcflow.v1.ClientService/Submit", [submit.SerializeToString()])
    hello = worker_service_pb2.WorkerHello(
        revision=1, name=graph.hex(), session=session, queues=[graph.hex()], tasks=[graph.hex()], capacity=1
    )
    first = worker_service_pb2.WorkRequest(sequence=1, hello=hello)
    answers = await world.call("/grpcflow.v1.WorkerService/Work", [first.SerializeToString()], 2_000)
    if isinstance(taken, Aborted) or isinstance(answers, Aborted):
        raise Finding(f"it takes no work any more: {taken} {answers}")
    handed = [run.graph for data in answers for run in worker_service_pb2.WorkResponse.FromString(data).runs]
    if handed != [graph]:
        raise Finding("it hands out no work any more")


def tidy(message: Message) -> None:
    """Makes the graphs in a message such as may be taken, so that what else is wrong is come to."""
    if isinstance(message, client_service_pb2.SubmitRequest):
        del message.chunks[1:]
    if isinstance(message, graph_pb2.GraphChunk):
        _tidy_chunk(message)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                tidy(inner)
    if isinstance(message, schedule_service_pb2.Schedule):
        _tidy_schedule(message)


def _tidy_schedule(schedule: schedule_service_pb2.Schedule) -> None:
    schedule.name = schedule.name or "every"
    schedule.ClearField("jitter")
    if not schedule.graph.runs:
        schedule.graph.runs.add(count=1, payloads=[b"[[],{}]"])
        _tidy_chunk(schedule.graph)
    for template in schedule.graph.templates:
        template.ClearField("eta")
        template.ClearField("expires_at")
    for run in schedule.graph.runs:
        run.ClearField("id")


def _tidy_chunk(chunk: graph_pb2.GraphChunk) -> None:
    if not chunk.templates:
        chunk.templates.add(task="t")
    chunk.sequence, chunk.last = 0, True
    chunk.ClearField("attachment")
    at = 0
    del chunk.runs[8:]
    for run in chunk.runs:
        run.first, run.template = at, run.template % len(chunk.templates)
        run.ClearField("join")
        payloads = list(run.payloads[:4]) or [b"[[],{}]"]
        run.ClearField("payloads")
        run.payloads.extend(payloads)
        run.count = len(payloads)
        run.ClearField("children")
        if run.count > 1 or not at:
            run.ClearField("inputs")
        if run.count > 1:
            run.ClearField("id")
            run.ClearField("unique_key")
        at += run.count
    chunk.node_count, chunk.outcome = max(at, 1), 0
    _tie(chunk)


def _tie(chunk: graph_pb2.GraphChunk) -> None:
    """Have each run lead to the runs that wait for it."""
    runs = list(chunk.runs)
    for run in runs:
        parents = {edge.parent % run.first: edge for edge in run.inputs} if run.first else {}
        errors = {edge.mode > 2 for edge in run.inputs}
        run.ClearField("inputs")
        for parent in parents:
            owner = next(one for one in runs if one.first <= parent < one.first + one.count)
            mode: Any = 3 if errors == {True} else 2
            run.inputs.add(parent=parent, mode=mode)
            if run.first not in owner.children:
                owner.children.append(run.first)


class Shown:
    """An input as a reader would like to see it; made only where it is shown."""

    def __init__(self, number: int, method: str) -> None:
        self.number, self.method = number, method
        self.messages: list[bytes] = []

    def __str__(self) -> str:
        return f"{self.method}, input {self.number} of its world\n" + "\n".join(map(self._text, self.messages))

    def _text(self, data: bytes) -> str:
        message = GetMessageClass(TYPES[self.method])()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return f"bytes {data[:2_000].hex()}"
        return f"message {{\n{text_format.MessageToString(message)[:6_000]}}}"


def run(seed: int, first: int, count: int, *, caller: Callable[..., Caller] = Caller) -> None:
    """Give one world its inputs; `count` of them, from number `first` on.

    Raises:
        Finding: one of them did what none may.
    """
    asyncio.run(caller(seed, first).run(count))
