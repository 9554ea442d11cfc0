"""Signals: who is told of what, how receivers come and go, and that none of them can break a sender."""

import gc
import logging
from typing import Any

import pytest

from grpcflow import Grpcflow, shared_task
from grpcflow.signals import Signal


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, dict[str, Any]]] = []

    def hear(self, sender: Any = None, **more: Any) -> int:
        self.heard.append((sender, more))
        return len(self.heard)


def test_receivers_get_all_by_keyword_and_their_answers_are_returned_in_the_order_of_connecting() -> None:
    signal, first, second = Signal("s"), Ear(), Ear()
    signal.connect(second.hear)
    signal.connect(first.hear)
    answers = signal.send("me", a=1)
    assert answers == [(second.hear, 1), (first.hear, 1)]
    assert first.heard == [("me", {"signal": signal, "a": 1})]


def test_connect_is_a_decorator_with_and_without_arguments() -> None:
    signal = Signal("s")

    @signal.connect
    def plain(**_: Any) -> str:
        return "plain"

    @signal.connect(sender="a")
    def of_a(sender: Any = None, **_: Any) -> str:
        return f"of {sender}"

    assert [answer for _, answer in signal.send("a")] == ["plain", "of a"]
    assert [answer for _, answer in signal.send("b")] == ["plain"]


def test_a_task_and_its_name_are_the_same_sender() -> None:
    app = Grpcflow("signals_same", set_as_current=False)

    @app.task(name="signals_same.add")
    def add(x: int) -> int:
        return x

    by_name, by_task, other = Ear(), Ear(), Ear()
    signal = Signal("s")
    signal.connect(by_name.hear, sender="signals_same.add")
    signal.connect(by_task.hear, sender=add)
    signal.connect(other.hear, sender="signals_same.other")
    signal.send(add)
    signal.send("signals_same.add")
    assert [len(ear.heard) for ear in (by_name, by_task, other)] == [2, 2, 0]


@pytest.mark.usefixtures("forgets_shared")
def test_a_shared_task_is_a_sender_by_its_name() -> None:
    Grpcflow("signals_shared")

    @shared_task(name="signals_shared.task")
    def task() -> None: ...

    ear, signal = Ear(), Signal("s")
    signal.connect(ear.hear, sender=task)
    signal.send("signals_shared.task")
    assert len(ear.heard) == 1


def test_any_object_is_a_sender_and_an_equal_one_is_another() -> None:
    signal, ear = Signal("s"), Ear()
    mine: list[int] = []
    signal.connect(ear.hear, sender=mine)
    signal.send([])
    assert not ear.heard
    signal.send(mine)
    assert ear.heard


def test_what_nobody_holds_is_forgotten_unless_it_is_held() -> None:
    signal, heard = Signal("s"), Ear().heard

    def connect(weak: bool) -> None:
        def receiver(sender: Any = None, **_: Any) -> None:
            heard.append((sender, {}))

        signal.connect(receiver, weak=weak)

    connect(weak=True)
    gc.collect()
    assert not signal.receivers
    assert not signal.has_listeners()
    connect(weak=False)
    gc.collect()
    signal.send(1)
    assert len(heard) == 1


def test_a_bound_method_is_one_receiver_however_often_it_is_looked_up() -> None:
    signal, ear = Signal("s"), Ear()
    signal.connect(ear.hear)
    signal.connect(ear.hear)
    signal.send(None)
    assert len(ear.heard) == 1
    assert signal.disconnect(ear.hear)
    assert not signal.receivers
    del ear
    gc.collect()


def test_a_dispatch_uid_names_a_connection() -> None:
    signal, first, second = Signal("s"), Ear(), Ear()
    signal.connect(first.hear, dispatch_uid="one")
    signal.connect(second.hear, dispatch_uid="one")
    signal.send("x")
    assert (len(first.heard), len(second.heard)) == (1, 0)
    assert signal.disconnect(dispatch_uid="one")
    assert not signal.disconnect(dispatch_uid="one")
    signal.connect(second.hear, dispatch_uid="one")
    signal.send("x")
    assert (len(first.heard), len(second.heard)) == (1, 1)


def test_a_name_is_free_again_when_its_receiver_is_gone() -> None:
    signal, ear, gone = Signal("s"), Ear(), Ear()
    signal.connect(gone.hear, dispatch_uid="one")
    del gone
    gc.collect()
    signal.connect(ear.hear, dispatch_uid="one")
    signal.send("x")
    assert len(ear.heard) == 1


def test_a_failing_receiver_is_logged_and_breaks_neither_the_sender_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signal, ear = Signal("s"), Ear()

    def fails(**_: Any) -> None:
        raise OSError("no luck")

    signal.connect(fails)
    signal.connect(ear.hear)
    with caplog.at_level(logging.ERROR, "grpcflow.signals"):
        answers = signal.send("x")
    assert isinstance(answers[0][1], OSError)
    assert ear.heard
    assert "no luck" in caplog.text


def test_has_listeners_knows_senders() -> None:
    signal, ear = Signal("s"), Ear()
    assert not signal.has_listeners()
    signal.connect(ear.hear, sender="a")
    assert signal.has_listeners()
    assert signal.has_listeners("a")
    assert not signal.has_listeners("b")
    assert not signal.disconnect(ear.hear)
    assert signal.disconnect(ear.hear, sender="a")


def test_what_could_not_be_called_is_refused() -> None:
    signal = Signal("s")
    with pytest.raises(ValueError, match=r"\*\*kwargs"):
        signal.connect(lambda sender: sender)
    with pytest.raises(TypeError, match="something to call"):
        signal.connect(5)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="dispatch_uid"):
        signal.disconnect()


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_what_a_receiver_raises_for_the_whole_process_goes_to_the_sender(end: type[BaseException]) -> None:
    signal, ear = Signal("s"), Ear()

    def leaves(**_: Any) -> None:
        raise end

    signal.connect(leaves)
    signal.connect(ear.hear)
    with pytest.raises(end):
        signal.send("me")
    assert not ear.heard
