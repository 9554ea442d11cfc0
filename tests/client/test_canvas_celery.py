"""Celery's rules for signatures and canvases, one by one: forms, merging, ids, operators, links, misuse."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp, lowered_calls

from grpcflow import (
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    subtask,
    xmap,
)

app = FakeApp("rules")


@app.task(name="add")
def add(x: Any, y: Any, debug: bool = False) -> Any:
    return x + y


@app.task(name="noop")
def noop(*args: Any, **kwargs: Any) -> Any:
    return list(args)


A, B, C = noop.s("a"), noop.s("b"), noop.s("c")


def sent() -> list[list[Any]]:
    return lowered_calls(app.fake.last)


def run_ids() -> list[str]:
    return [run.id for run in app.fake.last[0].runs]


# --- forms ------------------------------------------------------------------------------------------------


def test_the_forms_of_a_signature() -> None:
    assert subtask is signature
    assert add.subtask((1, 2)) == add.signature((1, 2)) == signature("add", (1, 2)) == signature(add, args=(1, 2))
    assert signature("add", (1,), {"y": 2}, countdown=3, immutable=True) == {
        "task": "add",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {"countdown": 3},
        "subtask_type": None,
        "immutable": True,
    }
    assert signature(add.s(1)) is not add.s(1)
    assert Signature.from_dict(dict(add.s(1))) == add.s(1)
    assert type(chain.from_dict(dict(group(A)))) is group


def test_maybe_signature_gives_its_app_to_what_has_none() -> None:
    other = FakeApp("other", set_as_current=False)
    assert maybe_signature(Signature("x"), app=other).app is other
    assert maybe_signature({"task": "x"}, app=other).app is other
    assert maybe_signature(add.s(1), app=other).app is app
    assert maybe_signature(A, clone=True) == A


def test_ids_of_a_signature_are_attributes() -> None:
    sig = add.signature((1, 2), task_id="i", root_id="r", parent_id="p")
    assert (sig.id, sig.root_id, sig.parent_id, sig.name) == ("i", "r", "p", "add")


# --- merging ----------------------------------------------------------------------------------------------


def test_group_id_and_stamps_stick_and_other_options_do_not() -> None:
    sig = add.signature((1,), group_id="g", queue="a", stamped_headers=["s"], s=1)
    assert sig.clone(group_id="h", queue="b", s=2, stamped_headers=["s", "t"], t=3).options == {
        "group_id": "g",
        "queue": "b",
        "stamped_headers": ["s", "t"],
        "s": 1,
        "t": 3,
    }


def test_headers_merge_by_name() -> None:
    assert noop.signature(headers={"a": 1, "b": 1}).clone(headers={"b": 2}).options["headers"] == {"a": 1, "b": 2}


def test_a_clone_of_an_immutable_signature_takes_options_only() -> None:
    cloned = add.si(1, 2).clone((5,), {"debug": True}, queue="q")
    assert (cloned.args, cloned.kwargs, cloned.options) == ((1, 2), {}, {"queue": "q"})


def test_a_clone_copies_options_deeply_and_kwargs_by_one_level() -> None:
    value: list[int] = []
    sig = noop.signature((), {"k": value}, headers={"deep": {"er": [1]}})
    cloned = sig.clone()
    cloned.options["headers"]["deep"]["er"].append(2)
    cloned.kwargs["new"] = 1
    assert sig.options["headers"] == {"deep": {"er": [1]}}
    assert sig.kwargs == {"k": value}
    assert cloned.kwargs["k"] is value


def test_lazy_arguments_are_not_consumed_by_copies() -> None:
    lazy = iter(range(3))
    sig = noop.s(lazy, k=lazy)
    for copied in (sig.clone(), sig.set(queue="q"), sig.replace(), chain(sig, A).clone(), group(sig) | A):
        assert copied is not None
    assert list(lazy) == [0, 1, 2]


def test_a_generator_of_steps_or_members_is_read_once_when_it_is_composed() -> None:
    def steps() -> Iterator[Signature]:
        yield A
        yield B

    for kind in (chain, group):
        whole: Any = kind(steps())
        assert whole == whole.clone() == kind(A, B)
    endless = itertools.count()
    assert xmap(noop, itertools.islice(endless, 2)).kwargs["it"] == [0, 1]
    assert next(endless) == 2


def test_replace_takes_the_place_of_what_is_given_only() -> None:
    sig = add.signature((1,), {"y": 2}, queue="q")
    assert sig.replace(args=(5,)) == add.signature((5,), {"y": 2}, queue="q")
    assert sig.replace(kwargs={}, options={}) == add.s(1)


def test_kwargs_of_the_call_win_in_every_member() -> None:
    group(noop.s(k=1), noop.si(k=2), chain(noop.s(k=3), noop.s())).apply_async(kwargs={"k": 9})
    assert sent() == [["noop", [], {"k": 9}], ["noop", [], {"k": 2}], ["noop", [], {"k": 9}], ["noop", [], {}]]


# --- operators --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [A, chain(A, B), group(A, B), chord([A, B], C)], ids=lambda sig: sig.subtask_type)
@pytest.mark.parametrize("right", [A, chain(A, B), group(A, B), chord([A, B], C)], ids=lambda sig: sig.subtask_type)
def test_every_combination_of_the_operator_keeps_all_calls_in_order(left: Signature, right: Signature) -> None:
    def calls(sig: Signature) -> list[list[Any]]:
        sig.apply_async()
        return sent()

    before = (json.dumps(left), json.dumps(right))
    whole = left | right
    assert calls(whole) == calls(left) + calls(right)
    assert (json.dumps(left), json.dumps(right)) == before
    in_place: Any = left
    in_place |= right
    assert in_place == whole
    last = next(run for run in reversed(app.fake.last[0].runs) if run.children == [])
    assert last.first == app.fake.last[0].node_count - 1


def test_an_empty_group_on_the_right_changes_nothing() -> None:
    for left in (A, chain(A, B), group(A, B), chord([A], B)):
        assert (left | group()) is left


def test_a_chord_without_a_body_takes_what_follows_as_its_body() -> None:
    assert chord([A]) | B == chord([A], B)
    assert (A | chord([B])) | C == chain(A, chord([B], C))
    with pytest.raises(ValueError, match="no body"):
        chain(A, chord([B])).apply_async()


def test_chords_in_bodies_grow_at_their_inner_end() -> None:
    assert chord([A], chord([B], C)) | A == chord([A], chord([B], C | A))


# --- ids before sending -----------------------------------------------------------------------------------


def test_freeze_keeps_an_id_that_is_there() -> None:
    sig = add.s(1, 2)
    assert sig.freeze("first").id == sig.freeze("second").id == "first"
    whole = chain(A.clone(), B.clone())
    assert whole.freeze("last").id == whole.freeze("other").id == "last"


def test_freeze_takes_the_ids_above_it() -> None:
    sig = noop.s()
    sig.freeze("i", root_id="r", parent_id="p")
    assert sig.options == {"task_id": "i", "root_id": "r", "parent_id": "p"}
    sig.apply_async()
    assert app.fake.last[0].templates[0].root_id == "r"
    assert group(A.clone()).freeze(group_id="g").id == "g"
    refused: list[dict[str, Any]] = [{"group_id": "g"}, {"chord": noop.s()}, {"group_index": 0}]
    for given in refused:
        with pytest.raises(ValueError, match="knows its group from where it stands"):
            noop.s().freeze(**given)


@pytest.mark.parametrize(
    "canvas",
    [
        lambda: chain(A, group(), B),
        lambda: chain(group(), chain(), A, chain(B, chain())),
        lambda: chain(A, chain(B, C, task_id="inner"), A, task_id="outer"),
        lambda: chain(A, group(B, task_id="one"), C),
        lambda: chain(group()),
        lambda: group(A, chain(), group()),
        lambda: chord([], B),
        lambda: chord([], chain()),
        lambda: chord([A, B], chain(), task_id="x"),
        lambda: chord([chord([A], B), C], chord([A], B)),
    ],
)
def test_freeze_follows_what_sending_makes_of_empty_and_nested_parts(canvas: Any) -> None:
    check_frozen(canvas().clone())


def test_one_signature_in_several_places_gets_several_ids() -> None:
    for make in (
        lambda one: group([one] * 3),
        lambda one: chain(one, one, group(one, one)),
        lambda one: chord([one, one], one),
    ):
        check_frozen(make(noop.s()))


def check_frozen(sig: Any) -> None:
    frozen = sig.freeze()
    assert sig.apply_async().as_tuple() == frozen.as_tuple()
    named = [name for name in run_ids() if name]
    assert len(named) == len(set(named)) == len(run_ids())
    assert sig.freeze().as_tuple() == frozen.as_tuple()


def test_an_empty_chain_and_a_chord_without_a_body_have_no_ids() -> None:
    for sig in (chain(), chain(chain()), chord([A])):
        with pytest.raises(ValueError, match=r"no body|empty chain"):
            sig.freeze()


# --- links ------------------------------------------------------------------------------------------------


def test_links_of_composed_canvases_return_their_argument() -> None:
    for whole in (chain(A, B), group(A, B), chord([A], B.clone())):
        callback, errback = noop.s("l"), noop.s("e")
        assert whole.link(callback) is callback
        assert whole.link(noop.s("l")) == callback
        assert whole.link_error(errback) is errback
        assert whole.on_error(noop.s("e")) is whole
        whole.apply_async()
        assert [call[1] for call in sent()].count(["l"]) == 1
        assert [call[1] for call in sent()].count(["e"]) == 1


def test_link_of_a_chord_is_on_its_body_only() -> None:
    both = chord([noop.s(1)], noop.s(2))
    both.link(noop.s("l"))
    assert "link" not in both.options
    assert both.body is not None
    assert len(both.body.options["link"]) == 1
    assert chord([A], B.clone()).apply_async(link=noop.s("m")) is not None
    assert sent()[-1] == ["noop", ["m"], {}]


def test_link_error_as_an_option_of_a_group_is_refused() -> None:
    for name in ("link", "link_error"):
        with pytest.raises(TypeError, match=f"a group takes no {name}="):
            group(A).apply_async(**{name: noop.s()})


# --- lengths and numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ([A, B], 2),
        ([A, group(B, C)], 3),
        ([chain(A, B), C], 2),
        ([chain(A, group(B, C))], 2),
        ([chain(A, group()), chain()], 1),
        ([chord([A, B], C), C], 2),
        ([chord([A], group(B, C))], 2),
        ([], 0),
    ],
)
def test_the_length_of_a_chord_counts_ends(header: Any, count: int) -> None:
    assert chord(header, A).__length_hint__() == count


def test_apply_chunks_sends_at_once() -> None:
    chunks.apply_chunks(add, zip(range(4), range(4), strict=True), 2, app=app)
    assert [call[1] for call in sent()] == [[[[0, 0], [1, 1]]], [[[2, 2], [3, 3]]]]


# --- calls ------------------------------------------------------------------------------------------------


def test_calling_a_composed_canvas_sends_it() -> None:
    chain(noop.s(1), noop.s(2))(0, k=1)
    assert sent() == [["noop", [0, 1], {"k": 1}], ["noop", [2], {}]]
    group(noop.s(1))(0)
    assert sent() == [["noop", [0, 1], {}]]
    chord([noop.s(1)])(noop.s(2))
    assert sent() == [["noop", [1], {}], ["noop", [2], {}]]
    assert chain()() is None


def test_countdown_of_a_chord_delays_its_header() -> None:
    chord([A, B], C).apply_async(countdown=5, queue="q")
    found = app.fake.last[0].templates
    assert [(template.countdown.seconds, template.queue) for template in found] == [(5, "default"), (0, "q")]


# --- misuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misuse", "error"),
    [
        (lambda: group(5), TypeError),  # type: ignore[call-overload]
        (lambda: chain(A, None), TypeError),  # type: ignore[call-overload]
        (lambda: chord([A], 5), TypeError),  # type: ignore[call-overload]
        (lambda: A | "text", TypeError),  # type: ignore[operator]
        (lambda: add.s(1, 2, 3, 4).delay(), TypeError),
        (lambda: add.apply_async((1, 2), link=5), TypeError),
        (lambda: A.clone().set(chord=C).apply_async(), TypeError),
        (lambda: A.apply_async(exchange="x"), TypeError),
        (lambda: A.apply_async(time_limit=1, soft_time_limit=2), ValueError),
        (lambda: A.apply_async(priority="high"), ValueError),
        (lambda: signature({"task": "a", "subtask_type": "braid"}), ValueError),
        (lambda: signature({"task": "g", "subtask_type": "group", "kwargs": {"tasks": [{}]}}), ValueError),
        (lambda: add.chunks([], 0), ValueError),
        (lambda: chord(), TypeError),  # type: ignore[call-overload]
    ],
)
def test_misuse_is_refused_at_the_call(misuse: Any, error: type[Exception]) -> None:
    before = len(app.fake.graphs)
    with pytest.raises(error):
        misuse()
    assert len(app.fake.graphs) == before
