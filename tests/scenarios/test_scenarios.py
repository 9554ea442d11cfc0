"""Each scenario in this folder, played on a simulated cluster: its trace must be what the file says.

A trace that changed is a change of behaviour: `pytest tests/scenarios --update` writes it, the diff shows what it is.
"""

from pathlib import Path

import pytest
from tests.support.scenario import play

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_trace_is_the_golden_one(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    trace = play(text)
    if request.config.getoption("--update", default=False):
        path.write_text(trace)
        return
    assert trace == text


def test_every_scenario_that_was_promised_is_there() -> None:
    promised = {
        "chord_with_a_lost_worker",
        "chord_with_a_failing_member",
        "retry",
        "reconnect_with_resumption",
        "drain",
        "expiry",
        "replace",
        "add_to_chord",
        "revoke_by_stamp",
        "progress",
    }
    assert promised <= {path.stem for path in SCENARIOS}
