"""What users of Celery complain about, by the numbers of its issues: here each canvas comes to what it should.

Every canvas runs on a simulated cluster (the real core, engine, records, lowering and public API), in random order and
again while streams break and the coordinator is killed, and must agree with the reference evaluator both times. What is
asserted here is written by hand.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.canvases import Drawn, app, build
from tests.support.functions import FUNCTIONS
from tests.support.reference import (
    EMPTY_REPLACEMENT,
    FAILED_ERROR,
    FAILED_ID,
    FAILED_TRACE,
    REVOKED,
    ChordFailed,
    Error,
    Raised,
    describe_call,
)
from tests.support.simulated import SimulatedCluster, error_of
from tests.support.trial import Ending, Trial, Weather
from tests.support.written import Canvas, call, chain, chord, chunks, fixed, group, having, linked, on_error

from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.model import NodeState
from grpcflow_protos.v1 import graph_pb2

X, Y = Raised("ValueError", "x"), Raised("ValueError", "y")


def add(*args: Any) -> Canvas:
    return call("canvases.add", *args)


def tag(*args: Any) -> Canvas:
    return call("canvases.tag", *args)


def xsum(*args: Any) -> Canvas:
    return call("canvases.xsum", *args)


def fail(message: str = "x") -> Canvas:
    return call("canvases.fail", message)


def becomes(canvas: Canvas) -> Canvas:
    return call("canvases.becomes", canvas)


def end_of(canvas: Canvas, *args: Any) -> Ending:
    """Runs a canvas on a cluster, in fair weather and in rough one, and returns what it came to in the first."""
    drawn = Drawn(canvas, list(args), {}, operators=False)
    fair, rough = (Trial(drawn, seed=1, weather=weather).run() for weather in (Weather.FAIR, Weather.ROUGH))
    assert fair is not None
    assert rough is not None
    assert (rough.state, rough.value) == (fair.state, fair.value)
    return fair


def value(canvas: Canvas, *args: Any) -> Any:
    end = end_of(canvas, *args)
    assert end.state is NodeState.SUCCESS, end.error
    return end.value


def error(canvas: Canvas) -> Error | None:
    end = end_of(canvas)
    assert end.state is not NodeState.SUCCESS, end.value
    return end.error


def runs(canvas: Canvas, task: str, *args: Any) -> int:
    return end_of(canvas).runs[describe_call(f"canvases.{task}", args, {})]


def chunks_of(canvas: Canvas, number: int = 1) -> Sequence[graph_pb2.GraphChunk]:
    lowered = lower(build(canvas), Calls(app))
    assert lowered is not None
    return to_chunks(lowered, bytes(6) + b"\x70\x00\x80" + number.to_bytes(3, "big"))


# ------------------------------------------------------------------------------------------------ nesting


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_4401_2573_4681_5612_nested_chords_complete(depth: int) -> None:
    def nested(levels: int) -> Canvas:
        return add(1, 1) if not levels else chord([nested(levels - 1), nested(levels - 1)], xsum())

    assert value(nested(depth)) == 2 ** (depth + 1)


def test_4681_nested_groups_complete() -> None:
    assert value(group(group(add(1), add(2)), chain(add(3), group(add(1), add(2))))) == [1, 2, [4, 5]]


def test_8182_a_chain_that_ends_in_a_group_inside_a_chord_is_waited_for() -> None:
    assert value(chord([chain(add(1, 1), group(add(1), add(2))), add(5)], tag())) == [[[3, 4], 5]]


def test_8182_a_chain_that_holds_only_a_group_inside_a_chord_is_waited_for() -> None:
    assert value(chord([chain(group(add(1), add(2))), add(5)], tag())) == [[[1, 2], 5]]


def test_5354_group_task_task_group_runs_to_its_end() -> None:
    canvas = chain(group(add(1, 1), add(2, 2)), xsum(), tag(), group(tag("a"), tag("b")))
    assert value(canvas) == [[[6], "a"], [[6], "b"]]


def test_3585_the_second_of_two_groups_in_a_row_gets_the_list_of_the_first() -> None:
    canvas = chain(group(add(1, 1), add(2, 2)), group(xsum(), tag()), group(tag("a"), tag("b")))
    assert value(canvas) == [[[6, [[2, 4]]], "a"], [[6, [[2, 4]]], "b"]]


def test_4834_a_group_in_a_chain_in_a_chain_runs() -> None:
    assert value(chain(add(1, 1), chain(chain(group(add(1), add(2)), xsum()), tag()))) == [7]


# ------------------------------------------------------------------------------------------------ nothing


def test_9772_an_empty_group_is_an_empty_list() -> None:
    assert value(group()) == []
    assert value(chord([group(), add(1)], tag())) == [[1]]


def test_9772_an_empty_group_in_a_chain_is_skipped_wherever_it_stands() -> None:
    assert value(chain(add(1, 1), group(), tag())) == [2]
    assert value(chain(group(), add(1, 1), group())) == 2
    assert value(chain(group(), tag("a")), 5) == [5, "a"]


def test_9772_an_empty_chain_in_a_chain_passes_through() -> None:
    assert value(chain(add(1, 1), chain(), tag())) == [2]
    assert value(chain(chain(), tag("a")), 5) == [5, "a"]


def test_3756_an_empty_header_runs_its_body_with_an_empty_list() -> None:
    assert value(chord([], tag("body"))) == [[], "body"]
    assert value(chain(add(1, 1), chord([], tag("body")))) == [[], "body"]
    assert value(chord([group(), chain()], tag("body"))) == [[], "body"]
    assert value(chord([], fixed("canvases.tag", 1))) == [1]


def test_873_empty_chunks_are_an_empty_list() -> None:
    assert value(chunks("canvases.add", [], 10)) == []
    assert value(chain(chunks("canvases.add", [], 10), tag())) == [[]]


# ------------------------------------------------------------------------------------------------ failures


def test_6437_an_exception_in_a_group_of_chains_ends_the_group() -> None:
    assert error(group(chain(fail(), tag()), chain(tag(), tag()))) == X


def test_6220_a_chain_that_fails_early_in_a_header_fails_the_body() -> None:
    assert error(chord([chain(fail(), tag(), tag()), tag()], xsum())) == ChordFailed(X)


def test_9674_a_chain_that_fails_in_its_middle_in_a_header_fails_the_body() -> None:
    assert error(chord([chain(tag(), fail(), tag()), tag()], xsum())) == ChordFailed(X)


def test_8786_a_failing_member_of_the_first_group_settles_every_later_group() -> None:
    canvas = chain(group(tag(), fail()), group(tag(1), tag(2)), group(tag(3), tag(4)))
    assert error(canvas) == X
    assert sum(end_of(canvas).runs.values()) == 2


def test_8786_a_failing_task_between_groups_settles_what_is_behind_it() -> None:
    assert error(chain(group(tag(1), tag(2)), fail(), group(tag(3), tag(4)), tag())) == X


def test_a_retry_inside_a_header_is_waited_for() -> None:
    canvas = chord([call("canvases.flaky", 2, 3), add(5)], tag())
    assert value(canvas) == [[[2, 3], 5]]
    assert runs(canvas, "flaky", 2, 3) == 3


def test_a_retry_beyond_its_limit_inside_a_header_fails_the_body() -> None:
    canvas = chord([call("canvases.flaky", 2, 1), add(5)], tag())
    assert error(canvas) == ChordFailed(Raised("ValueError", "flaky"))
    assert runs(canvas, "flaky", 2, 1) == 2


# ------------------------------------------------------------------------------------------------ errbacks


@pytest.mark.parametrize("nested", [False, True])
def test_3317_9107_8211_3709_the_errback_of_a_chord_runs_once_however_many_members_fail(nested: bool) -> None:
    header = [fail("x"), fail("y"), fail("x"), chord([fail("x"), fail("y")], tag()) if nested else tag()]
    assert runs(on_error(chord(header, tag("body")), tag("sorry")), "tag", FAILED_ID, "sorry") == 1
    assert runs(chord(header, on_error(tag("body"), tag("sorry"))), "tag", FAILED_ID, "sorry") == 1


def test_3709_the_errback_of_the_other_style_runs_once_too() -> None:
    canvas = on_error(chord([fail("x"), fail("y")], tag("body")), call("canvases.sorry", "mine"))
    assert runs(canvas, "sorry", FAILED_ID, FAILED_ERROR, FAILED_TRACE, "mine") == 1


def test_3709_each_member_of_a_group_as_body_gets_its_own_errback_once() -> None:
    members = [on_error(tag(i), tag("sorry", i)) for i in range(3)]
    found = end_of(chord([fail("x"), fail("y")], group(*members))).runs
    assert [found[describe_call("canvases.tag", [FAILED_ID, "sorry", i], {})] for i in range(3)] == [1, 1, 1]


def test_4281_an_errback_of_a_group_hangs_on_all_of_it_and_runs_once() -> None:
    canvas = on_error(group(tag(), fail("x"), on_error(fail("y"), tag("mine"))), tag("ours"))
    assert runs(canvas, "tag", FAILED_ID, "ours") == 1
    assert runs(canvas, "tag", FAILED_ID, "mine") == 1


def test_6766_an_errback_of_a_group_gets_the_failed_id_unless_it_says_that_it_takes_nothing() -> None:
    assert runs(on_error(group(tag(), fail()), tag("ours")), "tag", FAILED_ID, "ours") == 1
    assert runs(on_error(group(tag(), fail()), fixed("canvases.tag", "ours")), "tag", "ours") == 1


def test_6766_a_link_of_a_group_gets_the_whole_list_once() -> None:
    assert runs(linked(group(add(1), add(2)), tag("done")), "tag", [1, 2], "done") == 1


def test_8678_a_replacement_in_a_header_keeps_the_errbacks_of_every_level() -> None:
    member = on_error(becomes(group(tag(), fail())), tag("member"))
    canvas = on_error(chord([member, tag()], tag("body")), tag("chord"))
    assert error(canvas) == ChordFailed(X)
    assert runs(canvas, "tag", FAILED_ID, "member") == 1
    assert runs(canvas, "tag", FAILED_ID, "chord") == 1


# ------------------------------------------------------------------------------------------------ replace


@pytest.mark.parametrize(
    ("replacement", "gives"),
    [
        pytest.param(add(1, 1), 2, id="a task"),
        pytest.param(chain(add(1), add(2)), 3, id="a chain"),
        pytest.param(group(add(1), add(2)), [1, 2], id="a group"),
        pytest.param(group(), [], id="an empty group"),
        pytest.param(chord([add(1), add(2)], tag()), [[1, 2]], id="a chord"),
        pytest.param(chain(add(1), group(add(1), add(2))), [2, 3], id="a chain that ends in a group"),
        pytest.param(becomes(becomes(group(add(1), add(2)))), [1, 2], id="a replacement that is replaced again"),
        pytest.param(call("canvases.flaky", 1, 2), [1, 2], id="a task that is retried"),
    ],
)
def test_4196_2722_a_replacement_keeps_the_outer_body_and_all_else_that_waits(replacement: Canvas, gives: Any) -> None:
    assert value(chord([becomes(replacement), add(5)], tag())) == [[gives, 5]]
    assert value(chord([add(5)], becomes(replacement))) == gives
    assert value(chain(add(1), becomes(replacement), tag("next"))) == [gives, "next"]
    assert value(chord([chord([add(5), becomes(replacement)], tag()), add(6)], tag())) == [[[[5, gives]], 6]]
    assert runs(linked(becomes(replacement), tag("done")), "tag", gives, "done") == 1


def test_4196_a_task_inside_a_chord_inside_a_chord_is_replaced_by_a_chord() -> None:
    inner = chord([becomes(chord([add(1), add(2)], xsum())), add(4)], tag("inner"))
    assert value(chord([inner, add(6)], tag("outer"))) == [[[[3, 4], "inner"], 6], "outer"]


@pytest.mark.parametrize(
    ("replacement", "wanted"),
    [
        pytest.param(fail(), X, id="a task"),
        pytest.param(chain(fail(), tag(), tag()), X, id="a chain"),
        pytest.param(group(tag(), fail()), X, id="a group"),
        pytest.param(chord([fail(), tag()], tag()), ChordFailed(X), id="a chord"),
        pytest.param(becomes(fail()), X, id="a replacement that is replaced again"),
        pytest.param(chain(chain()), EMPTY_REPLACEMENT, id="nothing"),
    ],
)
def test_2722_a_failing_replacement_fails_the_outer_body_and_hangs_nothing(replacement: Canvas, wanted: Error) -> None:
    assert error(chord([becomes(replacement), add(5)], tag())) == ChordFailed(wanted)
    assert error(chain(becomes(replacement), tag(), group(tag(), tag()))) == wanted
    assert runs(on_error(becomes(replacement), tag("sorry")), "tag", FAILED_ID, "sorry") == 1


def test_9484_what_a_header_member_adds_to_its_chord_is_waited_for() -> None:
    assert value(chord([call("canvases.grows", "a", chain(add(1), add(2))), add(5)], tag())) == [[["a"], 5, 3]]
    assert error(chord([call("canvases.grows", "a", fail()), add(5)], tag())) == ChordFailed(X)


# ------------------------------------------------------------------------------------------------ revoke


def revoked() -> Canvas:
    return having(tag("revoked"), task_id="revoked")


def test_10526_10527_10564_a_revoked_header_member_ends_the_body() -> None:
    assert error(chord([revoked(), add(1)], tag())) == ChordFailed(REVOKED)
    assert error(chord([chain(tag(), revoked(), tag()), add(1)], tag())) == ChordFailed(REVOKED)
    assert error(chord([chord([revoked(), tag()], tag()), add(1)], tag())) == ChordFailed(ChordFailed(REVOKED))


def test_10526_the_errback_of_a_chord_with_a_revoked_member_runs_once() -> None:
    canvas = on_error(chord([revoked(), add(1)], tag()), tag("sorry"))
    assert runs(canvas, "tag", FAILED_ID, "sorry") == 1


def test_4886_8737_4300_a_revoke_needs_no_worker_and_survives_a_restart() -> None:
    cluster = SimulatedCluster(FUNCTIONS)
    graph = cluster.submit(chunks_of(chain(revoked(), tag())), "revoked")
    cluster.crash()
    assert cluster.state(graph, 0) is NodeState.REVOKED
    outcome = cluster.outcome(graph, 1)
    assert outcome is not None
    assert outcome.failure is not None
    assert error_of(outcome.failure) == REVOKED
    cluster.turn(cluster.add_worker("w1"))
    assert not cluster.calls


# ------------------------------------------------------------------------------------------------ size, and submission


def test_5000_3571_5286_9202_10171_what_is_sent_grows_in_line_with_the_canvas() -> None:
    def size(width: int, depth: int) -> int:
        body = chain(*[chord([add(1) for _ in range(width)], xsum()) for _ in range(depth)])
        return sum(chunk.ByteSize() for chunk in chunks_of(body))

    assert size(10, 5) < 10_000
    assert size(10, 50) < 15 * size(10, 5)
    assert size(100, 5) < 15 * size(10, 5)


@pytest.mark.parametrize("where", ["before", "after"])
def test_2725_1700_1544_an_interrupted_submission_leaves_all_of_a_chord_or_nothing(where: str) -> None:
    cluster = SimulatedCluster(FUNCTIONS)
    cluster.crash_at_next_commit(where)
    canvas = chord([add(i) for i in range(5)], xsum())
    pieces = chunks_of(canvas)
    cluster.submitted[pieces[0].graph] = []  # its client dies with the coordinator and sends nothing again
    cluster.post(*cluster.events_of(pieces))
    assert cluster.crashes == 1
    root = cluster.engine.committed.graph(pieces[0].graph)
    assert (root is None) is (where == "before")
    if root is not None:
        cluster.submitted.clear()
        worker = cluster.add_worker("w1")
        cluster.run(pieces[0].graph)
        assert cluster.value(pieces[0].graph, 6) == 10
        assert worker in cluster.workers
