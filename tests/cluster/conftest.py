"""Fixtures of the tests on real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.harness import Cluster, cluster_in


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with nothing started."""
    with cluster_in(tmp_path) as made:
        yield made
