"""What a command loads: a question to a worker pays for what it needs, and for nothing else."""

import ast
import importlib
import importlib.util
import json
import os
import subprocess
import sys

from tests.support.tree import PACKAGES, parsed

import grpcflow
from grpcflow import Grpcflow
from grpcflow.testing import Cluster

HERE = PACKAGES["grpcflow"] / "__init__.py"

#: Modules that a question to workers has no need of, and the time that each would cost.
NOT_FOR_A_QUESTION = (
    "grpcflow.app", "grpcflow.codec", "grpcflow.loading", "grpcflow.task",
    "grpcflow.cli.call", "grpcflow.cli.control", "grpcflow.cli.graph", "grpcflow.cli.limits", "grpcflow.cli.overview",
    # The settings, where an address is all that is wanted, and what they are checked with.
    "grpcflow.canvas", "grpcflow.conf", "grpcflow.queues", "grpcflow.routes", "grpcflow.schedule_entries",
    "grpcflow.schedules", "grpcflow.setting_names", "grpcflow.setting_values", "zoneinfo",
    # What other calls of the same connection send and give.
    "grpcflow.command_model", "grpcflow.control", "grpcflow.event_model", "grpcflow.event_wire",
    "grpcflow.failed_model", "grpcflow.graph", "grpcflow.limit_control", "grpcflow.limit_model", "grpcflow.limit_wire",
    "grpcflow.limits", "grpcflow_protos.v1.event_service_pb2", "grpcflow_protos.v1.graph_service_pb2",
    "grpcflow_protos.v1.schedule_service_pb2",
    # Needed where something is wrong: a name that is none, a coordinator that is away, a fork.
    "difflib", "fractions", "pathlib", "random",
    "astral", "cronsim", "lmdb", "msgspec", "numpy", "opentelemetry", "prompt_toolkit", "psutil", "pydantic", "rich",
    "sortedcontainers", "textual", "tomllib", "watchfiles", "yaml",
)  # fmt: skip

#: Modules that help, the version and the completion of a command's name have no need of.
NOT_FOR_HELP = (*NOT_FOR_A_QUESTION, "asyncio", "google.protobuf", "grpc")

PROGRAM = """
import json, sys
from grpcflow.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def loaded(words: list[str], **variables: str) -> tuple[str, set[str]]:
    """Returns what a command printed, and which modules were loaded then."""
    left_out = {"GRPCFLOW_APP", "PYTEST_CURRENT_TEST", "COVERAGE_PROCESS_CONFIG"}
    surroundings = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-c", PROGRAM, json.dumps(words)]
    done = subprocess.run(command, env=surroundings | variables, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


def test_what_must_not_be_loaded_exists() -> None:
    """A name that was changed elsewhere would keep nothing out."""
    own = [name for name in NOT_FOR_A_QUESTION if name.startswith("grpcflow")]
    assert [name for name in own if importlib.util.find_spec(name) is None] == []


def test_help_loads_no_command_and_no_wire() -> None:
    shown, modules = loaded(["--help"])
    assert "Run:" in shown
    assert modules & set(NOT_FOR_HELP) == set()


def test_ping_loads_the_wire_and_nothing_that_it_does_not_need() -> None:
    with Cluster(Grpcflow("budget", set_as_current=False)) as cluster:
        shown, modules = loaded(["ctl", "inspect", "ping", "--json"], GRPCFLOW_COORDINATOR=cluster.address)
    assert [reply["ok"] for reply in json.loads(shown).values()] == ["pong"]
    assert "grpc" in modules
    assert modules & set(NOT_FOR_A_QUESTION) == set()


def test_every_public_name_is_there_though_it_is_loaded_late() -> None:
    """In a fresh process, each by itself: none needs another to have been loaded before."""
    code = (
        "import os, sys, grpcflow\n"
        "failed = []\n"
        "for name in grpcflow.__all__:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        value = getattr(grpcflow, name)\n"
        "        os._exit(0)\n"
        "    if os.waitpid(child, 0)[1]:\n"
        "        failed.append(name)\n"
        "assert set(grpcflow.__all__) <= set(dir(grpcflow))\n"
        "assert not hasattr(grpcflow, 'nonsense')\n"
        "print(failed)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_places_say_where_each_public_name_is_and_nothing_else() -> None:
    at_once = {"states", "__version__"}
    assert set(grpcflow._HOME) == set(grpcflow.__all__) - at_once
    for name, module in grpcflow._HOME.items():
        assert getattr(importlib.import_module(module), name) is getattr(grpcflow, name)
    checked = next(node for node in parsed(HERE).body if isinstance(node, ast.If))
    imported = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(grpcflow.__all__) - {"__version__"}
