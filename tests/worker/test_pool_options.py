"""Options of child processes: what is taken, and what is refused at once."""

from typing import Any

import pytest

from grpcflow_worker.__main__ import main
from grpcflow_worker.config import build_config
from grpcflow_worker.pool_options import PoolOptions, build_pool_options
from grpcflow_worker.subscription import ConfigError


def test_nothing_said_is_left_to_the_app() -> None:
    assert build_pool_options() == PoolOptions()


@pytest.mark.parametrize(
    ("text", "bounds"), [("10,2", (10, 2)), ("3,3", (3, 3)), (" 8 , 1 ", (8, 1)), ("5", (5, 1)), ("1,1", (1, 1))]
)
def test_bounds_are_read(text: str, bounds: tuple[int, int]) -> None:
    assert build_pool_options(autoscale=text).autoscale == bounds


@pytest.mark.parametrize(
    "text", ["2,10", "0,0", "3,0", "0", "a,b", "", ",", "1,2,3", "-3,1", "2.5,1", "10;2", "\u0663,1"]
)
def test_bounds_that_cannot_be_are_refused_with_what_is_taken(text: str) -> None:
    with pytest.raises(ConfigError, match="MAX,MIN"):
        build_pool_options(autoscale=text)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_tasks_per_child": 0}, "--max-tasks-per-child"),
        ({"max_memory_per_child": -1}, "KiB"),
        ({"autoscale_keepalive": 0.0}, "--autoscale-keepalive"),
        ({"autoscale_keepalive": float("nan")}, "--autoscale-keepalive"),
        ({"autoscale_keepalive": float("inf")}, "--autoscale-keepalive"),
        ({"autoscale": "3,1", "pool": "threads"}, "-P prefork"),
    ],
)
def test_a_value_that_cannot_be_names_its_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_pool_options(**options)


def test_the_most_children_are_the_concurrency_whatever_is_asked_besides() -> None:
    children = build_pool_options(autoscale="7,2")
    assert build_config(children=children).concurrency == 7
    assert build_config(children=children, concurrency=3).concurrency == 7


@pytest.mark.parametrize(
    "options", [["--autoscale", "2,10"], ["--max-tasks-per-child", "0"], ["--autoscale", "3,1", "-P", "solo"]]
)
def test_the_command_ends_with_the_error(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-A", "nothing", *options]) == 64
    assert options[0] in capsys.readouterr().err
