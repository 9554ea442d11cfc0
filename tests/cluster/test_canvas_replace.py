"""Tasks that put other work in their place or into their group, while workers and the coordinator are killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, alive, wait_for

from grpcflow import ChordError, ImproperlyConfigured, Signature, chain, chord, group

#: Seconds that a result may take.
SOON = 60.0

#: What stands in the place of a task, made of the path that all its gates wait for; and the value of it.
SHAPES: dict[str, tuple[Callable[[str], Signature], Any]] = {
    "chain": (lambda door: tasks.gate.s(door, "chain") | tasks.length.s(), 5),
    "group": (lambda door: group(tasks.gate.s(door, f"group-{i}") for i in range(2)), ["group-0", "group-1"]),
    "chord": (lambda door: chord([tasks.gate.s(door, f"chord-{i}") for i in range(2)], tasks.lengths.s()), [7, 7]),
}
#: All gates of the shapes and the one in the header: while each runs, each replacement is committed.
GATES = 6


@pytest.fixture(autouse=True)
def client(address: str) -> None:
    tasks.app.conf.update(coordinator=address)


def replaced(task: Any, door: Path) -> dict[str, Any]:
    """Submits one task for each shape, with a step behind it, and one in a header; returns their results."""
    results = {name: chain(task.s(name, shape(str(door))), tasks.gather.s())() for name, (shape, _) in SHAPES.items()}
    in_header = tasks.gate.s(str(door), "head") | tasks.length.s()
    results["header"] = chord([task.s("header", in_header), tasks.add.s(2, 2)], tasks.total.s())()
    return results


def assert_as_wanted(cluster: Cluster, results: dict[str, Any]) -> None:
    """Every value is that of what stands in the task's place, and no task ran twice."""
    for name, (_, value) in SHAPES.items():
        assert results[name].get(timeout=SOON) == value
    assert results["header"].get(timeout=SOON) == 8
    assert [cluster.count(f"instead-{name}.") for name in results] == [1] * len(results)
    assert cluster.count("end-") == GATES


def test_a_replacement_goes_on_though_the_worker_of_all_of_it_is_killed(
    cluster: Cluster,
) -> None:
    cluster.start_coordinator("--grace", "0.3")
    killed = cluster.start_worker("w1", "-c", "6")
    door = cluster.folder / "door"
    results = replaced(tasks.instead, door)
    wait_for("all gates to run", lambda: cluster.count("start-") == GATES)
    children = killed.children()
    killed.kill()
    wait_for("its children to end with it", lambda: not alive(children))
    door.touch()
    cluster.start_worker("w2")
    assert_as_wanted(cluster, results)


def test_a_child_that_is_killed_right_after_the_replacement_changes_nothing(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1", "-c", "3")
    door = cluster.folder / "door"
    door.touch()
    assert_as_wanted(cluster, replaced(tasks.instead_and_die, door))


def test_a_coordinator_that_is_killed_after_the_replacement_knows_it(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1", "-c", "6")
    door = cluster.folder / "door"
    results = replaced(tasks.instead, door)
    wait_for("all gates to run", lambda: cluster.count("start-") == GATES)
    coordinator.kill()
    door.touch()
    cluster.start_coordinator()
    assert_as_wanted(cluster, results)


def test_a_child_that_is_killed_before_the_replacement_runs_again_and_replaces(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    flag = cluster.folder / "died"
    sig = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s())
    canvas = chord([tasks.die_once_then_instead.s(str(flag), sig), tasks.add.s(0, 1)], tasks.gather.s())
    assert canvas().get(timeout=SOON) == [6, 1]
    assert cluster.count("die_once_then_instead") == 2


def test_replacements_nest_and_failures_in_them_are_the_tasks_own(shared: Cluster) -> None:
    shared.hire("w1", queues="default,urgent")
    assert tasks.count_down.delay(20).get(timeout=SOON) == 40
    failed = chain(tasks.instead.s("failing", tasks.add.s(1, 1) | tasks.fail.si("inside")), tasks.add.s(1))()
    with pytest.raises(ValueError, match="inside"):
        failed.get(timeout=SOON)
    assert failed.parent.state == "FAILURE"
    in_header = chord([tasks.instead.s("header", tasks.fail.s("inside")), tasks.add.s(1, 1)], tasks.gather.s())()
    with pytest.raises(ChordError, match="inside"):
        in_header.get(timeout=SOON)
    with pytest.raises(ImproperlyConfigured, match="empty chain"):
        tasks.instead.delay("empty", chain()).get(timeout=SOON)
    assert tasks.instead.delay("nobody", group()).get(timeout=SOON) == []


def test_members_that_are_added_to_a_header_are_waited_for_over_a_kill_of_the_coordinator(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1", "-c", "3")
    door = cluster.folder / "door"
    more = [tasks.gate.s(str(door), "late"), tasks.add.s(1, 1) | tasks.add.s(1), group(tasks.add.s(2, 2))]
    canvas = chord([tasks.joined_by.s("first", *more), tasks.add.s(0, 1)], tasks.gather.s())()
    wait_for("the added member to run", lambda: cluster.count("start-late") == 1)
    coordinator.kill()
    cluster.start_coordinator()
    assert not canvas.ready()
    door.touch()
    assert canvas.get(timeout=SOON) == ["first", 1, "late", 3, [4]]
    assert cluster.count("joined_by") == 1


def test_an_added_member_that_fails_fails_the_chord_and_outside_of_a_group_none_can_be_added(
    shared: Cluster,
) -> None:
    shared.hire("w1", queues="default,urgent")
    with pytest.raises(ChordError, match="added"):
        chord([tasks.joined_by.s(1, tasks.fail.s("added"))], tasks.gather.s())().get(timeout=SOON)
    with pytest.raises(ValueError, match="no member of a group"):
        tasks.joined_by.delay(1, tasks.add.s(1, 1)).get(timeout=SOON)
