"""Empty groups, chains and chunks, with what is linked to them: how often each callback runs, and with what.

Each canvas is judged three times: by hand, by the reference evaluator, and as it is lowered, written with chain() and
with the | operator.
"""

from typing import Any

import pytest
from tests.support import written
from tests.support.canvases import Drawn, app
from tests.support.functions import FUNCTIONS
from tests.support.graph_interpreter import Failure, Success, check_shape, interpret
from tests.support.reference import FAILED_ID, describe_call, evaluate
from tests.support.written import Canvas, chain, chord, chunks, group, linked, on_error

from grpcflow import Signature, ids
from grpcflow import chain as chain_of
from grpcflow import chord as chord_of
from grpcflow import group as group_of
from grpcflow.lower import Calls, lower, to_chunks


def tag(*args: Any) -> Canvas:
    return written.call("canvases.tag", *args)


NO_CHUNKS = chunks("canvases.tag", [], 2)
H, X, Y, Z, FAIL = tag("h"), tag("x"), tag("y"), tag("z"), written.call("canvases.fail", "f")

#: Canvases that succeed, their values, and the arguments of all calls of ``tag``.
CASES: dict[str, tuple[Canvas, Any, list[list[Any]]]] = {
    "a body that is an empty group with a link": (
        chain(chord([H], linked(group(), X)), Y),
        [[], "y"],
        [["h"], [[], "x"], [[], "y"]],
    ),
    "a body that is an empty chain with a link": (
        chain(chord([H], linked(chain(), X)), Y),
        [[["h"]], "y"],
        [["h"], [[["h"]], "x"], [[["h"]], "y"]],
    ),
    "a body that is a chain of an empty group": (chain(chord([H], chain(group())), Y), [[], "y"], [["h"], [[], "y"]]),
    "the same alone": (chord([H], linked(chain(linked(group(), X)), Z)), [], [["h"], [[], "x"], [[], "z"]]),
    "a header that is an empty group with a link": (chord([linked(group(), X)], Y), [[], "y"], [[[], "x"], [[], "y"]]),
    "an empty group with a link in a chain": (
        chain(H, linked(group(), X), Y),
        [["h"], "y"],
        [["h"], [[], "x"], [["h"], "y"]],
    ),
    "an empty chain with a link in a chain": (
        chain(H, linked(chain(), X), Y),
        [["h"], "y"],
        [["h"], [["h"], "x"], [["h"], "y"]],
    ),
    "at the end of a chain": (
        chain(H, linked(chain(linked(chain(), X)), Y), linked(group(), Z)),
        ["h"],
        [["h"], [["h"], "x"], [["h"], "y"], [[], "z"]],
    ),
    "at its beginning": (chain(linked(chain(), X), linked(group(), Y), Z), ["z"], [["x"], [[], "y"], ["z"]]),
    "an empty chain with a link among members": (
        chain(H, group(linked(chain(), X), Y, Z)),
        [[["h"], "y"], [["h"], "z"]],
        [["h"], [["h"], "x"], [["h"], "y"], [["h"], "z"]],
    ),
    "behind a group": (chain(group(H, Y), chain(group())), [["h"], ["y"]], [["h"], ["y"]]),
    "a link that is an empty chain with a link": (linked(H, linked(chain(), X)), ["h"], [["h"], [["h"], "x"]]),
    "errbacks of nothing that failed": (
        on_error(H, group(), chain(NO_CHUNKS, X), group(NO_CHUNKS, chain(group())), linked(group(NO_CHUNKS), X)),
        ["h"],
        [["h"]],
    ),
    "errbacks of what is skipped": (
        chain(H, on_error(group(), X), on_error(chain(), Y), Z),
        [["h"], "z"],
        [["h"], [["h"], "z"]],
    ),
}

#: Errbacks, and the arguments of the calls of ``tag`` in them.
ERRBACKS: dict[str, tuple[Canvas, list[list[Any]]]] = {
    "chunks of nothing and a call": (chain(NO_CHUNKS, X), [[[], "x"]]),
    "chunks of nothing and a group": (
        chain(NO_CHUNKS, group(X, Y), Z),
        [[[], "x"], [[], "y"], [[[[], "x"], [[], "y"]], "z"]],
    ),
    "nested": (chain(group(NO_CHUNKS, chain(group())), chord([X], Y)), [[[[], []], "x"], [[[[[], []], "x"]], "y"]]),
    "beside a call": (
        chain(group(group(), NO_CHUNKS, group(chain(group()), X)), Y),
        [[FAILED_ID, "x"], [[[], [], [FAILED_ID, "x"]], "y"]],
    ),
    "a chord with an empty header and a group as body": (chord([], group(X, Y)), [[[], "x"], [[], "y"]]),
    "a chord of nothing with links": (linked(chord([NO_CHUNKS], linked(chain(), X)), Y), [[[[]], "x"], [[[]], "y"]]),
    "an empty group with links": (linked(group(linked(chain(), X)), Y), [[FAILED_ID, "x"], [[], "y"]]),
    "an empty chain with a link": (linked(chain(), X), [[FAILED_ID, "x"]]),
    "an empty chain and a call": (
        chain(linked(chain(), X), linked(group(), Y), Z),
        [[FAILED_ID, "x"], [[], "y"], [FAILED_ID, "z"]],
    ),
}


def judge(canvas: Canvas, value: Any, calls: list[list[Any]], *, operators: bool) -> None:
    """Asserts that a canvas comes to a value, or fails where that is None, by these calls of ``tag``."""
    texts = sorted(describe_call("canvases.tag", args, {}) for args in calls)
    wanted = evaluate(canvas, FUNCTIONS)
    assert sorted(call for call in wanted.runs.elements() if "tag" in call) == texts
    graph = lower(Drawn(canvas, [], {}, operators).built(), Calls(app))
    assert graph is not None
    pieces = to_chunks(graph, ids.mint_graph())
    check_shape(pieces)
    ends, runs = interpret(pieces, FUNCTIONS)
    end = ends[graph.outcome.node]
    assert isinstance(end, Failure if value is None else Success)
    if isinstance(end, Success):
        assert end.value == value
    assert runs == wanted.runs


@pytest.mark.parametrize("operators", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_an_empty_part_has_its_value_and_its_links_run_once(name: str, operators: bool) -> None:
    judge(*CASES[name], operators=operators)


@pytest.mark.parametrize("operators", [False, True])
@pytest.mark.parametrize("name", ERRBACKS)
def test_an_errback_with_empty_parts_runs_where_something_failed(name: str, operators: bool) -> None:
    errback, calls = ERRBACKS[name]
    judge(on_error(FAIL, errback), None, calls, operators=operators)


@pytest.mark.parametrize("name", ERRBACKS)
def test_an_errback_with_empty_parts_does_not_run_where_nothing_failed(name: str) -> None:
    judge(on_error(H, ERRBACKS[name][0]), ["h"], [["h"]], operators=False)


def test_links_of_what_is_skipped_do_not_run_behind_a_failure() -> None:
    judge(chain(FAIL, linked(group(), X), linked(chain(), Y), Z), None, [], operators=False)
    judge(chain(group(FAIL), linked(group(), on_error(X, Y)), Z), None, [], operators=False)


def test_what_is_bare_and_empty_on_the_right_of_an_operator_changes_nothing() -> None:
    def call() -> Signature:
        return Drawn(H, [], {}, False).built()

    for left in (call(), group_of(call(), call()), chord_of([call()], call()), chain_of(call(), call())):
        for right in (group_of(), chain_of(), chain_of(group_of()), group_of(chain_of(), group_of())):
            assert (left | right) is left
    assert (chain_of() | group_of()) == chain_of(group_of())
