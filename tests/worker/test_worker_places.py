"""How many places an executor can have at most: more is refused before anything is made."""

import resource

import pytest

from grpcflow_worker.config import build_config
from grpcflow_worker.executor import ExecutorError, ExecutorSettings
from grpcflow_worker.executors.scaling import Scaling, Worker, checked
from grpcflow_worker.places import too_many
from grpcflow_worker.pool_options import build_pool_options
from grpcflow_worker.subscription import ConfigError


class Untouched:
    """Children of whom nobody may ask anything."""

    places = 2

    def resize(self, places: int) -> None:
        raise AssertionError(f"asked for {places} children")

    def idle(self) -> list[Worker]:
        raise AssertionError("asked who is idle")


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The limit of open files."""
    limit = [resource.RLIM_INFINITY]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit[0], limit[0]))
    return limit


@pytest.mark.parametrize(
    ("kind", "most", "what"),
    [("prefork", 1_000, "child processes"), ("threads", 10_000, "threads"), ("asyncio", 1_000_000, "coroutines")],
)
def test_each_executor_has_so_many_places_at_most(files: list[int], kind: str, most: int, what: str) -> None:
    assert too_many(kind, most) is None
    assert f"{kind} has {most:,} {what} at most" in (too_many(kind, most + 1) or "")


def test_child_processes_are_no_more_than_files_can_be_open_for(files: list[int]) -> None:
    files[0] = 1_024
    assert too_many("prefork", 160) is None
    assert too_many("prefork", 161) == (
        "161 places are too many: prefork has 160 child processes at most; 1,024 files may be open here (ulimit -n); "
        "raise that, or start several workers"
    )
    assert too_many("threads", 161) is None


def test_a_slip_of_the_hand_makes_no_child_at_the_start_nor_later(files: list[int]) -> None:
    with pytest.raises(ConfigError, match="too many"):
        build_config(concurrency=100_000)
    with pytest.raises(ConfigError, match="too many"):
        build_config(children=build_pool_options(autoscale="100000,2"))
    with pytest.raises(ExecutorError, match="100,002 places are too many"):
        Scaling(Untouched(), ExecutorSettings()).resize(100_000)
    with pytest.raises(ExecutorError, match="too many"):
        Scaling(Untouched(), ExecutorSettings(autoscale=(2, 1))).set_bounds(100_000, None)
    with pytest.raises(ExecutorError, match="10,001 places are too many"):
        checked("threads", 10_000, 1)


def test_a_pool_that_is_larger_than_it_may_be_by_now_can_shrink(files: list[int]) -> None:
    files[0] = 100
    assert checked("prefork", 50, -1) == 49
