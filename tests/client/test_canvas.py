"""Signatures and what composes them: dicts that can be read back, partials, copies, links, operators, ids."""

import copy
import json
import pickle
from typing import Any, cast

import pytest
from tests.client.fake_connection import FakeApp, lowered_calls

from grpcflow import (
    Signature,
    chain,
    chord,
    chunks,
    codec,
    errors,
    group,
    maybe_signature,
    signature,
    xmap,
    xstarmap,
)

app = FakeApp("canvas")


@app.task(name="add")
def add(x: Any, y: Any, debug: bool = False) -> Any:
    return x + y


@app.task(name="noop")
def noop(*args: Any, **kwargs: Any) -> Any:
    return list(args)


@app.task(name="xsum")
def xsum(numbers: Any) -> Any:
    return sum(numbers)


def sent() -> list[list[Any]]:
    """Returns the calls that were sent last."""
    return lowered_calls(app.fake.last)


EVERY_KIND: list[Signature] = [
    add.s(1, 2),
    add.si(1, 2),
    add.signature((1,), {"y": 2}, countdown=5, link=[noop.s()]),
    chain(add.s(1, 1), chain(add.s(2)), group(noop.s(), noop.s())),
    group(add.s(1, 1), group(noop.s()), chain(noop.s(), noop.s())),
    chord([add.s(1, 1), chord([noop.s()], noop.s())], xsum.s() | noop.s()),
    xsum.map([[1, 2], [3]]),
    add.starmap([(1, 2), (3, 4)]),
    add.chunks([(1, 2), (3, 4)], 1),
]


# --- dicts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", EVERY_KIND, ids=lambda sig: sig.subtask_type or "task")
def test_a_signature_goes_through_json_and_comes_back_with_its_classes(sig: Signature) -> None:
    back = signature(json.loads(json.dumps(sig)), app=app)
    assert classes(back) == classes(sig)
    assert json.dumps(back) == json.dumps(sig)
    back.delay()
    assert sent()
    assert json.dumps(codec.decode(codec.encode(sig))) == json.dumps(sig)
    unpickled = pickle.loads(pickle.dumps(sig))  # noqa: S301 - our own bytes
    assert unpickled == sig
    assert classes(unpickled) == classes(sig)


def classes(value: Any) -> Any:
    """Returns the classes of a signature and of all signatures in it."""
    if isinstance(value, Signature):
        inner = [classes(item) for item in (*value.kwargs.values(), *value.options.values())]
        return type(value).__name__, [item for item in inner if item]
    return [found for item in value if (found := classes(item))] if isinstance(value, list) else None


def test_parts_that_are_left_out_are_filled_in() -> None:
    assert signature({"task": "add"}) == Signature("add")
    assert signature({"task": "add", "args": None, "options": None}) == Signature("add")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"task": ""},
        {"task": 5},
        {"task": "a", "args": 5},
        {"task": "a", "kwargs": ["x"]},
        {"task": "a", "options": 5},
        {"task": "a", "subtask_type": "braid"},
    ],
)
def test_a_dict_that_is_no_signature_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        signature(wrong)


def test_signature_by_name_and_maybe_signature() -> None:
    made = signature("add", args=(2, 2), app=app)
    assert (made.task, made.args, made.app) == ("add", (2, 2), app)
    assert maybe_signature(None) is None
    assert maybe_signature("text") == "text"
    assert maybe_signature(made) is made
    assert maybe_signature(made, clone=True) is not made
    assert type(maybe_signature(dict(group(made)))) is group
    assert type(signature(add)) is Signature


def test_only_signatures_can_be_composed() -> None:
    with pytest.raises(TypeError, match="is no signature"):
        chain(add.s(1, 1), 5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no iterable of signatures"):
        group(5)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        add.s(1, 1) | 5  # type: ignore[operator]


# --- calls ------------------------------------------------------------------------------------------------


def test_a_partial_takes_arguments_in_front_and_merges_keywords() -> None:
    noop.s(2, a=1, b=1).delay(1, b=2)
    assert sent() == [["noop", [1, 2], {"a": 1, "b": 2}]]
    add.s(2).apply_async(args=(8,), kwargs={"debug": True}, countdown=0)
    assert sent() == [["add", [8, 2], {"debug": True}]]
    add.si(1, 2).delay(5, debug=True)
    assert sent() == [["add", [1, 2], {}]]


def test_options_merge_and_those_of_the_call_win() -> None:
    add.signature((1, 2), countdown=5, queue="a").apply_async(queue="b", priority=None)
    template = app.fake.last[0].templates[0]
    assert (template.queue, template.countdown.seconds) == ("b", 5)


def test_a_call_in_place_runs_here() -> None:
    assert add.s(2)(1) == 3
    assert add.si(2, 2)(9) == 4
    assert signature("add", args=(1, 2), app=app)() == 3
    assert xsum.map([[1], [2, 3]])() == [1, 5]
    assert add.starmap([(1, 2)])() == [3]
    with pytest.raises(errors.NotRegistered):
        signature("nowhere", app=app)()


def test_partial_groups_give_their_arguments_to_every_member() -> None:
    group(add.s(i) for i in range(3))(10)
    assert sent() == [["add", [10, i], {}] for i in range(3)]


def test_callbacks_as_options() -> None:
    result = add.apply_async((1, 2), link=noop.s("a"), link_error=[noop.s("b"), dict(noop.s("c"))])
    assert [call[1] for call in sent()] == [[1, 2], ["a"], ["b"], ["c"]]
    assert len(result.children) == 1
    with pytest.raises(TypeError, match="a group takes no link="):
        group(add.s(1, 1)).apply_async(link=noop.s())
    with pytest.raises(TypeError, match="is no signature"):
        add.apply_async((1, 2), link=[5])


def test_an_empty_chain_gives_nothing_and_an_empty_group_an_empty_result() -> None:
    before = len(app.fake.graphs)
    assert chain().apply_async() is None
    assert len(app.fake.graphs) == before
    assert list(group().apply_async()) == []


def test_a_chord_is_called_with_its_body() -> None:
    result = chord(add.s(i, i) for i in range(3))(xsum.s())
    assert [call[0] for call in sent()] == ["add", "add", "add", "xsum"]
    assert len(result.parent) == 3
    with pytest.raises(ValueError, match="no body"):
        chord([add.s(1, 1)])()


# --- copies and changes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", EVERY_KIND, ids=lambda sig: sig.subtask_type or "task")
@pytest.mark.parametrize("make", [lambda sig: sig.clone(), copy.copy, copy.deepcopy, signature])
def test_a_copy_is_equal_and_shares_nothing_that_changes(sig: Signature, make: Any) -> None:
    before = json.dumps(sig)
    copied = make(sig)
    assert copied == sig
    assert type(copied) is type(sig)
    assert copied.app is sig.app
    spoil(copied)
    assert json.dumps(sig) == before


def spoil(sig: Signature) -> None:
    """Changes everything in a signature that can be changed."""
    for value in sig.kwargs.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Signature):
                spoil(inner)
    sig.set(queue="spoilt").set_immutable(not sig.immutable)
    sig.link(noop.s("spoilt"))
    sig.kwargs["spoilt"] = True


def test_clone_replace_and_set() -> None:
    sig = add.signature((2,), {"debug": True}, queue="a")
    more = sig.clone((1,), {"debug": False}, queue="b")
    assert (more.args, more.kwargs, more.options) == ((1, 2), {"debug": False}, {"queue": "b"})
    assert (sig.args, sig.kwargs, sig.options) == ((2,), {"debug": True}, {"queue": "a"})
    other = sig.replace(args=(9,), kwargs={}, options={"priority": 1})
    assert (other.args, other.kwargs, other.options) == ((9,), {}, {"priority": 1})
    assert add.si(1, 2).clone((5,)).args == (1, 2)
    assert sig.set(immutable=True, queue="c") is sig
    assert (sig.immutable, sig.options["queue"]) == (True, "c")


def test_immutability_of_groups_and_chords_is_that_of_their_members() -> None:
    whole = group(noop.s(1), noop.s(2))
    whole.set(immutable=True)
    assert [task.immutable for task in whole.tasks] == [True, True]
    both = chord([noop.s(1)], noop.s(2))
    both.set_immutable(True)
    assert both.body is not None
    assert (both.tasks[0].immutable, both.body.immutable) == (True, False)


def test_skew() -> None:
    def countdowns(**given: Any) -> list[float]:
        whole = group([noop.s()] * 5)  # one object five times
        assert whole.skew(**given) is whole
        return [task.options["countdown"] for task in whole.tasks]

    assert countdowns() == [1, 2, 3, 4, 5]
    assert countdowns(start=1, stop=4, step=1.5) == [1, 2.5, 4, 4, 4]
    assert countdowns(start=0, stop=10, step=2) == [0, 2, 4, 6, 8]
    assert group(noop.signature(countdown=9)).skew().tasks[0].options == {"countdown": 1}


def test_links() -> None:
    sig, callback, errback = add.s(1, 1), noop.s("link"), noop.s("error")
    assert sig.link(callback) is callback
    sig.link(noop.s("link"))
    assert sig.on_error(errback) is sig
    callback.link(noop.s("deeper"))
    assert (len(sig.options["link"]), len(sig.options["link_error"])) == (1, 1)
    assert [link.args for link in sig.flatten_links()] == [(1, 1), ("link",), ("deeper",)]
    sig.link(dict(noop.s("a dict")))
    assert type(sig.options["link"][1]) is Signature


def test_links_of_a_chord_stay_with_its_body() -> None:
    both = chord([noop.s(1)], noop.s("body"))
    both.link(noop.s("link"))
    longer = both | noop.s("more")
    assert isinstance(longer, chord)
    assert isinstance(longer.body, chain)
    assert [step.options.get("link") is not None for step in longer.body.tasks] == [True, False]


# --- operators --------------------------------------------------------------------------------------------

A, B, C = noop.s("a"), noop.s("b"), noop.s("c")


@pytest.mark.parametrize(
    ("canvas", "text"),
    [
        (lambda: A | B | C, "noop('a') | noop('b') | noop('c')"),
        (lambda: A | (B | C), "noop('a') | noop('b') | noop('c')"),
        (lambda: group(A, B) | C, "chord([noop('a'), noop('b')], noop('c'))"),
        (lambda: group(A, B) | group(B, C), "chord([noop('a'), noop('b')], group([noop('b'), noop('c')]))"),
        (lambda: group(A, B) | (B | C), "chord([noop('a'), noop('b')], noop('b') | noop('c'))"),
        (lambda: A | group(B, C), "noop('a') | group([noop('b'), noop('c')])"),
        (lambda: A | group(B, C) | A, "noop('a') | group([noop('b'), noop('c')]) | noop('a')"),
        (lambda: chord([A], B) | C, "chord([noop('a')], noop('b') | noop('c'))"),
        (lambda: chord([A]) | C, "chord([noop('a')], noop('c'))"),
        (lambda: chord([A], B) | (B | C), "chord([noop('a')], noop('b') | noop('b') | noop('c'))"),
        (lambda: chord([A], group(A, B)) | C, "chord([noop('a')], chord([noop('a'), noop('b')], noop('c')))"),
        (lambda: A | group(), "noop('a')"),
        (lambda: group(A, B) | group(), "group([noop('a'), noop('b')])"),
        (lambda: A | chain(), "noop('a')"),
        (lambda: chain() | A, "noop('a')"),
        (lambda: A | dict(B), "noop('a') | noop('b')"),
        (lambda: dict(A) | B, "noop('a') | noop('b')"),
        (lambda: A | add.chunks([(1, 2)], 1), "noop('a') | chunks(add, [[1, 2]], 1)"),
        (lambda: chain([A, B]), "noop('a') | noop('b')"),
        (lambda: chain(step for step in (A, B)), "noop('a') | noop('b')"),
        (lambda: chain(A), "noop('a')"),
        (chain, "chain()"),
        (lambda: group(group(A, B)), "group([noop('a'), noop('b')])"),
        (lambda: xsum.map([[1]]), "[xsum(x) for x in [[1]]]"),
        (lambda: add.starmap([(1, 2)]), "[add(*x) for x in [[1, 2]]]"),
    ],
)
def test_what_the_operators_make(canvas: Any, text: str) -> None:
    assert repr(canvas()) == text


def test_in_place_operator_and_operands_are_not_changed() -> None:
    first = chain(A, B)
    whole = first
    whole |= C
    assert (len(first.tasks), len(whole.tasks)) == (2, 3)
    both = chord([A], B)
    _ = both | C
    assert both.body == B


def test_a_chain_with_callbacks_keeps_them_as_a_whole() -> None:
    first = chain(A, B)
    first.link_error(noop.s("error"))
    (first | C).apply_async()
    assert [run.first for run in app.fake.last[0].runs] == [0, 1, 2, 3]
    assert [edge.parent for edge in app.fake.last[0].runs[3].inputs] == [0, 1]


def test_tilde_sends_and_waits() -> None:
    with pytest.raises(errors.TimeoutError):
        ~add.s(1, 1)
    assert sent() == [["add", [1, 1], {}]]


def test_lengths_and_parts() -> None:
    assert (len(group(A, B)), bool(group())) == (2, False)
    assert chord(group(A, B), C).tasks == [A, B]
    made = add.chunks(zip(range(5), range(5), strict=True), 2)
    assert [len(part.kwargs["it"]) for part in made.group().tasks] == [2, 2, 1]
    assert isinstance(made, chunks)
    with pytest.raises(ValueError, match="at least 1"):
        add.chunks([], 0)
    assert type(xmap(add, [1])) is xmap
    assert type(xstarmap(add.s(), [(1, 2)])) is xstarmap
    assert list(add.chunks([], 3)()) == []


# --- ids --------------------------------------------------------------------------------------------------


def run_ids() -> list[str]:
    return [run.id for run in app.fake.last[0].runs]


def test_freeze_gives_the_ids_before_sending() -> None:
    sig = add.s(1, 2)
    frozen = sig.freeze()
    assert sig.id == frozen.id
    assert sig.delay() == frozen
    assert sig.delay() == frozen
    assert run_ids() == [frozen.id]
    assert add.s(1, 2).freeze("mine").id == "mine"


@pytest.mark.parametrize(
    "canvas",
    [
        lambda: chain(A, B, C),
        lambda: chain(A, group(B), C),
        lambda: chain(A, chain(B, C)),
        lambda: group(A, group(B, C), A | B),
        lambda: chord([A, B], C),
        lambda: chord([A, B], A | C),
        lambda: chord([A, B], group(A, C)),
        lambda: chain(A, group(B, C)),
    ],
)
def test_freeze_describes_the_result_that_sending_gives(canvas: Any) -> None:
    sig = canvas().clone()
    frozen = sig.freeze()
    result = sig.apply_async()
    assert result.as_tuple() == frozen.as_tuple()
    assert all(run_ids())


def test_task_id_names_the_last_step_the_group_and_the_body() -> None:
    assert chain(A, B).apply_async(task_id="last").id == "last"
    assert run_ids() == ["", "last"]
    assert group(A, B).apply_async(task_id="all").id == "all"
    assert run_ids() == ["", "all"]
    assert chord([A], B).apply_async(task_id="body").id == "body"
    assert run_ids() == ["", "", "body"]


def test_what_follows_a_chord_changes_neither_it_nor_what_is_said_of_it_later() -> None:
    left = chord([noop.s(1)], noop.s("body"))
    before = json.dumps(left)
    right = left | noop.s(2)
    longer = right | noop.s(3)
    texts = [json.dumps(each) for each in (right, longer)]
    assert json.dumps(left) == before
    for each in (left, right):
        each.link(noop.s("linked"))
        each.link_error(noop.s("error"))
        each.set_immutable(True)
        cast("Any", each).header.tasks.append(noop.s("more"))
    assert json.dumps(longer) == texts[1]
    assert json.dumps(left | noop.s(2)) != texts[0]
