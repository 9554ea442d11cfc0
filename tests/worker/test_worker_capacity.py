"""How the offer of a worker moves."""

from grpcflow_worker.capacity import MOST, PATIENCE, Capacity


def test_it_starts_with_one_attempt_for_each_place() -> None:
    capacity = Capacity(4)
    assert (capacity.announced, capacity.target(), capacity.change()) == (4, 4, None)


def test_it_grows_step_by_step_to_the_most() -> None:
    capacity = Capacity(2)
    capacity.want(100_000)
    assert [capacity.change() for _ in range(6)] == [16, 128, 1024, MOST, None, None]


def test_small_changes_are_left_out_but_the_ends_are_told() -> None:
    capacity = Capacity(2)
    capacity.want(10)
    assert capacity.change() == 10
    capacity.want(11)
    assert capacity.change() is None
    capacity.want(2)
    assert capacity.change() == 2


def test_nothing_goes_back_while_attempts_end() -> None:
    capacity = Capacity(2)
    capacity.progress(10.0)
    assert capacity.surplus(2, 99.0) is None
    capacity.want(40)
    capacity.change()
    assert capacity.surplus(10, 10.0 + PATIENCE) is None


def test_a_stall_hands_back_all_and_falls_to_the_least() -> None:
    capacity = Capacity(2)
    capacity.want(1000)
    capacity.change()
    capacity.change()
    capacity.progress(10.0)
    stalled = 10.0 + PATIENCE + 0.1
    assert capacity.surplus(100, stalled) == 0
    assert capacity.change() == 2
    # Not again at once: those that were asked for are on their way.
    assert capacity.surplus(100, stalled + 0.01) is None
    assert capacity.surplus(100, stalled + PATIENCE + 0.11) == 0
    capacity.progress(11.0)
    assert capacity.change() == 16


def test_longer_tasks_send_the_surplus_back() -> None:
    capacity = Capacity(2)
    capacity.want(16)
    capacity.change()
    capacity.progress(10.0)
    capacity.want(4)
    assert capacity.surplus(16, 10.0) == 2
    assert capacity.surplus(8, 10.0) is None
