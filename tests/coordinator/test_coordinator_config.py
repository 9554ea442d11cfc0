"""The coordinator's settings: which source wins, and what is refused with which words."""

from pathlib import Path
from typing import Any

import pytest

from grpcflow_coordinator.config import DEFAULT_LISTEN, Config, load, split_address
from grpcflow_coordinator.errors import ConfigurationError


def made(**options: Any) -> Config:
    """Returns settings from these options alone."""
    return load(options, environment={"HOME": "/home/someone"})


def test_without_a_word_it_serves_this_machine_alone() -> None:
    config = made()
    assert config.listen == DEFAULT_LISTEN
    assert config.data == "/home/someone/.local/share/grpcflow"


def test_an_option_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('grace = 1.0\nheartbeat = 1.0\nsilence = 30.0\ndata = "from the file"\n')
    environment = {"GRPCFLOW_COORDINATOR_GRACE": "2", "GRPCFLOW_COORDINATOR_HEARTBEAT": "2"}
    config = load({"grace": 3.0, "data": None}, file, environment)
    assert (config.grace, config.heartbeat, config.silence, config.data) == (3.0, 2.0, 30.0, "from the file")


@pytest.mark.parametrize("name", ["result_expires", "grace", "heartbeat", "silence"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_of_time_is_finite_and_more_than_nothing(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*finite and more than 0"):
        made(**{name: value})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": ""}, "--data"),
        ({"listen": "0.0.0.0:5000"}, "--insecure"),
        ({"listen": "[::]:5000"}, "--insecure"),
        ({"listen": "example.org:5000"}, "--insecure"),
        ({"heartbeat": 9.0, "silence": 10.0}, "at most half of silence"),
        ({"max_deliveries": 0}, "at least 1"),
        ({"payload_limit": 10}, "between 1 KiB and 1 GiB"),
        ({"log_level": "LOUD"}, "LOUD"),
        ({"grace": "soon"}, "grace"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_cure(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[")):
        made(**options)


def test_a_setting_that_nobody_knows_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("grase = 1.0\n")
    with pytest.raises(ConfigurationError, match=r"grase.*The settings are: data, listen"):
        load({}, file, {})


def test_a_settings_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load({}, tmp_path / "missing.toml", {})
    broken = tmp_path / "broken.toml"
    broken.write_text("grace = ")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load({}, broken, {})


@pytest.mark.parametrize("address", ["", "host", ":5000", "host:", "host:port", "host:65536", "host:-1"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        split_address(address)


def test_an_address_of_the_sixth_version_stands_in_brackets() -> None:
    assert split_address("[::1]:5000") == ("::1", 5000)
