"""Signatures and what composes them: the types of their values and results. Read by the checkers and never run."""

from collections.abc import Mapping
from typing import Any, assert_type

from tests.client.typed.shop import add, app, fetch, label, total

from grpcflow import (
    AsyncResult,
    GroupResult,
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    xmap,
    xstarmap,
)

# --- signatures: partial ones take anything, immutable ones all that the task takes ------------------------

assert_type(add.s(1), Signature[int])
assert_type(add.s(1).delay(2), AsyncResult[int])
assert_type(add.s(1).apply_async((2,)).get(), int)
assert_type(add.s(1, 2).apply().get(), int)
assert_type(~add.s(1, 2), int)
assert_type(fetch.s(), Signature[bytes])
assert_type(add.si(1, 2), Signature[int])
assert_type(fetch.si("a"), Signature[bytes])
assert_type(add.signature((1, 2), countdown=3), Signature[int])
assert_type(fetch.subtask(("a",)), Signature[bytes])
assert_type(add.s(1).set(queue="fast").clone((2,)), Signature[int])
assert_type(signature("shop.add"), Signature[Any])
add.si(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
add.si("a", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
fetch.si(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
text: str = add.s(1).delay(2).get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# --- the operator: the last one's value -------------------------------------------------------------------

assert_type(add.s(1) | label.s(), Signature[str])
assert_type(label.s("a") | fetch.s() | add.s(1), Signature[int])
assert_type((add.s(1) | label.s()).delay(2).get(), str)
assert_type((label.s("a") | group(add.s(1), add.s(2))).delay(), GroupResult[int])
assert_type(add.s(1) | {"task": "shop.label"}, Signature[Any])
# To one checker a dict on the left always makes a dict; Python asks the signature first.
assert_type({"task": "shop.label"} | add.s(1), Signature[int])  # pyright: ignore[reportAssertTypeFailure]
add.s(1) | label  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
add.s(1) | 3  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]

# --- chains -----------------------------------------------------------------------------------------------

assert_type(chain(add.s(1, 2), label.s()), chain[str])
assert_type(chain(add.s(1, 2), label.s(), fetch.s(), add.s(1), add.s(2), add.s(3), label.s()).delay(), AsyncResult[str])
assert_type(chain(add.s(1, 2), fetch.s())().get(), bytes)
assert_type(chain([add.s(1, 2), add.s(3)]).delay(), AsyncResult[int])
assert_type(chain(add.s(i) for i in range(3)).apply().get(), int)
assert_type(chain(add.s(1, 2), group(add.s(1), add.s(2))).delay(), GroupResult[int])
assert_type(chain({"task": "shop.label"}, add.s(1)), chain[int])
assert_type(chain(), chain)
chain(add)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
chain(add.s(1), 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# --- groups -----------------------------------------------------------------------------------------------

assert_type(group(add.s(1, 2), add.s(3, 4)), group[int])
assert_type(group(add.s(1, 2), add.s(3, 4)).delay(), GroupResult[int])
assert_type(group(add.s(i, i) for i in range(9))().get(), list[int])
assert_type(group([fetch.s("a")]).apply_async().join(), list[bytes])
assert_type(group([fetch.s("a")]).apply().get(), list[bytes])
assert_type(~group(add.s(1, 2)), list[int])
assert_type(group(group(add.s(1, 2)), group(add.s(3, 4))), group[int])
assert_type(group(group(add.s(1, 2)), add.s(3, 4)).delay().get(), list[int])
assert_type(group(chain(label.s("a"), add.s(1)), add.s(1, 2)), group[int])
assert_type(group(), group[Any])
assert_type(group({"task": "shop.add"}).delay().get(), list[Any])
assert_type(group([add.s(1, 2)]) | total.s(), Signature[int])
assert_type(app.group(add.s(1, 2)).delay(), GroupResult[Any])
group(add)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
group(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
texts: list[str] = group(add.s(1, 2)).delay().get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# --- chords: the body's value -----------------------------------------------------------------------------

assert_type(chord([add.s(1, 2), add.s(3, 4)], total.s()), chord[int])
assert_type(chord(group(add.s(1, 2)), label.s()).delay().get(), str)
assert_type(chord(add.s(i, i) for i in range(9))(total.s()), AsyncResult[int])
assert_type(chord([add.s(1, 2)])(fetch.s()).get(), bytes)
assert_type(chord([add.s(1, 2)], group(label.s(), label.s())).delay(), GroupResult[str])
assert_type(chord([add.s(1, 2)])(group(label.s())), GroupResult[str])
chord([add.s(1, 2)], total)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
chord(add, total.s())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# --- map, starmap, chunks ---------------------------------------------------------------------------------

assert_type(total.map([[1, 2], [3]]), xmap[int])
assert_type(total.map([[1, 2], [3]]).delay().get(), list[int])
assert_type(add.starmap([(1, 2), (3, 4)]).delay().get(), list[int])
assert_type(fetch.map(["a"]).delay(), AsyncResult[list[bytes]])
assert_type(add.chunks([(1, 2), (3, 4)], 1).delay(), GroupResult[list[int]])
assert_type(add.chunks([(1, 2), (3, 4)], 1)().get(), list[list[int]])
assert_type(add.chunks([(1, 2)], 1).group(), group[list[int]])
assert_type(xmap(total, [[1]]), xmap[int])
assert_type(xmap(fetch, ["a"]), xmap[bytes])
assert_type(xstarmap(add.s(), [(1, 2)]), xstarmap[int])
assert_type(chunks(fetch, [("a",)], 1), chunks[bytes])
assert_type(total.map([[1]]) | label.s(), Signature[str])
add.chunks([(1, 2)], "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
total.map(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# --- annotations that people write ------------------------------------------------------------------------


def any_canvas(canvas: Signature) -> None:
    """A bare name stands for any."""


def lists(canvas: Signature[list[int]]) -> None:
    """A group of calls that give an int is a signature whose value is a list."""


def plain(described: Mapping[str, Any]) -> None:
    """A signature is a dict."""


def unknown() -> Any:
    """Whatever."""
    return maybe_signature(None)


any_canvas(group(add.s(1, 2)))
any_canvas(chain(add.s(1, 2), group(add.s(1))))
lists(group(add.s(1, 2)))
lists(chain(add.s(1, 2), group(add.s(1))))
lists(add.starmap([(1, 2)]))
texts_group = group(label.s("a"))
lists(texts_group)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
plain(add.s(1))
assert_type(group(unknown()), group[Any])
assert_type(chain(add.s(1), unknown()).delay().get(), Any)
