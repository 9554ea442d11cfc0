"""Results of groups and sets. Read by the checkers and never run."""

from typing import Any, assert_type

from tests.client.typed.shop import add, label

from grpcflow import AsyncResult, GroupResult, ResultSet, chord, group

many = group(add.s(1, 2), add.s(3, 4)).delay()

assert_type(many, GroupResult[int])
assert_type(many.get(), list[int])
assert_type(many.join(timeout=3), list[int])
assert_type(many.join_native(), list[int])
assert_type(many[0], AsyncResult[int])
assert_type(many[:1], list[AsyncResult[int]])
assert_type(many.results, list[AsyncResult[int]])
assert_type([each.get() for each in many], list[int])
assert_type(many.children[0].get(), int)
assert_type(many.save().then(lambda result: print(result.completed_count())), GroupResult[int])
assert_type(GroupResult.restore("id"), GroupResult | None)

some = ResultSet([add.delay(1, 2), add.delay(3, 4)])
assert_type(some, ResultSet[int])
assert_type(some.get(), list[int])
assert_type(next(iter(some)), AsyncResult[int])
some.add(add.delay(5, 6))
some.add(many)
some.update([add.delay(5, 6)])
some.add(label.delay("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
some.add("id")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
many.get("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
print(many.result)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

# How far a chain goes back, and over what, is its author's knowledge: nobody is asked to prove it.
walked: int = chord([add.s(1, 2)], add.s(1)).delay().parent.get()
progress: int = chord([add.s(1, 2)], add.s(1)).delay().parent.completed_count()


def any_group(result: GroupResult) -> list[Any]:
    """A bare name stands for any."""
    return result.get()


any_group(many)
any_group(add.delay(1, 2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
