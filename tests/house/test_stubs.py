"""The committed stubs are whole, and the floors of our dependencies are what they demand.

That they are those of the protos is the check `stubs` of scripts/check, which scripts/test runs, too.
"""

import re
import tomllib

import pytest
from tests.support.tree import GENERATED, ROOT

PROTOBUF_GUARD = re.compile(r"Domain\.PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+),")
GRPC_GUARD = re.compile(r"GRPC_GENERATED_VERSION = '([\d.]+)'")


def test_stubs_without_a_service_are_left_out() -> None:
    empty = [path.name for path in GENERATED.glob("*_pb2_grpc.py") if "Servicer" not in path.read_text()]
    assert empty == []


@pytest.mark.parametrize("package", ["grpcio", "grpcio-health-checking", "grpcio-reflection", "grpcio-status"])
def test_the_floor_of_grpc_is_what_the_stubs_demand(package: str) -> None:
    demanded = {guard for path in GENERATED.glob("*_grpc.py") for guard in GRPC_GUARD.findall(path.read_text())}
    assert {floor(package)} == demanded


def test_the_floor_of_protobuf_is_what_the_stubs_demand() -> None:
    guards = {guard for path in GENERATED.glob("*_pb2.py") for guard in PROTOBUF_GUARD.findall(path.read_text())}
    assert guards == {tuple(floor("protobuf").split("."))}


def floor(package: str) -> str:
    """Returns the lowest version of a dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in project["project"]["dependencies"]:
        name, _, bounds = requirement.partition(">=")
        if name == package:
            return str(bounds.partition(",")[0])
    raise AssertionError(f"{package} has no floor in pyproject.toml")
