"""Erasing from Python and from the shell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from grpcflow import Grpcflow, chain, errors
from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow.testing import Cluster

BOUND = 20.0


@pytest.fixture(scope="module")
def app() -> Iterator[Grpcflow]:
    made = Grpcflow("erasing", set_as_current=False)

    @made.task(name="e.echo")
    def echo(value: Any) -> Any:
        return value

    @made.task(name="e.instead", bind=True)
    def instead(self: Any, value: Any) -> Any:
        return self.replace(echo.s(value))

    with Cluster(made):
        yield made


def known(app: Grpcflow, id: str) -> bool:
    try:
        _ = app.graph(id).summary
    except errors.NotFound:
        return False
    return True


def typed(app: Grpcflow, *words: str) -> Result:
    said = Invocation(coordinator=app.conf.addresses[0])
    said.use_connection(app.connection)
    return CliRunner().invoke(command_line, ["erase", *words], obj=said)


def test_a_call_goes_and_the_answer_says_what_may_still_hold_it(app: Grpcflow) -> None:
    result, other = (app.tasks["e.echo"].delay(value) for value in (1, 2))
    assert (result.get(timeout=BOUND), other.get(timeout=BOUND)) == (1, 2)
    done = app.control.erase([result.id, "nobody's"])
    assert (done.graphs, done.running, done.unknown) == (1, 0, ("nobody's",))
    assert any("backups" in place for place in done.left)
    assert not known(app, result.id)
    assert known(app, other.id)
    assert app.AsyncResult(result.id).state == "PENDING"


def test_what_ran_in_its_place_goes_too(app: Grpcflow) -> None:
    result = chain(app.tasks["e.echo"].s(1), app.tasks["e.instead"].s())()
    assert result.get(timeout=BOUND) == 1
    assert app.control.erase(result.id).graphs == 2
    assert app.control.erase(result.id).unknown == (result.id,)


def test_what_waits_is_ended_first_and_a_stamp_finds_it(app: Grpcflow) -> None:
    waits = app.tasks["e.echo"].apply_async((1,), countdown=3600, stamped_headers=["user"], user="7")
    done = asyncio.run(app.control.aerase(stamps={"user": "7"}))
    assert (done.graphs, done.running) == (1, 0)
    assert not known(app, waits.id)


def test_the_command_asks_first_and_tells_what_is_left(app: Grpcflow) -> None:
    result = app.tasks["e.echo"].delay(1)
    result.get(timeout=BOUND)
    refused = CliRunner().invoke(command_line, ["erase", result.id], input="n\n")
    assert refused.exit_code == 1
    assert known(app, result.id)
    told = typed(app, result.id, "--yes", "--json")
    assert told.exit_code == 0, told.output
    assert {"graphs": 1, "calls": 0, "groups": 0, "unknown": []}.items() <= json.loads(told.stdout).items()
    again = typed(app, result.id, "--yes")
    assert again.exit_code == 66
    assert "Erased: 0 graphs" in again.output


@pytest.mark.parametrize("words", [(), ("--stamp", "nameless"), ("--stamp", "=x")])
def test_what_names_nothing_is_refused(app: Grpcflow, words: tuple[str, ...]) -> None:
    assert typed(app, *words).exit_code == 2
