"""What began at one node is told in full at every node behind it."""

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster

from grpcflow import ChordError, chain, chord, group


def test_the_exception_of_a_step_is_raised_at_the_end_of_its_chain_and_named_by_a_chord(shared: Cluster) -> None:
    shared.hire("w1", queues="default,urgent")
    tasks.app.conf.update(coordinator=shared.address)
    last = chain(tasks.fail.s("no funds"), tasks.add.s(1), tasks.add.s(2))()
    with pytest.raises(ValueError, match=r"^no funds$"):
        last.get(timeout=20)
    assert "no funds" in last.traceback
    assert "in fail" in last.traceback
    summed = chord(group(tasks.add.s(1, 1), chain(tasks.fail.s("no funds"), tasks.add.s(1))), tasks.total.s())()
    with pytest.raises(ChordError, match=r"Dependency .* raised ValueError\('no funds'\)") as told:
        summed.get(timeout=20)
    assert isinstance(told.value.__cause__, ValueError)


def test_large_values_and_small_ones_that_settle_together_all_arrive(shared: Cluster) -> None:
    shared.hire("w1", queues="default,urgent")
    tasks.app.conf.update(coordinator=shared.address)
    sizes = [100, 250_000, 4_194_000, 250_000, 4_194_000, 10, 1_000_000, 4_194_000]
    texts = group(tasks.text.s(size) for size in sizes)().get(timeout=30)
    assert [len(text) for text in texts] == sizes
