"""The reference evaluator against expectations written by hand, so that the judge is judged too.

The first part goes through the meaning of each primitive; the second through the complaints about Celery that are about
values and callbacks, by the numbers of their issues. May NOT import grpcflow.
"""

import json
from collections import Counter
from typing import Any

import pytest
from tests.support.functions import FUNCTIONS
from tests.support.reference import (
    FAILED_ID,
    ChordFailed,
    Error,
    Outcome,
    Raised,
    canonical,
    describe_call,
    evaluate,
)
from tests.support.written import Canvas, call, chain, chord, chunks, fixed, group, linked, on_error, xmap, xstarmap


def add(*args: Any) -> Canvas:
    return call("canvases.add", *args)


def mul(*args: Any) -> Canvas:
    return call("canvases.mul", *args)


def xsum(*args: Any) -> Canvas:
    return call("canvases.xsum", *args)


def tag(*args: Any, **kwargs: Any) -> Canvas:
    return call("canvases.tag", *args, **kwargs)


def fail(message: str) -> Canvas:
    return call("canvases.fail", message)


def run(canvas: Canvas, *args: Any, **kwargs: Any) -> Outcome:
    return evaluate(canvas, FUNCTIONS, args, kwargs)


def value(canvas: Canvas, *args: Any, **kwargs: Any) -> Any:
    outcome = run(canvas, *args, **kwargs)
    assert outcome.value is not None, f"it failed with {outcome.errors}"
    assert not outcome.errors
    return json.loads(outcome.value)


def errors(canvas: Canvas, *args: Any) -> set[Error]:
    outcome = run(canvas, *args)
    assert outcome.value is None, f"it succeeded with {outcome.value}"
    return set(outcome.errors)


def runs_of(canvas: Canvas, task: str, *args: Any) -> int:
    """How often *task* ran with exactly *args*."""
    return run(canvas).runs[call_text(task, *args)]


def error(message: str) -> Raised:
    return Raised("ValueError", message)


X, Y = error("x"), error("y")


# ------------------------------------------------------------------------------------------------ one call


def test_a_call_gives_its_value() -> None:
    assert value(add(2, 2)) == 4


def test_partial_arguments_are_prepended_and_keyword_arguments_merge() -> None:
    assert value(tag(2, a=1, b=1), 1, b=2) == [1, 2, {"a": 1, "b": 2}]


def test_an_immutable_call_takes_nothing() -> None:
    assert value(fixed("canvases.tag", 5), 1) == [5]
    assert value(chain(add(1, 1), fixed("canvases.tag", 5))) == [5]


def test_a_failing_call_gives_its_error() -> None:
    assert errors(fail("x")) == {X}


def test_a_tuple_comes_back_as_a_list() -> None:
    assert value(tag((1, (2,)))) == [[1, [2]]]


def test_map_and_starmap_are_one_run_each() -> None:
    outcome = run(xmap("canvases.xsum", [[1, 2], [3]]))
    assert outcome.value == "[3, 3]"
    assert list(outcome.runs.values()) == [1]
    assert value(xstarmap("canvases.add", [(1, 2), (3, 4)])) == [3, 7]
    assert value(chain(add(9, 9), xmap("canvases.xsum", [[1], [2]]))) == [1, 2]


def test_chunks_are_a_group_of_starmaps() -> None:
    pairs = [(i, i) for i in range(5)]
    outcome = run(chunks("canvases.add", pairs, 2))
    assert outcome.value == "[[0, 2], [4, 6], [8]]"
    assert sum(outcome.runs.values()) == 3


# ------------------------------------------------------------------------------------------------ chains


def test_a_chain_hands_each_value_on() -> None:
    assert value(chain(add(4, 4), mul(8))) == 64
    assert value(chain(add(4), mul(8)), 4) == 64


def test_nested_chains_splice() -> None:
    assert value(chain(add(1, 1), chain(mul(3), chain(add(1))), tag())) == [7]


def test_keyword_arguments_of_the_whole_reach_the_first_step_only() -> None:
    assert value(chain(tag(), tag()), 1, a=2) == [[1, {"a": 2}]]


def test_a_failing_step_fails_all_behind_it_with_the_same_error() -> None:
    canvas = chain(add(1, 1), fail("x"), tag(), group(tag(1), tag(2)), tag())
    assert errors(canvas) == {X}
    assert run(canvas).runs == Counter([call_text("add", 1, 1), call_text("fail", 2, "x")])


def test_a_chord_behind_a_failing_step_fails_with_that_error_too() -> None:
    assert errors(chain(fail("x"), group(tag(1), tag(2)), xsum())) == {X}
    assert errors(chain(fail("x"), chord([tag(1)], xsum()), tag())) == {X}


def call_text(task: str, *args: Any) -> str:
    return describe_call(f"canvases.{task}", args, {})


# ------------------------------------------------------------------------------------------------ groups and chords


def test_a_group_gives_a_list_in_member_order() -> None:
    assert value(group(add(1, 1), add(2, 2))) == [2, 4]
    assert value(group(add(1), add(2)), 10) == [11, 12]


def test_keyword_arguments_of_the_whole_reach_every_member() -> None:
    assert value(group(tag(), tag(1)), a=2) == [[{"a": 2}], [1, {"a": 2}]]


def test_groups_in_groups_flatten() -> None:
    assert value(group(add(1, 1), group(add(2, 2), group(add(3, 3))))) == [2, 4, 6]


def test_a_member_that_is_a_chain_or_chord_counts_as_one() -> None:
    assert value(group(chain(add(1, 1), mul(5)), chord([add(1, 1), add(2, 2)], xsum()), tag())) == [10, 6, []]


def test_a_group_of_one_in_a_chain_is_its_member() -> None:
    assert value(chain(add(1, 1), group(tag()), tag())) == [[2]]
    assert value(chain(add(1, 1), group(tag()))) == [2]
    assert value(chain(add(1, 1), group(group(chain(add(1), tag()))))) == [3]


def test_a_group_of_one_alone_is_a_list() -> None:
    assert value(group(add(1, 1))) == [2]


def test_a_chord_gives_its_body_the_list() -> None:
    assert value(chord([add(i, i) for i in range(10)], xsum())) == 90
    assert value(chord([add(1, 1)], tag())) == [[2]]
    assert value(chord([add(1, 1)], fixed("canvases.tag", 7))) == [7]


def test_the_value_before_a_chord_goes_to_its_header() -> None:
    assert value(chain(add(1, 1), chord([add(1), add(2)], tag()))) == [[3, 4]]


def test_a_chord_whose_body_is_a_group_gives_the_list_to_each_member() -> None:
    assert value(chord([add(1, 1), add(2, 2)], group(tag("a"), xsum()))) == [[[2, 4], "a"], 6]


def test_a_group_behind_a_group_gets_the_list() -> None:
    assert value(chain(group(add(1, 1), add(2, 2)), group(tag(), xsum()), tag())) == [[[[2, 4]], 6]]


def test_a_failing_member_fails_the_group_and_the_others_still_run() -> None:
    canvas = group(fail("x"), add(1, 1), fail("y"))
    assert errors(canvas) == {X, Y}
    assert runs_of(canvas, "add", 1, 1) == 1


def test_a_failing_header_gives_the_body_a_chord_error() -> None:
    canvas = chord([fail("x"), add(1, 1), fail("y")], tag("body"))
    assert errors(canvas) == {ChordFailed(X), ChordFailed(Y)}
    assert sum(run(canvas).runs.values()) == 3


def test_what_follows_the_body_gets_the_same_chord_error() -> None:
    assert errors(chain(group(fail("x"), add(1, 1)), tag(), tag())) == {ChordFailed(X)}


def test_a_group_as_body_fails_with_the_members_error() -> None:
    assert errors(chord([fail("x")], group(tag(1), tag(2)))) == {X}
    assert errors(chain(group(fail("x"), tag()), group(tag(1), tag(2)), tag())) == {ChordFailed(X)}


def test_a_chord_in_a_header_passes_its_chord_error_on() -> None:
    assert errors(chord([chord([fail("x")], xsum()), add(1, 1)], xsum())) == {ChordFailed(ChordFailed(X))}


# ------------------------------------------------------------------------------------------------ callbacks


def test_a_link_gets_the_value_once() -> None:
    assert runs_of(linked(add(1, 1), tag("done")), "tag", 2, "done") == 1
    assert runs_of(linked(add(1, 1), fixed("canvases.tag", "done")), "tag", "done") == 1


def test_a_link_of_a_failing_call_does_not_run() -> None:
    assert sum(run(linked(fail("x"), tag())).runs.values()) == 1


def test_a_failing_link_changes_nothing() -> None:
    assert value(linked(add(1, 1), fail("x"))) == 2


def test_links_of_links_run() -> None:
    assert runs_of(linked(add(1, 1), linked(tag("a"), tag("b"))), "tag", [2, "a"], "b") == 1


def test_a_link_of_a_chain_gets_the_value_of_its_last_step() -> None:
    assert runs_of(linked(chain(add(1, 1), mul(5)), tag("done")), "tag", 10, "done") == 1


def test_a_link_of_a_group_gets_the_list() -> None:
    assert runs_of(linked(group(add(1, 1), add(2, 2)), tag("done")), "tag", [2, 4], "done") == 1


def test_an_errback_is_told_which_call_failed_once() -> None:
    assert runs_of(on_error(fail("x"), tag("sorry")), "tag", FAILED_ID, "sorry") == 1
    assert sum(run(on_error(add(1, 1), tag("sorry"))).runs.values()) == 1


def test_an_errback_of_a_later_step_is_silent() -> None:
    assert sum(run(chain(fail("x"), on_error(tag(), tag("sorry")))).runs.values()) == 1
    assert sum(run(chain(fail("x"), on_error(group(tag(), tag(1)), tag("sorry")))).runs.values()) == 1
    assert sum(run(chain(fail("x"), on_error(chain(tag(), tag()), tag("sorry")), tag())).runs.values()) == 1
    assert sum(run(chain(fail("x"), group(tag(), tag(1)), on_error(tag(), tag("sorry")))).runs.values()) == 1


def test_an_errback_of_a_chain_fires_once_for_whatever_step_fails() -> None:
    sorry = tag("sorry")
    for steps in ([fail("x"), tag(), tag()], [tag(), fail("x"), tag()], [group(fail("x"), fail("y")), tag(), tag()]):
        assert runs_of(on_error(chain(*steps), sorry), "tag", FAILED_ID, "sorry") == 1


def test_an_errback_of_a_group_fires_once_for_many_failures() -> None:
    assert runs_of(on_error(group(fail("x"), fail("y")), tag("sorry")), "tag", FAILED_ID, "sorry") == 1
    assert runs_of(on_error(group(chain(fail("x"), tag()), tag()), tag("sorry")), "tag", FAILED_ID, "sorry") == 1


# ------------------------------------------------------------------------------------------------ complaints


def nested(depth: int) -> Canvas:
    return add(1, 1) if not depth else chord([nested(depth - 1), nested(depth - 1)], xsum())


@pytest.mark.parametrize(
    ("canvas", "wanted"),
    [
        pytest.param(nested(3), 16, id="4401, 2573, 4681, 5612: nested chords complete"),
        pytest.param(
            chord([chain(add(1, 1), group(add(1), add(2))), chain(group(add(1, 1), add(2, 2)))], tag()),
            [[[3, 4], [2, 4]]],
            id="8182: a chain that ends in, or holds only, a group counts as one list",
        ),
        pytest.param(
            chain(group(add(1, 1), add(2, 2)), xsum(), tag(), group(tag("a"), tag("b"))),
            [[[6], "a"], [[6], "b"]],
            id="5354: group, task, task, group",
        ),
        pytest.param(
            chain(group(add(1, 1), add(2, 2)), group(xsum(), tag()), group(tag("a"), tag("b"))),
            [[[6, [[2, 4]]], "a"], [[6, [[2, 4]]], "b"]],
            id="3585: groups in a row",
        ),
        pytest.param(
            chain(add(1, 1), chain(chain(group(add(1), add(2)), xsum()), tag())),
            [7],
            id="4834: group in a double chain",
        ),
        pytest.param(group(), [], id="9772: an empty group is []"),
        pytest.param(chain(add(1, 1), group(), tag()), [2], id="9772: an empty group in a chain is skipped"),
        pytest.param(chain(group(), add(1, 1), group()), 2, id="9772: also at either end"),
        pytest.param(chain(add(1, 1), chain(), tag()), [2], id="9772: an empty chain passes through"),
        pytest.param(chord([], tag("body")), [[], "body"], id="3756: an empty header runs its body with []"),
        pytest.param(chain(add(1, 1), chord([], tag("body"))), [[], "body"], id="3756: also behind a step"),
        pytest.param(chord([], fixed("canvases.tag", 1)), [1], id="3756: unless the body takes nothing"),
        pytest.param(chunks("canvases.add", [], 10), [], id="873: empty chunks are []"),
    ],
)
def test_complaints_about_values(canvas: Canvas, wanted: Any) -> None:
    assert run(canvas).value == canonical(wanted)


def test_leading_empty_steps_do_not_swallow_partial_arguments() -> None:
    assert value(chain(group(), chain(), tag("a")), 5) == [5, "a"]


@pytest.mark.parametrize(
    ("canvas", "wanted"),
    [
        pytest.param(group(chain(fail("x"), tag()), chain(tag(), tag())), {X}, id="6437: error in a group of chains"),
        pytest.param(chord([chain(fail("x"), tag()), tag()], xsum()), {ChordFailed(X)}, id="6220: chain in a header"),
        pytest.param(
            chord([chain(tag(), fail("x"), tag()), tag()], xsum()), {ChordFailed(X)}, id="9674: in its middle"
        ),
        pytest.param(
            chain(group(tag(), fail("x")), group(tag(1), tag(2)), group(tag(3), tag(4))),
            {X},
            id="8786: a failing member of the first of many groups",
        ),
    ],
)
def test_complaints_about_errors(canvas: Canvas, wanted: set[Error]) -> None:
    assert errors(canvas) == wanted


def test_3317_9107_8211_3709_the_errback_of_a_chord_fires_once() -> None:
    canvas = on_error(chord([fail("x"), fail("y"), tag()], tag("body")), tag("sorry"))
    assert runs_of(canvas, "tag", FAILED_ID, "sorry") == 1
    canvas = chord([fail("x"), fail("y")], on_error(tag("body"), tag("sorry")))
    assert runs_of(canvas, "tag", FAILED_ID, "sorry") == 1


def test_each_member_of_a_group_body_gets_its_own_errback() -> None:
    members = [on_error(tag(i), tag("sorry", i)) for i in range(3)]
    outcome = run(chord([fail("x"), fail("y")], group(*members)))
    assert [outcome.runs[call_text("tag", FAILED_ID, "sorry", i)] for i in range(3)] == [1, 1, 1]


def test_4281_an_errback_of_a_group_is_not_copied_on_its_members() -> None:
    canvas = on_error(group(fail("x"), on_error(fail("y"), tag("mine"))), tag("ours"))
    assert runs_of(canvas, "tag", FAILED_ID, "ours") == 1
    assert runs_of(canvas, "tag", FAILED_ID, "mine") == 1


def test_an_errback_in_a_header_does_not_mend_the_chord() -> None:
    canvas = chord([on_error(fail("x"), tag("mine"))], tag("body"))
    assert errors(canvas) == {ChordFailed(X)}
    assert runs_of(canvas, "tag", FAILED_ID, "mine") == 1
