"""Stamps: which parts of a canvas get them, from whom, what wins, and how they stay."""

import json
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import Signature, StampingVisitor, chain, chord, codec, group, signature

app = FakeApp("stamps")


@app.task(name="noop")
def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def stamps_of(sig: Signature) -> dict[str, Any]:
    return {name: sig.options[name] for name in sig.options.get("stamped_headers", ())}


def sent() -> list[tuple[list[Any], dict[str, list[Any]]]]:
    """Returns arguments and stamps of every call that was sent last, as its worker is told."""
    templates = [template for chunk in app.fake.last for template in chunk.templates]
    found = []
    for run in (run for chunk in app.fake.last for run in chunk.runs):
        for payload in run.payloads:
            headers = templates[run.template].headers
            told = codec.decode(headers).get("stamps", {}) if headers else {}
            revocable = {stamp.name: list(stamp.values) for stamp in templates[run.template].stamps}
            assert revocable == {name: [str(value) for value in values] for name, values in told.items()}
            found.append((codec.decode_call(payload)[0], told))
    return found


class Recorder(StampingVisitor):
    """Writes down what it is called with, and adds what it was made with."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def _note(self, name: str, part: Signature) -> Any:
        self.calls.append(f"{name} {part!r}")
        return self.answers.get(name)

    def on_signature(self, sig: Signature, **headers: Any) -> Any:
        return self._note("signature", sig)

    def on_group_start(self, group: group, **headers: Any) -> Any:
        return self._note("group", group)

    def on_group_end(self, group: group, **headers: Any) -> None:
        self._note("group end", group)

    def on_chain_start(self, chain: chain, **headers: Any) -> Any:
        return self._note("chain", chain)

    def on_chain_end(self, chain: chain, **headers: Any) -> None:
        self._note("chain end", chain)

    def on_chord_body(self, sig: chord, **header: Any) -> Any:
        return self._note("body", sig)

    def on_callback(self, callback: Signature, **header: Any) -> Any:
        return self._note("callback", callback)

    def on_errback(self, errback: Signature, **header: Any) -> Any:
        return self._note("errback", errback)


# --- what is stamped --------------------------------------------------------------------------------------


def test_a_stamp_without_a_visitor_is_on_every_call_and_what_is_linked() -> None:
    sig = chain(noop.s(1).on_error(noop.s("error")), group(noop.s(2), chord([noop.s(3)], noop.s(4))))
    sig.link(noop.s("link"))
    assert sig.stamp(user="ann", n=5) is sig
    sig.apply_async()
    assert {call[0][0] for call in sent()} == {1, 2, 3, 4, "error", "link"}
    assert all(stamps == {"user": ["ann"], "n": [5]} for _, stamps in sent())


def test_the_options_of_a_stamped_signature_are_those_of_celery() -> None:
    sig = noop.s().stamp(user="ann")
    assert sig.options == {"user": "ann", "stamped_headers": ["user"]}
    noop.apply_async(stamped_headers=["user"], user="bob")
    assert sent() == [([], {"user": ["bob"]})]


def test_a_visitor_sees_every_part_in_order() -> None:
    visitor = Recorder()
    inner = noop.s(3)
    inner.link(noop.s("l"))
    inner.link_error(noop.s("e"))
    chain(noop.s(1), group(noop.s(2), inner)).stamp(visitor)
    assert [call.split(" ")[0] for call in visitor.calls] == [
        *("chain", "signature", "group", "signature", "callback", "signature", "errback", "signature", "signature"),
        *("group", "chain"),
    ]
    visitor = Recorder()
    chord([noop.s(1)], noop.s(2)).stamp(visitor)
    assert visitor.calls == [
        "group group([noop(1)])",
        "signature noop(1)",
        "group end group([noop(1)])",
        "body chord([noop(1)], noop(2))",
        "signature noop(2)",
    ]


def test_on_signature_is_what_a_visitor_must_have() -> None:
    with pytest.raises(TypeError, match="on_signature"):
        StampingVisitor()  # type: ignore[abstract]


def test_what_a_group_is_given_reaches_its_members_only() -> None:
    whole = chain(noop.s(1), group(noop.s(2)))
    whole.stamp(Recorder(group={"in": "group"}, signature={"own": 1}))
    assert stamps_of(whole.tasks[0]) == {"own": 1}
    member = whole.tasks[1].kwargs["tasks"][0]
    assert stamps_of(member) == {"in": "group", "own": 1}
    assert stamps_of(whole) == stamps_of(whole.tasks[1]) == {}


def test_callbacks_get_what_on_callback_says_and_not_the_stamps_of_the_call() -> None:
    sig = noop.s(1).stamp(own=1)
    link, error = noop.s("link"), noop.s("error")
    sig.link(link)
    sig.link_error(error)
    sig.stamp_links(Recorder(callback={"c": 1}, errback={"e": 1}))
    assert (stamps_of(link), stamps_of(error), stamps_of(sig)) == ({"c": 1}, {"e": 1}, {"own": 1})


def test_links_given_as_dicts_are_stamped_too() -> None:
    sig = noop.signature(link=[dict(noop.s("link"))]).stamp(a=1)
    sig.apply_async()
    assert sent() == [([], {"a": [1]}), (["link"], {"a": [1]})]


def test_members_from_a_generator_are_stamped() -> None:
    group(noop.s(i) for i in range(3)).stamp(a=1).apply_async()
    assert sent() == [([i], {"a": [1]}) for i in range(3)]


def test_chunks_and_maps_bear_stamps() -> None:
    noop.chunks([(1,), (2,)], 1).stamp(a=1).apply_async()
    assert [stamps for _, stamps in sent()] == [{"a": [1]}] * 2
    noop.map([1]).stamp(a=1).apply_async()
    assert [stamps for _, stamps in sent()] == [{"a": [1]}]


# --- stamps and other keys --------------------------------------------------------------------------------


def test_stamped_headers_says_which_keys_are_stamps() -> None:
    sig = noop.s().stamp(Recorder(signature={"s": 1, "priority": 3, "plain": "x", "stamped_headers": ["s"]}))
    assert stamps_of(sig) == {"s": 1}
    assert (sig.options["priority"], sig.options["headers"]) == (3, {"plain": "x"})
    sig = noop.s().stamp(a=1, b=2, stamped_headers=["a"])
    assert (stamps_of(sig), sig.options["headers"]) == ({"a": 1}, {"b": 2})
    sig.apply_async()
    assert sent() == [([], {"a": [1]})]


def test_a_stamp_with_the_name_of_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be called 'priority'"):
        noop.s().stamp(priority=3)


# --- what wins, what stays --------------------------------------------------------------------------------


def test_a_new_stamp_replaces_one_of_the_same_name_and_the_visitor_wins() -> None:
    sig = noop.s().stamp(a=1, b=1)
    sig.stamp(a=2)
    assert stamps_of(sig) == {"a": 2, "b": 1}
    assert stamps_of(noop.s().stamp(Recorder(signature={"a": "visitor"}), a="given")) == {"a": "visitor"}


def test_append_stamps_keeps_all_values() -> None:
    sig = noop.s().stamp(a=1)
    sig.stamp(append_stamps=True, a=[2, 3])
    assert stamps_of(sig) == {"a": [2, 3, 1]}
    sig.stamp(Recorder(signature={"a": 4}), append_stamps=True, a=2)
    assert stamps_of(sig) == {"a": [2, 4, 3, 1]}


def test_stamps_stay_in_copies_and_win_over_options_of_the_call() -> None:
    sig = noop.s().stamp(a=1)
    assert stamps_of(sig.clone(a=2, queue="q").set(priority=1)) == {"a": 1}
    assert stamps_of(sig.clone(a=2, b=3, stamped_headers=["a", "b"])) == {"a": 1, "b": 3}
    sig.apply_async(stamped_headers=["a", "b"], a=2, b=3)
    assert sent() == [([], {"a": [1], "b": [3]})]
    group(sig).apply_async(stamped_headers=["a"], a=2)
    assert sent() == [([], {"a": [1]})]


def test_stamps_go_through_json() -> None:
    sig = chain(noop.s(1), chord([noop.s(2)], noop.s(3))).stamp(a=[1, 2])
    signature(json.loads(json.dumps(sig)), app=app).apply_async()
    assert all(stamps == {"a": [1, 2]} for _, stamps in sent())


def test_a_set_of_values_travels_in_one_order() -> None:
    noop.s().stamp(a={"y", "x"}).apply_async()
    assert sent() == [([], {"a": ["x", "y"]})]


def test_a_deep_canvas_is_stamped() -> None:
    sig: Any = noop.s()
    for _ in range(2_000):
        sig = chord([noop.s()], group(noop.s(), chain(noop.s(), sig)))
    sig.stamp(a=1).apply_async()
    assert all(stamps == {"a": [1]} for _, stamps in sent())
