"""Options of Celery's tasks and calls that have no place here: refused, with what to use instead."""

from typing import Any

import pytest

from grpcflow import Grpcflow
from grpcflow.lower.options import CALL_OPTIONS_ELSEWHERE, OPTIONS
from grpcflow.task import Task
from grpcflow.task_option_names import TASK_OPTIONS_ELSEWHERE

app = Grpcflow("options elsewhere", set_as_current=False)


@app.task(name="elsewhere.noop")
def noop() -> None:
    """Do nothing."""


@pytest.mark.parametrize("option", sorted(TASK_OPTIONS_ELSEWHERE))
def test_an_option_of_a_task_says_what_to_use(option: str) -> None:
    options: dict[str, Any] = {option: "x"}
    with pytest.raises(TypeError) as raised:
        app.task(**options)(len)
    assert str(raised.value) == f"the task len has Celery's option {option!r}: {TASK_OPTIONS_ELSEWHERE[option]}"


@pytest.mark.parametrize("option", sorted(CALL_OPTIONS_ELSEWHERE))
def test_an_option_of_a_call_says_what_to_use(option: str) -> None:
    options: dict[str, Any] = {option: "x"}
    with pytest.raises(TypeError) as raised:
        noop.apply_async(**options)
    said = f"elsewhere.noop: the option {option!r} has no meaning here; {CALL_OPTIONS_ELSEWHERE[option]}"
    assert str(raised.value) == said


def test_no_option_is_both_here_and_elsewhere() -> None:
    assert Task.OPTIONS.isdisjoint(TASK_OPTIONS_ELSEWHERE)
    assert OPTIONS.isdisjoint(CALL_OPTIONS_ELSEWHERE)


def test_a_base_class_may_have_an_option_of_its_own_by_such_a_name() -> None:
    class Kept(Task[..., int]):
        backend = "a"

    kept = app.task(base=Kept, backend="b")(len)
    assert vars(type(kept))["backend"] == "b"
