"""The time of simulated worlds: what a process that is held up has missed comes in the order in which it was due."""

from tests.simulation.clockwork import Clockwork, Process


def test_who_is_held_up_again_and_again_takes_its_turns_in_their_order() -> None:
    clockwork = Clockwork()
    process, came = Process(clockwork, "held up"), list[str]()
    clockwork.at(9.0, process, came.append, "late, and asked for first")
    clockwork.at(1.0, process, came.append, "first")
    process.hold(4.0)
    assert not clockwork.run_one(2.0)
    process.hold(4.0)  # until 6, before the first turn was tried again
    clockwork.at(3.0, process, came.append, "second")
    clockwork.at(5.0, process, came.append, "third")
    clockwork.at(6.0, process, came.append, "at the end of it")
    while clockwork.run_one(10.0):
        pass
    assert came == ["first", "second", "third", "at the end of it", "late, and asked for first"]
    assert clockwork.turns == 5


def test_who_is_held_up_for_long_is_not_let_go_by_something_that_takes_less() -> None:
    clockwork = Clockwork()
    process, came = Process(clockwork, "held up"), list[str]()
    process.hold(5.0)
    clockwork.at(1.0, process, came.append, "first")
    assert not clockwork.run_one(2.0)
    process.hold(1.0)
    clockwork.at(2.5, process, came.append, "second")
    while clockwork.run_one(10.0):
        pass
    assert came == ["first", "second"]
