"""The pools of workers from Python and from a shell: what is asked of the workers."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.client.cli.conftest import Type
from tests.client.cli.fake_coordinator import FakeConnection

from grpcflow.control import Control


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (lambda control: control.pool_grow(), ("pool_grow", {"n": 1})),
        (lambda control: control.pool_grow(3, ["w1"]), ("pool_grow", {"n": 3})),
        (lambda control: control.pool_shrink(n=2), ("pool_shrink", {"n": 2})),
        (lambda control: control.pool_restart(), ("pool_restart", {"modules": [], "reload": False})),
        (
            lambda control: control.pool_restart(modules=["a"], reload=True),
            ("pool_restart", {"modules": ["a"], "reload": True}),
        ),
        (lambda control: control.autoscale(10, 2), ("autoscale", {"max": 10, "min": 2})),
        (lambda control: control.autoscale(max=10), ("autoscale", {"max": 10})),
    ],
)
def test_each_command_goes_out_with_celerys_arguments(
    cluster: FakeConnection, call: Any, asked: tuple[str, dict[str, Any]]
) -> None:
    app: Any = SimpleNamespace(connection=cluster)
    replies = call(Control(app))
    assert replies[0] == {"w1": {"ok": "pong"}}
    assert cluster.asked[0][:3] == ("control", *asked)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("pool_grow", ("pool_grow", {"n": 1})),
        ("pool_shrink 2", ("pool_shrink", {"n": 2})),
        ("pool_restart", ("pool_restart", {"modules": [], "reload": False})),
        ("pool_restart --reload a b", ("pool_restart", {"modules": ["a", "b"], "reload": True})),
        ("autoscale 10 2", ("autoscale", {"max": 10, "min": 2})),
        ("autoscale 10", ("autoscale", {"max": 10})),
    ],
)
def test_each_command_of_the_shell_asks_the_same(
    typed: Type, cluster: FakeConnection, words: str, asked: tuple[str, dict[str, Any]]
) -> None:
    assert typed("control", *words.split(), "-d", "w1").exit_code == 0
    assert cluster.asked[0][:4] == ("control", *asked, ("w1",))


@pytest.mark.parametrize("words", ["pool_grow 0", "pool_shrink x", "autoscale", "autoscale x", "autoscale 3 0"])
def test_numbers_that_cannot_be_are_refused_at_once(typed: Type, cluster: FakeConnection, words: str) -> None:
    assert typed("control", *words.split()).exit_code == 2
    assert not cluster.asked
