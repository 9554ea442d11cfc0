"""The reference evaluator against expectations written by hand, so that the judge is judged too.

It goes through the meaning of each primitive; what users of Celery complain about is in test_complaints.py. May NOT
import grpcflow.
"""

import json
from collections import Counter
from typing import Any

from tests.support.functions import FUNCTIONS
from tests.support.reference import (
    EMPTY_REPLACEMENT,
    EXPIRED,
    FAILED_ERROR,
    FAILED_ID,
    FAILED_TRACE,
    IGNORED,
    REVOKED,
    ChordFailed,
    Error,
    Outcome,
    Raised,
    describe_call,
    evaluate,
)
from tests.support.written import (
    Canvas,
    call,
    chain,
    chord,
    chunks,
    fixed,
    group,
    having,
    linked,
    on_error,
    xmap,
    xstarmap,
)


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


def test_leading_empty_steps_do_not_swallow_partial_arguments() -> None:
    assert value(chain(group(), chain(), tag("a")), 5) == [5, "a"]


def test_an_errback_in_a_header_does_not_mend_the_chord() -> None:
    canvas = chord([on_error(fail("x"), tag("mine"))], tag("body"))
    assert errors(canvas) == {ChordFailed(X)}
    assert runs_of(canvas, "tag", FAILED_ID, "mine") == 1


def test_an_empty_group_is_an_empty_list_and_is_skipped_in_a_chain() -> None:
    assert value(group()) == []
    assert value(chain(add(1, 1), group(), chain(), tag())) == [2]
    assert value(chain(group(), add(1, 1), group())) == 2
    assert value(chain(add(1, 1), group(chain(group())), tag())) == [2]


def test_an_empty_chain_is_no_member() -> None:
    assert value(group(add(1, 1), chain(), group(chain(chain())))) == [2]


def test_a_chain_of_nothing_but_empty_groups_is_an_empty_list_where_it_stands_alone() -> None:
    assert value(chain(group())) == []
    assert value(group(chain(group(), group()), add(1, 1))) == [[], 2]


def test_a_chord_without_a_body_is_its_header() -> None:
    assert value(chord([add(1, 1), add(2, 2)], chain())) == [2, 4]
    assert value(chain(chord([add(1, 1)], chain()), tag())) == [[2]]
    assert errors(chain(chord([fail("x")], chain()), tag())) == {ChordFailed(X)}
    assert value(chord([], chain())) == []


# ------------------------------------------------------------------------------------------------ ends of other kinds


def test_a_retried_call_runs_until_it_succeeds_or_is_at_its_limit() -> None:
    canvas = call("canvases.flaky", 2, 3)
    assert value(canvas) == [2, 3]
    assert runs_of(canvas, "flaky", 2, 3) == 3
    canvas = call("canvases.flaky", 3, 1)
    assert errors(canvas) == {Raised("ValueError", "flaky")}
    assert runs_of(canvas, "flaky", 3, 1) == 2


def test_what_hangs_on_an_ignored_call_is_ignored_and_silent() -> None:
    ignored = linked(on_error(call("canvases.ignore"), tag("sorry")), tag("done"))
    outcome = run(chain(ignored, on_error(tag(), tag("sorry")), group(tag(1), tag(2)), tag()))
    assert outcome.ignored
    assert sum(outcome.runs.values()) == 1


def test_an_ignored_member_fails_its_group_however_long_its_chain_is() -> None:
    for member in (call("canvases.ignore"), chain(call("canvases.ignore"), tag(), group(tag(1), tag(2)))):
        assert errors(group(member, tag())) == {IGNORED}
        assert errors(chord([member, tag()], tag())) == {ChordFailed(IGNORED)}


def test_a_rejected_call_fails() -> None:
    assert errors(chain(call("canvases.reject", "x"), tag())) == {Raised("Reject", "x")}


def test_an_expired_call_fails_without_running() -> None:
    canvas = on_error(having(tag(), expires=-1), tag("sorry"))
    assert errors(canvas) == {EXPIRED}
    assert run(canvas).runs == Counter([call_text("tag", FAILED_ID, "sorry")])


def test_a_revoked_call_fails_before_anything_else_does() -> None:
    revoked = on_error(having(tag(), task_id="revoked"), tag("sorry"))
    canvas = chain(fail("x"), revoked, tag())
    assert errors(canvas) == {REVOKED}
    assert run(canvas).runs == Counter([call_text("fail", "x"), call_text("tag", FAILED_ID, "sorry")])
    assert errors(chain(fail("x"), group(having(tag(), task_id="revoked"), tag()), tag())) == {ChordFailed(REVOKED)}


def test_a_replacement_ends_the_call_with_its_value_and_takes_nothing_from_it() -> None:
    canvas = chain(add(1, 1), linked(becomes(group(tag("a"), tag("b"))), tag("done")), tag())
    assert value(canvas) == [[["a"], ["b"]]]
    assert runs_of(canvas, "tag", [["a"], ["b"]], "done") == 1
    assert value(becomes(becomes(becomes(add(1, 1))))) == 2


def test_a_failing_replacement_fails_the_call_on_its_own_account() -> None:
    replaced = on_error(becomes(on_error(chain(fail("x"), tag()), tag("theirs"))), tag("ours"))
    canvas = chain(replaced, tag())
    assert errors(canvas) == {X}
    assert [runs_of(canvas, "tag", FAILED_ID, whose) for whose in ("theirs", "ours")] == [1, 1]
    assert errors(becomes(chain(chain()))) == {EMPTY_REPLACEMENT}


def test_what_is_added_to_a_chord_comes_last_in_its_list() -> None:
    assert value(chord([call("canvases.grows", "a", add(1, 1)), add(2, 2)], tag())) == [[["a"], 4, 2]]
    assert errors(chord([call("canvases.grows", fail("x")), add(2, 2)], tag())) == {ChordFailed(X)}


def test_an_errback_of_the_other_style_gets_request_exception_and_traceback() -> None:
    canvas = on_error(fail("x"), call("canvases.sorry", "mine"))
    assert runs_of(canvas, "sorry", FAILED_ID, FAILED_ERROR, FAILED_TRACE, "mine") == 1


def becomes(canvas: Canvas) -> Canvas:
    return call("canvases.becomes", canvas)
