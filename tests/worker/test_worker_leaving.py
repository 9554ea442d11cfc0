"""What each signal means: warm, soft, cold and anew."""

import signal
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM

import pytest

from grpcflow_worker.leaving import Leaving, Step

QUITS = {"REMAP_SIGTERM": "SIGQUIT"}


def steps(leaving: Leaving, *numbers: signal.Signals) -> list[str]:
    """The steps that signals lead to; "" where one changes nothing."""
    return [step.value if (step := leaving.hear(number)) else "" for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((SIGTERM, SIGTERM, SIGTERM), ["warm", "cold", ""]),
        ((SIGINT, SIGINT), ["warm", "cold"]),
        ((SIGINT, SIGQUIT), ["warm", "cold"]),
        ((SIGQUIT, SIGQUIT), ["cold", ""]),
        ((SIGHUP, SIGHUP, SIGTERM), ["warm", "", "cold"]),
        ((SIGTERM, SIGHUP), ["warm", ""]),
    ],
)
def test_the_first_of_term_and_int_is_warm_and_the_next_or_quit_is_cold(
    numbers: tuple[signal.Signals, ...], expected: list[str]
) -> None:
    assert steps(Leaving({}), *numbers) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((SIGTERM, SIGTERM, SIGTERM), ["warm", "soft", "cold"]),
        ((SIGINT, SIGINT, SIGQUIT), ["warm", "soft", "cold"]),
        ((SIGQUIT, SIGINT), ["soft", "cold"]),
    ],
)
def test_a_soft_stop_comes_before_a_cold_one_where_the_app_says_how_long(
    numbers: tuple[signal.Signals, ...], expected: list[str]
) -> None:
    leaving = Leaving({})
    leaving.soft_seconds = 10.0
    assert steps(leaving, *numbers) == expected


def test_term_can_be_made_to_mean_quit() -> None:
    assert steps(Leaving(QUITS), SIGTERM) == ["cold"]
    assert steps(Leaving(QUITS), SIGINT, SIGTERM) == ["warm", "cold"]
    soft = Leaving(QUITS)
    soft.soft_seconds = 1.0
    assert steps(soft, SIGTERM, SIGTERM) == ["soft", "cold"]
    assert steps(Leaving({"REMAP_SIGTERM": "SIGINT"}), SIGTERM) == ["warm"]


def test_hangup_starts_anew_unless_it_is_the_end_of_a_terminal_or_somebody_wants_an_end() -> None:
    leaving = Leaving({})
    leaving.hear(SIGHUP)
    assert leaving.restarts
    leaving.hear(SIGTERM)
    assert not leaving.restarts
    in_terminal = Leaving({}, terminal=True)
    assert in_terminal.hear(SIGHUP) is Step.WARM
    assert not in_terminal.restarts


def test_a_change_of_files_starts_anew_but_not_what_is_told_to_stop() -> None:
    leaving = Leaving({})
    leaving.restart()
    assert (leaving.restarts, leaving.step) == (True, Step.WARM)
    stopping = Leaving({})
    stopping.hear(SIGTERM)
    stopping.restart()
    assert not stopping.restarts
