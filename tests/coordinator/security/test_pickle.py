"""Pickle is never decoded by the coordinator, and by clients and workers only where both sides name it."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.coordinator.support.serving import call, ranges, serving

import grpcflow_coordinator
from grpcflow import codec, errors
from grpcflow_protos.v1 import client_service_pb2

COORDINATOR = Path(str(grpcflow_coordinator.__file__)).parent

#: Modules that run what they read, or can be made to.
DANGEROUS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "copyreg", "jsonpickle"}


class Bomb:
    """Leaves a mark where it is unpickled."""

    went_off: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return go_off, ()


def go_off() -> None:
    Bomb.went_off.append("boom")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    Bomb.went_off.clear()


def test_no_file_of_the_coordinator_can_decode_it() -> None:
    for path in COORDINATOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & DANGEROUS, path
            assert not (isinstance(node, ast.Name) and node.id in {"eval", "exec"}), path


async def test_the_coordinator_carries_it_as_bytes() -> None:
    payload = pickle.dumps([[Bomb()], {}])
    async with serving() as wire:
        chunk = call(payload)
        chunk.templates[0].content_type = codec.PICKLE
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(1)
        request = client_service_pb2.GetResultsRequest(nodes=ranges(chunk.graph, 1), details=True)
        answer = await wire.client.GetResults(request)
        assert answer.results[0].details.payload == payload
        await worker.leave()
    assert Bomb.went_off == []


@pytest.mark.parametrize("accept", [("json",), ("json", "msgpack"), ("yaml",), ()])
def test_who_does_not_name_it_does_not_decode_it(accept: tuple[str, ...]) -> None:
    data = pickle.dumps(Bomb())
    with pytest.raises(errors.ContentDisallowed):
        codec.decode(data, codec.PICKLE, accept=accept)
    with pytest.raises(errors.ContentDisallowed):
        codec.decode(data, codec.PICKLE)
    assert Bomb.went_off == []
    codec.decode(data, codec.PICKLE, accept=("pickle",))
    assert Bomb.went_off == ["boom"], "else this would not have seen anything"
