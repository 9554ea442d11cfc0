"""Settings that look like values and are none."""

from typing import Any

import pytest

from grpcflow_coordinator.config import Config, load
from grpcflow_coordinator.errors import ConfigurationError


def made(**options: Any) -> Config:
    """Returns settings from these options alone."""
    return load(options, environment={"HOME": "/somewhere"})


@pytest.mark.parametrize("name", ["result_expires", "grace", "heartbeat", "silence"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_of_time_is_finite_and_more_than_nothing(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*finite and more than 0"):
        made(**{name: value})


def test_an_empty_folder_name_is_not_the_current_folder() -> None:
    with pytest.raises(ConfigurationError, match="--data"):
        made(data="")
    assert made(data="", memory=True).memory
