"""The largest messages: every field that repeats, filled with one thing over and over. Nobody may wait for them long.

What a message repeats is looked through in one go, so it must have a bound that is asked before that.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.fuzz.judging import Finding
from tests.fuzz.making import Maker
from tests.fuzz.rpc_door import TYPES, Known
from tests.fuzz.world import World

from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, worker_service_pb2

#: Bytes of a message: a part of the most, so that many are tried.
BYTES: Final = limits.MESSAGE_LIMIT // 4

#: Seconds of processor time for which such a message may keep everybody waiting, beside twice what reading it takes.
SECONDS: Final = 1.0

#: Messages in messages that are gone into.
_DEPTH: Final = 3


def paths(descriptor: Descriptor, depth: int = 0) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yields the ways to all fields that repeat."""
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            continue
        if field.is_repeated:
            yield (field,)
        if inner is not None and depth < _DEPTH:
            for path in paths(inner, depth + 1):
                yield (field, *path)


#: All methods with the ways to what repeats in their messages, once with nothing in it and once with something.
PLACES: Final = [
    (method, path, empty) for method, kind in TYPES.items() for path in paths(kind) for empty in (True, False)
]


def filled(path: tuple[FieldDescriptor, ...], message: Message, maker: Maker, *, empty: bool) -> None:
    """Fills the field at the end of a way.

    Args:
        path: the way, from the message on.
        message: the message.
        maker: makes what it is filled with.
        empty: True: it is filled with nothings.
    """
    here: Any = message
    for field in path[:-1]:
        value = getattr(here, field.name)
        here = (value[0] if len(value) else value.add()) if field.is_repeated else value
        if not field.is_repeated:
            here.SetInParent()
    field = path[-1]
    values = getattr(here, field.name)
    del values[:]
    one: Any = maker._scalar(field) if field.message_type is None else GetMessageClass(field.message_type)()
    if field.message_type is not None and not empty:
        one.CopyFrom(maker.message(field.message_type))
    elif empty and isinstance(one, str | bytes):
        one = type(one)()
    size = one.ByteSize() + 3 if isinstance(one, Message) else len(one) + 2 if isinstance(one, str | bytes) else 2
    values.extend([one] * max(1, BYTES // size))


class Watch:
    """Sees for how long the loop was kept from everybody else."""

    def __init__(self) -> None:
        #: Seconds of processor time between two turns, at most.
        self.longest = 0.0

    async def run(self) -> None:
        """Take turns until cancelled."""
        last = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            self.longest, last = max(self.longest, now - last), now


async def _one(rng: random.Random, method: str, path: tuple[FieldDescriptor, ...], *, empty: bool) -> None:
    world = World()
    await world.start()
    known = Known(rng, world)
    maker = Maker(rng, known.fitting(), wild=0.0)
    message = maker.message(TYPES[method])
    first: list[Message] = []
    hello: Any = {"revision": 1, "name": "w1", "session": known.sessions[0], "capacity": 5, "queues": ["default"]}
    if isinstance(message, worker_service_pb2.WorkRequest):
        first = [worker_service_pb2.WorkRequest(sequence=1, hello=worker_service_pb2.WorkerHello(**hello))]
        message.hello.CopyFrom(first[0].hello)  # type: ignore[attr-defined]
    elif isinstance(message, client_service_pb2.SessionRequest):
        first = [client_service_pb2.SessionRequest(hello={"revision": 1})]  # type: ignore[arg-type]
    if first:
        if path[0].name == "hello":
            first = []
        else:
            message.ClearField("hello")
    filled(path, message, maker, empty=empty)
    data = message.SerializeToString()
    began = time.process_time()
    GetMessageClass(TYPES[method])().ParseFromString(data)
    read = time.process_time() - began
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    await world.call(method, [*(one.SerializeToString() for one in first), data])
    watching.cancel()
    await world.stop()
    if watch.longest - 2 * read > SECONDS:
        told = f"everybody waits {watch.longest:.1f} s for {len(data)} bytes that take {read:.1f} s to read"
        raise Finding(f"{told}, {'empty' if empty else 'made'}")


def run(seed: int, first: int, count: int) -> None:
    """Calls with so many of the largest messages, the ways in turn.

    Raises:
        Finding: one of them took too long.
    """
    order = random.Random(seed).sample(PLACES, len(PLACES))
    for number in range(first, first + count):
        method, path, empty = order[number % len(order)]
        try:
            asyncio.run(_one(random.Random(f"{seed} largest {number}"), method, path, empty=empty))
        except Finding as finding:
            raise Finding(f"{method}, {'.'.join(field.name for field in path)}: {finding}") from None
