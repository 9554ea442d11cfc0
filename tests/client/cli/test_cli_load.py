"""How busy workers are, in the overview and in the status."""

import json
from collections.abc import Callable

from click.testing import Result
from tests.client.cli.fake_coordinator import FakeConnection

from grpcflow_protos.v1 import load_pb2

Type = Callable[..., Result]


def busy(cluster: FakeConnection) -> None:
    """Let w1 say how busy it is; w2 does not."""
    cluster.workers["w1"].info["load"] = load_pb2.WorkerLoad(
        load_average=[0.42, 0.5, 0.6], running=1, processed=12, memory=1 << 20, interval_ms=5_000
    )


def test_the_overview_has_a_column_for_the_load(typed: Type, cluster: FakeConnection) -> None:
    busy(cluster)
    head, first, second = typed("ctl", "inspect").stdout.splitlines()[:3]
    at = head.index("LOAD")
    assert (first[at : at + 4], second[at : at + 4].strip()) == ("0.42", "?")
    document = json.loads(typed("ctl", "inspect", "--json").stdout)
    told = [[document[name][what] for what in ("load", "processed", "memory")] for name in ("w1", "w2")]
    assert told == [[[0.42, 0.5, 0.6], 12, 1 << 20], [None, None, None]]


def test_the_status_tells_it_in_json(typed: Type, cluster: FakeConnection) -> None:
    busy(cluster)
    document = json.loads(typed("ctl", "status", "--json").stdout)
    load = {"active": 1, "processed": 12, "loadavg": [0.42, 0.5, 0.6], "memory": 1 << 20}
    assert document == {"w1": {"ok": "pong", **load}, "w2": {"ok": "pong"}}
    assert typed("ctl", "status").stdout == "-> w1: OK\n-> w2: OK\n\n2 nodes online.\n"
