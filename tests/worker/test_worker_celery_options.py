"""Options that only Celery's worker has: each is answered with what to use instead, and a slip with the nearest one."""

import pytest

from grpcflow_worker.__main__ import EXIT_USAGE, command, main
from grpcflow_worker.celery_options import OPTIONS_ELSEWHERE


@pytest.mark.parametrize("option", sorted(OPTIONS_ELSEWHERE))
def test_an_option_of_celery_says_what_is_there_instead(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, "10"]) == EXIT_USAGE
    said = f"grpcflow-worker: there is no option {option} here: {OPTIONS_ELSEWHERE[option]}\n"
    assert capsys.readouterr().err == said


def test_an_option_that_is_here_is_not_said_to_be_elsewhere() -> None:
    here = {spelling for parameter in command.params for spelling in parameter.opts}
    assert here.isdisjoint(OPTIONS_ELSEWHERE)


def test_a_slip_names_the_nearest_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quues", "a"]) == EXIT_USAGE
    assert "--queues" in capsys.readouterr().err
