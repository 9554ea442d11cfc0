"""A short run of the fuzzers, and proof that they would find something."""

from __future__ import annotations

import os
import random
import time
import zlib
from typing import Any

import msgspec
import pytest
from tests.fuzz import codec_door, decoder_door, fuzzing, largest_door, rpc_door
from tests.fuzz.judging import Finding, judged

from grpcflow_coordinator import event_frames
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import hello
from grpcflow_coordinator.rpc.client import ClientService
from grpcflow_coordinator.rpc.control import ControlService
from grpcflow_coordinator.storage import formats

SEED = int(os.environ.get("GRPCFLOW_TEST_SEED", random.SystemRandom().randrange(2**32)))


@pytest.mark.parametrize("door", fuzzing.DOORS)
def test_no_input_does_what_none_may(door: str) -> None:
    inputs = {"rpc": 1_200, "decoders": 2_000, "codecs": 500, "settings": 1_000, "commands": 50, "largest": 5}[door]
    print(f"seed {SEED}")
    given, findings = fuzzing.fuzz(SEED, inputs, door)
    assert not findings
    assert given[door] == inputs


def test_every_method_of_every_service_gets_inputs() -> None:
    assert len(rpc_door.TYPES) >= 43
    caller = rpc_door.Caller(1, 0)
    assert set(caller.methods) == set(rpc_door.TYPES)


def found(seed: int = 5, *, only: str = "rpc", inputs: int = 4_000) -> str:
    """Returns what is found after a part was broken."""
    findings: list[str] = []
    _, findings = fuzzing.fuzz(seed, inputs, only, lambda _: None)
    assert findings, "nothing was found"
    return findings[0]


def test_a_defect_in_a_service_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_queues(self: Any, request: Any, context: Any) -> Any:
        raise KeyError("defect")

    monkeypatch.setattr(ControlService, "ListQueues", list_queues)
    assert "defect" in found(inputs=400)


def test_what_is_refused_and_changes_the_store_all_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forget = ClientService.Forget

    async def forget_and_refuse(self: Any, request: Any, context: Any) -> Any:
        self._engine.records._overlay.put(b"\x01zz" + random.randbytes(4), b"1")
        if len(request.ids) == 1:
            raise Refusal("MALFORMED", "refused after all: this is a test")
        return await forget(self, request, context)

    monkeypatch.setattr(ClientService, "Forget", forget_and_refuse)
    assert "was refused and has changed the store" in found()


def test_a_reader_that_raises_anything_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_door, "REFUSALS", (formats.UnknownVersion,))
    assert "it raised" in found(only="decoders", inputs=1_000)
    monkeypatch.setattr(codec_door, "REFUSALS", (MemoryError,))
    assert "it raised" in found(only="codecs", inputs=500)


def test_what_is_repeated_without_a_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = next(one for one in largest_door.PLACES if one[1][-1].name == "task_facts" and one[2])
    monkeypatch.setattr(largest_door, "PLACES", [place])
    for name, value in (("BYTES", 200_000), ("SECONDS", 0.1)):
        monkeypatch.setattr(largest_door, name, value)
    largest_door.run(1, 0, 1)
    monkeypatch.setattr(hello, "NAMES_LIMIT", 1 << 40)
    with pytest.raises(Finding, match=r"hello.task_facts: everybody waits"):
        largest_door.run(1, 0, 1)


def test_memory_without_bound_and_inputs_that_hang_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.judging.HANGS", 0.05)
    with pytest.raises(Finding, match="hangs"), judged("a loop"):
        until = time.monotonic() + 10
        while time.monotonic() < until:
            pass
    monkeypatch.setattr("tests.fuzz.judging.GROWTH", -1)
    with pytest.raises(Finding, match="memory"), judged("nothing"):
        pass


@pytest.mark.parametrize(
    "spans", [[1], [1, 2, 3], [0, 2**40, 0, 1], [-1, 2, 5, 1], [0, -(2**40), 1, 1], [2**62, 1, 2**62, 1]]
)
def test_nodes_of_an_event_that_no_graph_can_have_are_damage(spans: list[int]) -> None:
    entry = [1, 2, b"g" * 12, spans, "w", "d", "y", b"", "t", "q", ""]
    body = msgspec.msgpack.encode([entry])
    assert event_frames.read_body(with_sum(body), body) is None


def test_text_of_an_event_that_is_no_text_is_damage() -> None:
    body = b"\xdd\x00\x00\x00\x01\x9b\x01\x02\xc4\x00\x90\xa1\xff" + b"\xa0" * 6
    assert event_frames.read_body(with_sum(body), body) is None


def with_sum(body: bytes) -> event_frames.Head:
    """Returns the head of a frame with this body."""
    summed = event_frames._SUMMED.pack(1, 1, 1)
    return event_frames.Head(len(body), zlib.crc32(body, zlib.crc32(summed)), 1, 1, 1)
