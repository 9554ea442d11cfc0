"""Graphs as things on a real cluster: shown, cancelled, retried and explained, also over a coordinator's restart."""

import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, wait_for

from grpcflow import StillRunning, chain, chord, group
from grpcflow.errors import NotFound, TaskRevokedError

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def restart(cluster: Cluster) -> None:
    """Kills the coordinator with -9 and starts it again."""
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    cluster.start_coordinator()


def test_a_cancelled_graph_is_retried_after_a_restart_and_what_had_succeeded_does_not_run_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    gate = tmp_path / "gate"
    members = group(tasks.noted.si(f"member-{i}", i) for i in range(5))
    result = chain(
        tasks.noted.s("first", 1), members, tasks.gate.si(str(gate), "held"), tasks.noted.si("last", 9)
    ).delay()
    wait_for("the third step to run", lambda: cluster.count("start-held"))
    graph = result.graph()
    with pytest.raises(StillRunning, match="wait for its end, or cancel it"):
        graph.retry()
    done = graph.cancel(terminate=True, signal="SIGKILL")
    assert (done.cancelled, done.running, done.had_ended) == (1, 1, False)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=SOON)
    assert graph.refresh().summary.cancelled
    wait_for("the killed step to be told of", lambda: graph.refresh().summary.ended)
    assert graph.cancel().had_ended

    restart(cluster)
    again = tasks.app.graph(result.id)
    assert {node.task for node in again.nodes("REVOKED")} == {"t.gate", "t.noted"}
    assert sum(node.state == "SUCCESS" for node in again.nodes()) == 7
    gate.touch()
    wait_for("the worker to be back", lambda: cluster.state_of("w1") == "live")
    retried = again.retry()
    assert (retried.retried, retried.unknown_tasks) == (2, ())
    restart(cluster)
    assert tasks.app.AsyncResult(result.id).get(timeout=SOON) == 9
    assert {name.split(".")[0] for name in cluster.noted()} >= {"first", "last", "start-held", "end-held"}
    assert (cluster.count("first."), cluster.count("member-"), cluster.count("last.")) == (1, 5, 1)
    assert (cluster.count("start-held"), cluster.count("end-held")) == (2, 1)
    assert not again.refresh().summary.cancelled
    assert again.summary.tally.succeeded == 9
    assert again.retry().retried == 0


def test_the_failed_part_of_a_graph_runs_again_and_what_nobody_knows_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_coordinator()
    worker = cluster.start_worker("w1")
    flag = tmp_path / "flag"
    body = tasks.app.signature("t.noted", kwargs={"text": "body", "value": 7}, immutable=True)
    broken = tasks.open_once.si(str(flag))
    result = chord([tasks.noted.si("well", 1), broken], body).delay()
    with pytest.raises(Exception, match="not open"):
        result.get(timeout=SOON)
    assert "ChordError: Dependency" in str(result.explain())
    failed = [node for node in result.graph().nodes("FAILURE") if node.worker]
    assert [(node.task, node.worker, node.error) for node in failed] == [("t.open_once", "w1", "ValueError: not open")]
    # A member that has not begun would go back to its queue with the worker's end, and the graph goes on then.
    wait_for("the other member to end", lambda: [node.task for node in result.graph().nodes("SUCCESS")] == ["t.noted"])
    flag.touch()
    worker.terminate()
    wait_for("the worker to be gone", lambda: cluster.state_of("w1") is None)
    done = result.graph().retry()
    assert (done.retried, done.unknown_tasks) == (3, ("t.noted", "t.open_once"))
    assert "which no connected worker serves" in str(tasks.app.explain(failed[0].id))
    assert result.explain().code == "WAITING_FOR_PARENTS"
    cluster.start_worker("w2")
    assert result.get(timeout=SOON) == 7
    assert cluster.count("well.") == 1


def test_graphs_are_listed_newest_first_by_state_and_task(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    good = group(tasks.add.s(i, i) for i in range(3)).delay()
    good.get(timeout=SOON)
    bad = chain(tasks.add.s(1, 1), tasks.fail.si("no")).delay()
    with pytest.raises(ValueError, match="no"):
        bad.get(timeout=SOON)
    app = tasks.app
    assert [one.id for one in app.graphs()] == [bad.id, good.id]
    assert [one.id for one in app.graphs(states="FAILURE")] == [bad.id]
    assert [one.id for one in app.graphs(task="t.f*")] == [bad.id]
    assert [one.id for one in app.graphs(until=next(app.graphs()).created)] == [good.id]
    with pytest.raises(NotFound, match="see `grpcflow graph list`"):
        app.graph("0" * 24).refresh()


def test_a_graph_of_a_hundred_thousand_is_shown_and_cancelled_and_holds_no_more_than_a_page(cluster: Cluster) -> None:
    cluster.start_coordinator()
    graph = group(tasks.add.s(i, i) for i in range(100_000)).delay().graph()
    assert "t.add x 100,000" in graph.tree()
    tracemalloc.start()
    try:
        assert [node.index for node in islice(graph.nodes(), 20_000, 20_003)] == [20_000, 20_001, 20_002]
        assert sum(run.count for run in graph.runs()) == 100_001
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000, f"{peak:,} bytes were held"
    assert graph.cancel().cancelled == 100_001
    assert sum(1 for _ in graph.nodes("FAILURE")) == 0
    assert graph.refresh().summary.tally.revoked == 100_001


def test_a_graph_of_many_is_looked_at_in_pages_while_it_waits(cluster: Cluster) -> None:
    cluster.start_coordinator()
    result = chain(tasks.add.s(1, 1), group(tasks.add.s(i) for i in range(3000))).delay()
    graph = result.graph()
    assert "t.add x 3,000" in graph.tree()
    assert sum(1 for _ in graph.nodes()) == 3002
    assert sum(len(edge.children) * len(edge.parents) for edge in graph.edges() if edge.kind == "member") == 3000
    assert [box.count for box in graph.picture().boxes] == [1, 3000, 1]
    assert graph.cancel().cancelled == 3002
    assert graph.refresh().summary.tally.revoked == 3002
