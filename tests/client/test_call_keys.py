"""Keys of calls: made of arguments where the task says so, given by the call, and one set of them for each run."""

import subprocess
import sys
from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, group
from grpcflow.lower import Calls, LoweredGraph, lower
from grpcflow.lower.keys import NO_KEYS, Keys

app = Grpcflow("keys", set_as_current=False)


@app.task(name="pay", concurrency_key="account")
def pay(account: Any, amount: int = 1, *, note: str = "none") -> None: ...


@app.task(name="fair", fairness_key="tenant")
def fair(number: int, tenant: Any = "nobody") -> None: ...


@app.task(name="both", concurrency_key=("a", "b"), fairness_key=("a", "b"))
def both(a: Any, b: Any = 2) -> None: ...


@app.task(name="once", unique_for=60)
def once(*args: Any, **kwargs: Any) -> None: ...


@app.task(name="user", unique_for=60, unique_on=("user_id",))
def user(user_id: int, when: str = "") -> None: ...


@app.task(name="plain")
def plain(*args: Any) -> None: ...


def lowered(canvas: Any, **options: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app), options=options)
    assert graph is not None
    return graph


def keys(canvas: Any, **options: Any) -> list[Keys]:
    """Returns the keys of each call, in order."""
    return [run.keys for run in lowered(canvas, **options).runs if run.members is None for _ in run.payloads]


def key(canvas: Any, **options: Any) -> Keys:
    (found,) = keys(canvas, **options)
    return found


# --- of arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canvas", "text"),
    [
        (pay.s(17), "pay:17"),
        (pay.s(account=17), "pay:17"),
        (pay.s("north"), "pay:north"),
        (pay.s(1.5), "pay:1.5"),
        (pay.s(True), "pay:True"),
        (pay.s(None), "pay:None"),
        (pay.s(""), "pay:"),
    ],
)
def test_a_key_is_the_name_of_the_task_and_the_text_of_the_argument(canvas: Any, text: str) -> None:
    assert key(canvas) == Keys(concurrency=text)


def test_a_default_value_makes_a_key_too() -> None:
    assert key(fair.s(1)).fairness == "nobody"
    assert key(fair.s(1, "acme")).fairness == "acme"
    assert key(fair.s(1, tenant=7)).fairness == "7"


def test_several_arguments_make_one_key() -> None:
    one, two = key(both.s(1)), key(both.s(1, b=3))
    assert one == key(both.s(a=1, b=2)) != two
    assert one.concurrency.startswith("both:#")
    assert one.fairness.startswith("#")


@pytest.mark.parametrize("value", ["x" * 300, "ä" * 130, {"a": [1]}, [1, 2], b"bytes", "\ud800"])
def test_a_long_or_compound_value_makes_a_digest(value: Any) -> None:
    made = key(pay.s(value)).concurrency
    assert len(made.encode()) <= 255
    assert "#" in made
    assert made == key(pay.s(account=value)).concurrency


def test_keys_are_the_same_in_every_process_whatever_the_order_of_sets_and_mappings() -> None:
    value = {"b": {"x", "y", "z", "w"}, "a": frozenset({1, 2}), 5: "five"}
    script = (
        "from tests.client.test_call_keys import key, once\n"
        "print(key(once.s({5: 'five', 'a': frozenset({2, 1}), 'b': {'w', 'z', 'y', 'x'}}, n=1)).unique)"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
            timeout=150,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert made == {key(once.s(value, n=1)).unique}


def test_unique_calls_are_alike_in_all_arguments_or_in_those_that_are_named() -> None:
    assert key(once.s(1, a=2)).unique == key(once.s(1, a=2)).unique
    for other in (once.s(2, a=2), once.s(1, a=3), once.s(1), once.s("1", a=2), once.s(True, a=2)):
        assert key(other).unique != key(once.s(1, a=2)).unique
    assert key(once.s({"x": 1, "y": 2}, a=1, b=2)).unique == key(once.s({"y": 2, "x": 1}, b=2, a=1)).unique
    assert key(user.s(1, "now")).unique == key(user.s(1, when="later")).unique != key(user.s(2)).unique
    assert key(plain.s(1), unique_for=5).unique != key(once.s(1)).unique  # the task is part of it
    assert key(plain.s(1)) is NO_KEYS


def test_unique_may_be_said_by_the_call() -> None:
    graph = lowered(pay.s(1), unique_for=5, unique_on="amount", unique_stays=True)
    assert graph.runs[0].keys.unique == lowered(pay.s(2), unique_for=5, unique_on=["amount"]).runs[0].keys.unique
    assert graph.templates[0].unique_stays
    with pytest.raises(ValueError, match="say nothing without unique_for"):
        key(plain.s(1), unique_stays=True)
    with pytest.raises(ValueError, match="unique_for is 0"):
        key(plain.s(1), unique_for=0)


# --- given by the call ------------------------------------------------------------------------------------------


def test_a_key_that_the_call_has_is_the_key_itself() -> None:
    assert key(plain.s(1), concurrency_key="printer", fairness_key="acme") == Keys("acme", "printer")
    assert key(pay.s(17), concurrency_key="printer").concurrency == "printer"
    assert key(pay.s(17).set(fairness_key=5)) == Keys("5", "pay:17")
    assert len(key(plain.s(1), concurrency_key="x" * 300).concurrency) == 33


def test_a_route_may_give_a_key() -> None:
    routed = Grpcflow(
        "routed", set_as_current=False, task_routes={"*": {"fairness_key": "low", "concurrency_key": "k"}}
    )
    routed.task(name="own", fairness_key="a")(lambda a: None)
    runs = [lower(routed.signature(name, args=("x",)), Calls(routed)) for name in ("own", "other")]
    assert [graph.runs[0].keys for graph in runs if graph is not None] == [Keys("x", "k"), Keys("low", "k")]


@pytest.mark.parametrize("option", ["concurrency_key", "fairness_key", "idempotency_key"])
@pytest.mark.parametrize("value", ["", ("a",), 1.5, True, b"k"])
def test_a_key_that_is_no_text_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option} is .*; it must be text"):
        keys(plain.s(1), **{option: value})


# --- arguments that are not there -------------------------------------------------------------------------------


def test_a_key_of_a_value_that_is_still_to_come_is_refused() -> None:
    with pytest.raises(ValueError, match="concurrency_key from the argument 'account', which this call does not have"):
        keys(chain(plain.s(), pay.s()))
    with pytest.raises(ValueError, match="unique by all of its arguments, and some come from what runs before it"):
        keys(chain(plain.s(), once.s(1)))
    with pytest.raises(ValueError, match="'account'"):
        keys(chord([plain.s(), plain.s()], pay.s(5)))


def test_a_key_of_an_own_argument_is_made_wherever_the_call_stands() -> None:
    assert keys(chain(plain.s(), both.s(b=5).set(concurrency_key="k", fairness_key="f"), pay.si(6)))[1:] == [
        *(Keys("f", "k"), Keys("", "pay:6"))
    ]
    assert keys(chain(plain.s(), fair.s("acme")))[1].fairness == "acme"  # behind the value that comes
    assert keys(chain(plain.s(), user.si(5), once.si(1)))[1:] == [key(user.s(5)), key(once.s(1))]
    assert keys(chain(plain.s(), pay.s().set(concurrency_key="own")))[1].concurrency == "own"


def test_an_errback_has_keys_of_its_named_arguments_only() -> None:
    assert keys(plain.s().on_error(pay.s(account=5)))[1].concurrency == "pay:5"
    with pytest.raises(ValueError, match="'account'"):
        keys(plain.s().on_error(pay.s()))


def test_an_argument_that_is_missing_is_refused_where_arguments_are_not_checked() -> None:
    loose = Grpcflow("loose", set_as_current=False)
    loose.task(name="f", typing=False, concurrency_key="a")(lambda a, **more: None)
    with pytest.raises(ValueError, match="'a', which this call does not have"):
        lower(loose.signature("f"), Calls(loose))
    with pytest.raises(ValueError, match="no key can be made of these arguments"):
        lower(loose.signature("f", args=(1, 2)), Calls(loose))


def test_a_map_has_no_key_of_one_argument_and_may_be_given_one() -> None:
    with pytest.raises(ValueError, match="which each item of a map has for itself"):
        keys(pay.map([1, 2]))
    assert key(pay.map([1, 2]).set(concurrency_key="all")).concurrency == "all"
    assert key(once.map([1, 2])).unique == key(once.map([1, 2])).unique != key(once.map([1])).unique


# --- runs -------------------------------------------------------------------------------------------------------


def shape(canvas: Any) -> list[tuple[int, str]]:
    return [(run.count, run.keys.concurrency) for run in lowered(canvas).runs[:-1]]


def test_a_run_ends_where_the_key_changes_and_calls_with_one_key_share_one() -> None:
    canvas = group(pay.s(account) for account in (1, 1, 2, 1))
    assert shape(canvas) == [(2, "pay:1"), (1, "pay:2"), (1, "pay:1")]
    assert len(lowered(canvas).templates) == 1


def test_a_unique_call_is_a_run_of_one() -> None:
    graph = lowered(group(once.s(1), once.s(1), once.s(2)))
    assert [(run.first, run.count) for run in graph.runs] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert graph.runs[-1].members == [(0, 3)]
    assert [run.group_index for run in graph.runs[:-1]] == [0, 1, 2]


def test_calls_with_keys_of_their_own_share_one_template() -> None:
    graph = lowered(group(plain.s(n).set(concurrency_key=f"k{n % 2}", fairness_key="f") for n in (0, 2, 1)))
    assert [(run.count, run.keys) for run in graph.runs[:-1]] == [(2, Keys("f", "k0")), (1, Keys("f", "k1"))]
    assert len(graph.templates) == 1


def test_calls_without_keys_share_runs_as_ever() -> None:
    assert [run.count for run in lowered(group(plain.s(n) for n in range(100))).runs] == [100, 1]


# --- idempotency ------------------------------------------------------------------------------------------------


def uniques(canvas: Any, **options: Any) -> list[str]:
    return [each.unique for each in keys(canvas, **options)]


def numbered(text: str, count: int) -> list[str]:
    return [f"idempotency:{text}:{place}" for place in range(count)]


def test_an_idempotency_key_holds_for_every_call_of_what_is_submitted() -> None:
    linked = chain(plain.s(), group(plain.s(1), plain.s(2)), plain.s()).on_error(plain.si("bad"))
    linked.link(plain.si("good"))
    for canvas in (linked, chord([plain.s(1), plain.s(2)], chain(plain.s(), plain.s())), plain.chunks([(1,), (2,)], 1)):
        made = uniques(canvas, idempotency_key="order-17")
        assert sorted(made) == numbered("order-17", len(made))
        assert made == uniques(canvas, idempotency_key="order-17")
        own = canvas.clone()
        own.options["idempotency_key"] = "order-17"
        assert uniques(own) == made
        assert not any(uniques(canvas))


def test_it_is_held_for_years_and_by_what_has_ended_too() -> None:
    (template,) = lowered(plain.s(1), idempotency_key="k").templates
    assert template.unique_for is not None
    assert template.unique_for.days > 3650
    assert template.unique_stays
    (template,) = lowered(once.s(1), idempotency_key="k").templates
    assert template.unique_stays  # it takes the place of the task's own


def test_a_part_may_have_a_key_of_its_own_which_wins_inside_of_it() -> None:
    members = [plain.s(n).set(idempotency_key=f"n{n}") for n in range(2)]
    assert uniques(group(members)) == ["idempotency:n0:0", "idempotency:n1:0"]
    assert uniques(group(*members, plain.s(9)), idempotency_key="whole") == [
        *("idempotency:n0:0", "idempotency:n1:0", "idempotency:whole:0")
    ]
    inner = chain(plain.s(1), plain.s(2))
    inner.options["idempotency_key"] = "inner"
    assert uniques(group(inner, plain.s(3))) == ["idempotency:inner:0", "idempotency:inner:1", ""]


def test_the_submissions_key_takes_the_place_of_the_canvas_own() -> None:
    for canvas in (plain.s(1), group(plain.s(1), plain.s(2)), chain(plain.s(1), plain.s(2))):
        canvas.options["idempotency_key"] = "old"
        assert uniques(canvas, idempotency_key="new") == numbered("new", len(uniques(canvas)))
        assert canvas.options["idempotency_key"] == "old"


def test_a_long_idempotency_key_is_hashed() -> None:
    (made,) = uniques(plain.s(1), idempotency_key="k" * 300)
    assert len(made) < 255
    assert made != uniques(plain.s(1), idempotency_key="k" * 301)[0]


def test_keys_mean_nothing_in_eager_calls() -> None:
    assert pay.apply((1,), idempotency_key="k", concurrency_key="c").successful()
