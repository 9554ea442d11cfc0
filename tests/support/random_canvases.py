"""Random canvases from a plain random generator: everything that composes, fast, and the same for the same seed.

The strategies in canvases.py draw the plain part of it for hypothesis, which shrinks; these draw all of it.

May NOT judge anything, and imports no part of grpcflow but by canvases.py.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.support import functions as names
from tests.support import shapes, written
from tests.support.canvases import Drawn
from tests.support.written import Canvas

#: The id of the call that is revoked before anything runs; at most one in a canvas.
REVOKED_ID: Final = "revoked"

_HARMLESS: Final = ("add", "mul", "xsum", "tag", "tag", "noop")
_LABELS: Final = "abcdef"


@dataclass(frozen=True, slots=True)
class Range:
    """What may be drawn.

    Attributes:
        depth: Most primitives nested in each other.
        calls: About the most calls, callbacks included.
        growing: Header members may add others to their chord. Not where workers die: a lost one adds twice.
        revoking: One call may be revoked before anything runs.
    """

    depth: int = 6
    calls: int = 24
    growing: bool = True
    revoking: bool = True


#: All that can be drawn.
EVERYTHING: Final = Range()
#: The same without what depends on every attempt running once.
ROBUST: Final = Range(growing=False)


def draw(rng: random.Random, limits: Range = EVERYTHING) -> Drawn:
    """Returns a random submission.

    Args:
        rng: Where every choice comes from.
        limits: What may be drawn.
    """
    return _Drawing(rng, limits).submission()


class _Drawing:
    """One submission while it is drawn."""

    def __init__(self, rng: random.Random, limits: Range) -> None:
        self.rng = rng
        self.limits = limits
        self.budget = rng.randint(2, limits.calls)
        #: How often a call fails in one way or another: in most canvases seldom or never.
        self.trouble = rng.choice([0.0, 0.03, 0.08, 0.2])
        self.callbacks = 0
        self.revoked = not limits.revoking or rng.random() < 0.7
        #: Above 0 while callbacks and replacements are drawn.
        self.later = 0

    def submission(self) -> Drawn:
        rng = self.rng
        canvas = self._composed(self.limits.depth)() if rng.random() < 0.85 else self._leaf()
        if shapes.is_nothing(canvas):
            canvas = written.group(canvas)  # alone it could not even be submitted
        args = [rng.randint(0, 9) for _ in range(rng.choice([0, 0, 1, 2]))]
        kwargs = {"p": rng.randint(0, 9)} if rng.random() < 0.2 else {}
        return Drawn(canvas, args, kwargs, rng.random() < 0.5)

    # -------------------------------------------------------------------------------------------- composed

    def _canvas(self, depth: int) -> Canvas:
        if depth <= 0 or self.budget <= 0 or self.rng.random() < 0.4:
            return self._leaf()
        return self._composed(depth)()

    def _composed(self, depth: int) -> Callable[[], Canvas]:
        made = self.rng.choice([self._chain, self._group, self._chord])
        return lambda: self._with_callbacks(made(depth - 1))

    def _parts(self, depth: int, fewest: int) -> list[Canvas]:
        count = self.rng.choice([1, 2, 2, 3, 3, 4])
        if self.rng.random() < 0.03:
            count = fewest
        parts = [self._canvas(depth) for _ in range(count)]
        while self.rng.random() < 0.08:
            parts.insert(self.rng.randint(0, len(parts)), self._empty())
        return parts

    def _empty(self, depth: int = 2) -> Canvas:
        """Draws what comes to no call at all."""
        rng = self.rng
        if rng.random() < 0.15:
            return self._with_callbacks(written.chunks("canvases.tag", [], 2))
        parts = [self._empty(depth - 1) for _ in range(rng.randint(0, depth) if rng.random() < 0.5 else 0)]
        made = rng.choice([written.chain, written.group])
        if depth and rng.random() < 0.1:
            return self._with_callbacks(written.chord(parts, self._empty(depth - 1)))
        return self._with_callbacks(made(*parts))

    def _chain(self, depth: int) -> Canvas:
        return written.chain(*self._parts(depth, 0))

    def _group(self, depth: int) -> Canvas:
        return written.group(*self._parts(depth, 0))

    def _chord(self, depth: int) -> Canvas:
        header = self._parts(depth, 0)
        if self.limits.growing and header and self.rng.random() < 0.12:
            header[self.rng.randrange(len(header))] = self._growing(depth)
        body = self._canvas(depth) if self.rng.random() < 0.94 else self._empty()
        chord = written.chord(header, body)
        return written.having(chord, countdown=2) if self.rng.random() < 0.03 else chord

    def _growing(self, depth: int) -> Canvas:
        canvas = self._elsewhere(depth - 1)
        return written.call(names.GROWS, self._label(), canvas)

    def _elsewhere(self, depth: int) -> Canvas:
        """Draws a canvas that a task will submit: none of its calls can be revoked before."""
        self.later += 1
        canvas = self._canvas(depth)
        self.later -= 1
        return canvas

    # -------------------------------------------------------------------------------------------- calls

    def _leaf(self) -> Canvas:
        self.budget -= 1
        chance = self.rng.random()
        if chance < 0.05:
            return self._with_callbacks(self._mapped())
        if chance < 0.05 + self.trouble:
            return self._with_callbacks(self._troubled())
        if chance < 0.17 + self.trouble:
            return self._with_callbacks(self._special())
        return self._with_callbacks(self._call(f"canvases.{self.rng.choice(_HARMLESS)}", *self._arguments()))

    def _call(self, task: str, *args: Any) -> Canvas:
        rng = self.rng
        kwargs = {rng.choice("pq"): rng.randint(0, 9)} if rng.random() < 0.15 else {}
        made = written.fixed if rng.random() < 0.15 else written.call
        canvas = made(task, *args, **kwargs)
        chance = rng.random()
        if chance < 0.04:
            return written.having(canvas, countdown=rng.choice([1, 2]))
        if chance < 0.08:
            return written.having(canvas, priority=rng.randint(0, 9))
        return canvas

    def _arguments(self) -> list[Any]:
        return [self._label() if self.rng.random() < 0.4 else self.rng.randint(0, 9) for _ in range(self._few())]

    def _label(self) -> str:
        return self.rng.choice(_LABELS)

    def _few(self) -> int:
        return self.rng.choice([0, 0, 1, 1, 2])

    def _mapped(self) -> Canvas:
        rng = self.rng
        task = f"canvases.{rng.choice([*_HARMLESS, 'again'])}"
        rows = [[rng.randint(0, 9) for _ in range(rng.randint(1, 2))] for _ in range(rng.randint(0, 4))]
        match rng.randrange(3):
            case 0:
                return written.xmap(task, rows)
            case 1:
                return written.xstarmap(task, rows)
            case _:
                return written.chunks(task, rows, rng.randint(1, 3))

    def _troubled(self) -> Canvas:
        """Draws a call that has no value."""
        rng = self.rng
        if not self.revoked and not self.later and rng.random() < 0.3:
            self.revoked = True
            return written.having(self._call("canvases.tag"), task_id=REVOKED_ID)
        match rng.randrange(8):
            case 0:
                return self._call(names.IGNORE)
            case 1:
                return self._call(names.REJECT, self._label())
            case 2:
                return self._call(names.FLAKY, rng.randint(1, 2), 0)
            case 3:
                return written.having(self._call("canvases.tag"), expires=rng.choice([0, -1]))
            case 4:
                return self._call(names.BECOMES, written.chain(written.chain()))
            case _:
                return self._call("canvases.fail", self._label())

    def _special(self) -> Canvas:
        """Draws a call that does more than to return."""
        rng = self.rng
        match rng.randrange(10):
            case 0 | 1:
                return self._call(names.AGAIN)
            case 2 | 3:
                return self._call(names.FLAKY, rng.randint(0, 3), 3)
            case 4:
                return self._call(names.REQUEUE, self._label())
            case 5:
                return self._call(names.TELLS, self._label())
            case _:
                return self._call(names.BECOMES, self._elsewhere(min(self.limits.depth, 3) - min(self.later, 3)))

    # -------------------------------------------------------------------------------------------- callbacks

    def _with_callbacks(self, canvas: Canvas) -> Canvas:
        rng = self.rng
        if self.budget <= 0:
            return canvas
        if rng.random() < 0.08:
            canvas = written.linked(canvas, *[self._callback() for _ in range(rng.randint(1, 2))])
        if rng.random() < 0.05 + self.trouble:
            canvas = written.on_error(canvas, *[self._errback() for _ in range(rng.randint(1, 2))])
        return canvas

    def _callback(self) -> Canvas:
        self.later += 1
        canvas = self._canvas(1) if self.rng.random() < 0.93 else self._empty(1)
        self.later -= 1
        self.callbacks += 1
        return _signed(canvas, f"callback {self.callbacks}")

    def _errback(self) -> Canvas:
        if self.rng.random() < 0.3:
            self.callbacks += 1
            self.budget -= 1
            return written.call(names.SORRY, f"callback {self.callbacks}")
        return self._callback()


def _signed(canvas: Canvas, mark: str) -> Canvas:
    """Returns a callback with a mark in front of the arguments of its calls, so that no two are equal."""
    kind, kwargs = canvas["subtask_type"], canvas["kwargs"]
    if kind is None:
        return canvas | {"args": [mark, *canvas["args"]]}
    if kind in ("chain", "group"):
        return canvas | {"kwargs": {"tasks": [_signed(part, mark) for part in kwargs["tasks"]]}}
    if kind == "chord":
        header = [_signed(part, mark) for part in kwargs["header"]]
        return canvas | {"kwargs": {"header": header, "body": _signed(kwargs["body"], mark)}}
    return canvas
