"""Smaller trials that still fail: a canvas is cut down step by step while it goes on to fail in the same way.

Greedy and bounded; the smallest is not promised, a readable one is.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.support.trial import Trial
from tests.support.written import Canvas


def failure_of(trial: Trial) -> Exception | None:
    """Returns what a trial fails with; None where it does not."""
    try:
        trial.run()
    except Exception as error:
        return error
    return None


def shrunk(trial: Trial, tries: int = 400) -> Trial:
    """Returns a smaller trial that fails with an error of the same kind, or the trial itself.

    Args:
        trial: One that fails.
        tries: Most runs of smaller ones.
    """
    kind = type(failure_of(trial))
    progress = True
    while progress and tries > 0:
        progress = False
        for drawn in _simpler(trial):
            tries -= 1
            if type(failure_of(drawn)) is kind:
                trial, progress = drawn, True
                break
            if tries <= 0:
                break
    return trial


def _simpler(trial: Trial) -> Iterator[Trial]:
    drawn = trial.drawn
    if drawn.args or drawn.kwargs:
        yield replace(trial, drawn=replace(drawn, args=[], kwargs={}))
    if drawn.operators:
        yield replace(trial, drawn=replace(drawn, operators=False))
    for canvas in _smaller(drawn.canvas):
        yield replace(trial, drawn=replace(drawn, canvas=canvas))


def _smaller(canvas: Canvas) -> Iterator[Canvas]:
    """Yields canvases with one thing less: a part in place of the whole, a part, a callback or an option gone."""
    parts = _parts(canvas)
    yield from (part for _, part in parts)
    for name in ("link", "link_error"):
        found = canvas["options"].get(name, [])
        for position, callback in enumerate(found):
            yield _with_option(canvas, name, [*found[:position], *found[position + 1 :]])
            for less in _smaller(callback):
                yield _with_option(canvas, name, [*found[:position], less, *found[position + 1 :]])
    for name in canvas["options"].keys() - {"link", "link_error", "task_id", "expires"}:
        yield canvas | {"options": {key: value for key, value in canvas["options"].items() if key != name}}
    for place, part in parts:
        if place[0] in ("tasks", "header"):
            yield _placed(canvas, place, [])
        for less in _smaller(part):
            yield _placed(canvas, place, [less])


def _parts(canvas: Canvas) -> list[tuple[tuple[str, int], Canvas]]:
    """Returns the parts of a canvas with their places: among tasks or header, the body, an argument."""
    found: list[tuple[tuple[str, int], Canvas]] = []
    for name in ("tasks", "header"):
        found += [((name, position), part) for position, part in enumerate(canvas["kwargs"].get(name, []))]
    if "body" in canvas["kwargs"]:
        found.append((("body", 0), canvas["kwargs"]["body"]))
    found += [(("args", position), arg) for position, arg in enumerate(canvas["args"]) if isinstance(arg, dict)]
    return found


def _placed(canvas: Canvas, place: tuple[str, int], parts: list[Canvas]) -> Canvas:
    """Returns a canvas with other parts, or none, in one place."""
    name, position = place
    if name == "body":
        return canvas | {"kwargs": canvas["kwargs"] | {"body": parts[0]}}
    listed: list[Any] = canvas["args"] if name == "args" else canvas["kwargs"][name]
    changed = [*listed[:position], *parts, *listed[position + 1 :]]
    return canvas | ({"args": changed} if name == "args" else {"kwargs": canvas["kwargs"] | {name: changed}})


def _with_option(canvas: Canvas, name: str, callbacks: list[Canvas]) -> Canvas:
    options = {key: value for key, value in canvas["options"].items() if key != name}
    return canvas | {"options": options | ({name: callbacks} if callbacks else {})}
