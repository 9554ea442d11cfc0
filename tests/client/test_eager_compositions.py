"""Canvases in this process: their values, their errors, their callbacks, replacements, and any depth."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.eager_tasks import (
    add,
    app,
    become,
    fail,
    grow,
    hear,
    hear_all,
    heard,
    leave,
    look,
    run,
    same,
    sink,
    total,
)

from grpcflow import (
    ChordError,
    GroupResult,
    GrpcflowError,
    ImproperlyConfigured,
    NotRegistered,
    Signature,
    TaskRevokedError,
    chain,
    chord,
    group,
    signature,
)
from grpcflow.result.eager import EagerGroupResult


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Forgets what earlier tests heard; failures that are meant need no line in the log."""
    heard.clear()
    log = logging.getLogger("grpcflow.task")
    before, log.disabled = log.disabled, True
    yield
    log.disabled = before


# ------------------------------------------------------------------------------------------------ canvases


def test_a_chain_walks_back_by_its_parents() -> None:
    result = run(chain(add.s(1), add.s(10), add.s(100)), 0)
    assert result.get() == 111
    assert (result.parent.get(), result.parent.parent.get()) == (11, 1)
    assert result.parent.parent.parent is None
    assert result.parent is result.parent


def test_the_first_call_is_the_root_of_all() -> None:
    seen = run(chord([look.s(), chain(look.si(), look.si())], same.s())).get()
    first = seen[0].id
    assert [request.root_id for request in seen] == [first, first]
    assert run(chain(look.si(), look.si()), root_id="mine").get().root_id == "mine"


def test_a_group_gives_a_group_of_results() -> None:
    result = run(group(add.s(1), group(add.s(2)), chain(add.s(3), add.s(4))), 10)
    assert isinstance(result, EagerGroupResult)
    assert isinstance(result, GroupResult)
    assert result.get() == result.join() == [11, 12, 17]
    assert [member.get() for member in result] == [11, 12, 17]
    assert (len(result), result[1].get(), result.state) == (3, 12, "SUCCESS")
    assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (True, True, False, False)
    assert result.completed_count() == 3
    assert [(key, record["result"]) for key, record in result.iter_native()] == [
        (member.id, member.get()) for member in result
    ]
    result.get(callback=lambda key, value: heard.append((key, value)))
    assert heard == [(member.id, member.get()) for member in result]


def test_a_failing_member_fails_its_group_and_the_others_run() -> None:
    result = run(group(fail.s(), hear.si(1)))
    assert heard == [1]
    assert (result.failed(), result.state, result.completed_count()) == (True, "FAILURE", 1)
    with pytest.raises(ValueError, match="no"):
        result.get()
    assert [type(value) for value in result.get(propagate=False)] == [ValueError, type(None)]


def test_a_revoked_group_and_one_that_is_to_be_saved() -> None:
    result = run(group(add.s(1, 1), add.s(2, 2)))
    with pytest.raises(GrpcflowError, match="this process"):
        result.save()
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get()


def test_empty_parts() -> None:
    assert run(chain()) is None
    assert run(group()).get() == []
    assert run(chord([], total.s())).get() == 0
    assert run(chord([], same.s())).get() == []
    assert run(chain(group(), add.s(1)), 1).get() == 2
    assert isinstance(run(chain(fail.s(), group())).get(propagate=False), ValueError)


def test_a_chord_and_its_failure() -> None:
    result = run(chord([add.s(1, 1), add.s(2, 2)], total.s()))
    assert result.get() == 6
    assert result.parent.get() == [2, 4]
    failed = run(chord([add.s(1, 1), fail.s()], total.s().on_error(hear.s())))
    with pytest.raises(ChordError, match=r"Dependency .* raised ValueError\('no'\)") as caught:
        failed.get()
    assert isinstance(caught.value.__cause__, ValueError)
    assert heard == [failed.id]


def test_map_starmap_and_chunks() -> None:
    assert run(same.map([1, 2])).get() == [1, 2]
    assert run(add.starmap([(1, 2), (3, 4)])).get() == [3, 7]
    assert run(add.chunks([(1, 2), (3, 4), (5, 6)], 2)).get() == [[3, 7], [11]]


def test_links_and_errbacks_run_once() -> None:
    assert add.apply((1, 1), link=[hear.s(), chain(add.s(1), hear.s())]).get() == 2
    assert heard == [2, 3]
    heard.clear()
    result = run(chain(fail.s(), add.s(1), add.s(2)).on_error(hear.s()))
    assert heard == [result.parent.parent.id]


def test_errbacks_behind_a_failing_step_are_silent() -> None:
    run(chain(fail.s(), add.s(1).on_error(hear.s()), group(add.s(1), add.s(2)).on_error(hear.s())))
    assert heard == []


def test_an_errback_of_three_parameters_is_told_everything() -> None:
    result = fail.apply((7,), link_error=hear_all.s())
    ((request, error, traceback),) = heard
    assert (request.id, list(request.args), error) == (result.id, [7], result.result)
    assert "ValueError: no" in traceback


def test_links_are_the_children_of_a_result() -> None:
    result = add.apply((1, 1), link=add.s(1))
    assert [child.get() for child in result.children] == [3]
    assert [(node.id, value) for node, value in result.collect()] == [(result.id, 2), (result.children[0].id, 3)]


def test_what_is_behind_an_ignored_call() -> None:
    assert run(chain(leave.s("ignore"), hear.s())).state == "IGNORED"
    with pytest.raises(ChordError):
        run(chord([leave.s("ignore"), add.s(1, 1)], hear.s())).get()
    assert heard == []


def test_a_value_that_is_not_kept_is_not_handed_on() -> None:
    result = run(chain(add.s(1, 1).set(ignore_result=True), same.s()))
    assert result.get() is None
    assert result.parent.get() == 2


def test_a_task_that_nobody_knows_is_refused_before_anything_runs() -> None:
    with pytest.raises(NotRegistered):
        run(chain(hear.s(1), signature("nowhere", app=app)), app=app)
    assert heard == []


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError):
        add.apply((1, 1), colour="red")


# ------------------------------------------------------------------------------------------------ replacing


def test_a_replacement_ends_for_the_task_in_whose_place_it_runs() -> None:
    result = run(chain(become.si(into=chain(add.s(1, 2), add.s(3))), add.s(4)))
    assert result.get() == 10
    assert run(chord([become.si(into=group(add.s(1, 1), add.s(2, 2)))], same.s())).get() == [[2, 4]]
    assert run(chord([become.si(into=chord([add.s(1, 1)], total.s())), add.s(5, 5)], total.s())).get() == 12


def test_a_replacement_has_the_place_of_the_replaced_call() -> None:
    result = run(chord([same.s(0), become.si(into=chain(same.s(1), look.s()))], same.s()), task_id="body")
    request = result.get()[1]
    assert (request.id, request.group, request.group_index) == (result.parent[1].id, result.parent.id, 1)
    assert request.replaced_task_nesting == 1


def test_a_failing_replacement_fires_the_errbacks_of_the_replaced_call_once() -> None:
    result = run(become.si(into=chain(fail.s(), add.s(1))).on_error(hear.s()))
    assert isinstance(result.get(propagate=False), ValueError)
    assert heard == [result.id]


def test_nothing_behind_a_replacement_runs() -> None:
    @app.task(name="goes_on", bind=True)
    def goes_on(self: Any) -> None:
        try:
            self.replace(add.s(1, 1))
        finally:
            heard.append("behind")
        heard.append("never")

    assert goes_on.apply().get() == 2
    assert heard == ["behind"]


def test_an_empty_replacement_is_refused_in_the_task() -> None:
    assert isinstance(run(become.si(into=chain())).result, ImproperlyConfigured)


def test_a_member_that_grows_its_chord() -> None:
    assert run(chord([grow.s(1), grow.s(2)], same.s())).get() == [1, 2, 10, 20]
    assert isinstance(grow.apply((1,)).result, ValueError)


def test_an_empty_chain_that_is_added_to_a_chord_adds_nothing() -> None:
    @app.task(bind=True, name="eager.grows_by_nothing")
    def grows_by_nothing(self: Any, value: int) -> int:
        assert self.add_to_chord(chain()) is None
        return value

    assert run(chord([grows_by_nothing.s(1), same.s(2)], same.s())).get() == [1, 2]


# ------------------------------------------------------------------------------------------------ depth and size


def test_depth_needs_no_stack() -> None:
    assert run(chain(*[add.s(1)] * 10_000), 0).get() == 10_000
    assert sink.apply((1_500,)).get() == 1_500
    nested: Signature = same.s(1)
    for _ in range(50):
        nested = group(nested, same.s(2))
    value = run(nested).get()
    assert (len(value), value[0]) == (51, 1)
    inner: Any = same.s(1)
    for _ in range(50):
        inner = chord([inner], same.s())
    value = run(inner).get()
    for _ in range(50):
        (value,) = value
    assert value == 1


def test_a_failure_at_the_head_of_a_long_chain_is_the_error_of_its_end() -> None:
    result = run(chain(fail.s(), *[add.s(1)] * 5_000))
    assert isinstance(result.get(propagate=False), ValueError)
