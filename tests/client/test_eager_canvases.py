"""Random canvases by ``apply()``: in this process they come to what the reference evaluator says of them as written.

The tasks do here what functions.py says of them, by ``self.retry``, ``self.replace`` and the like.
GRPCFLOW_TEST_CANVASES sets how many canvases are drawn.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from tests.support import functions as names
from tests.support.canvases import Drawn, build, submissions
from tests.support.functions import FUNCTIONS
from tests.support.random_canvases import Range, draw
from tests.support.reference import (
    EMPTY_REPLACEMENT,
    FAILED_ERROR,
    FAILED_ID,
    FAILED_TRACE,
    ChordFailed,
    Error,
    Raised,
    canonical,
    describe_call,
    evaluate,
)

from grpcflow import ChordError, Context, Grpcflow, Ignore, ImproperlyConfigured, Reject, Task, errors, ids
from grpcflow.eager import apply_canvas
from grpcflow.result.eager import EagerGroupResult, EagerResult

CANVASES = int(os.environ.get("GRPCFLOW_TEST_CANVASES", "150"))
BOUNDS: Final[dict[str, Any]] = {
    "deadline": None,
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
#: What an eager call has no part in: revoking, times, and being handed out a second time.
ELSEWHERE: Final = ("revoked", "expires", names.REQUEUE)

calls: Counter[str] = Counter()


def seen(args: Sequence[Any]) -> list[Any]:
    """Returns arguments as the reference writes them: it knows no ids, no requests and no exceptions."""
    if args and isinstance(args[0], Context):
        return [FAILED_ID, FAILED_ERROR, FAILED_TRACE, *args[3:]]
    return [FAILED_ID if isinstance(arg, str) and ids.parse(arg) else arg for arg in args]


class Counting(Task[..., Any]):
    """Counts the attempts that the reference counts, and does what the name of the task says."""

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Counts one attempt."""
        calls[describe_call(self.name, seen(args), kwargs)] += 1

    def on_retry(self, exc: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], einfo: Any) -> None:
        """Takes back what the reference does not count: an attempt that asks again before it does anything."""
        if self.name == names.AGAIN:
            calls[describe_call(self.name, seen(args), kwargs)] -= 1

    def run(self, *given_args: Any, **kwargs: Any) -> Any:
        """Does what functions.py says of this name."""
        args = seen(given_args)
        match self.name:
            case names.AGAIN if not self.request.retries:
                raise self.retry(countdown=5)
            case names.FLAKY if self.request.retries < args[-2]:
                raise self.retry(exc=ValueError("flaky"), max_retries=args[-1])
            case names.IGNORE:
                raise Ignore("not now")
            case names.REJECT:
                raise Reject(str(args[-1]))
            case names.BECOMES:
                raise self.replace(build(args[-1]))
            case names.GROWS:
                self.add_to_chord(build(args[-1]))
            case names.TELLS:
                self.update_state(state="HALFWAY", meta={"done": 50})
        return json.loads(json.dumps(FUNCTIONS[self.name](*args, **kwargs)))


app = Grpcflow("eager canvases", set_as_current=False)
for each in FUNCTIONS:
    # Bound, so that an errback gets the id; the one that wants three arguments is not.
    app.register_task(type("Counting", (Counting,), {"name": each, "bind": each != names.SORRY}))


def error_of(error: BaseException) -> Error:
    """Returns an exception as the reference writes it."""
    match error:
        case ChordError():
            assert error.__cause__ is not None
            return ChordFailed(error_of(error.__cause__))
        case ImproperlyConfigured():
            return EMPTY_REPLACEMENT
        case errors.RemoteError():
            return Raised(error.type_name, error.message)
    return Raised(type(error).__name__, str(error))


def plain(runs: Counter[str]) -> Counter[str]:
    """Returns how often each call runs, without the word for a task that is applied to many items."""
    found: Counter[str] = Counter()
    for text, count in runs.items():
        found[text.removeprefix("map ").removeprefix("starmap ")] += count
    return found


@pytest.mark.slow
@settings(max_examples=CANVASES, **BOUNDS)
@given(submissions(4))
def test_a_random_canvas_comes_to_the_same_in_this_process(drawn: Drawn) -> None:
    text = json.dumps(drawn.canvas)
    assume(not any(word in text for word in ELSEWHERE))
    note(f"built: {drawn.built()!r}")
    check(drawn)


SEED = int(os.environ.get("GRPCFLOW_TEST_SEED") or random.SystemRandom().randrange(2**32))


def test_everything_that_composes_comes_to_the_same_in_this_process() -> None:
    print(f"GRPCFLOW_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    judged = 0
    for _ in range(CANVASES * 2):
        drawn = draw(rng, Range(depth=4, revoking=False))
        text = json.dumps(drawn.canvas)
        if not any(word in text for word in ELSEWHERE):
            check(drawn)
            judged += 1
    assert judged > CANVASES // 4


def check(drawn: Drawn) -> None:
    """Runs a canvas and compares what it came to, and what it called, with the reference."""
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    calls.clear()
    result = apply_canvas(drawn.built(), drawn.args, drawn.kwargs, app=app, throw=False)
    assert isinstance(result, EagerResult | EagerGroupResult)
    assert calls == plain(wanted.runs)
    end = ended(result)
    if wanted.value is not None and names.GROWS not in json.dumps(drawn.canvas):
        # The results of a group are those of its members as written; what a member added is in its own list only.
        assert canonical(result.get()) == wanted.value
    if wanted.errors:
        assert isinstance(end, BaseException)
        assert error_of(end) in wanted.errors
    elif wanted.value is None:
        assert result.state == "IGNORED"
    else:
        assert canonical(end) == wanted.value


def ended(result: EagerResult[Any] | EagerGroupResult) -> Any:
    """Returns the value, or the exception, that a canvas ended with; a group's as one, not that of its first member."""
    end = result._end
    if isinstance(result, EagerGroupResult) and end is not None:
        return end.value if end.error is None else end.error
    try:
        return result.get()
    except Exception as error:
        return error
