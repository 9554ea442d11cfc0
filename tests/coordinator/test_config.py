"""Settings: where they come from, which is stronger, and what is refused with which cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grpcflow_coordinator.__main__ import command
from grpcflow_coordinator.config import Config, default_data_folder, load, split_address
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import StoreLocked

HOME = {"HOME": "/somewhere"}


def test_defaults() -> None:
    config = load({}, environment=HOME)
    assert config.listen == "127.0.0.1:50551"
    assert config.data == "/somewhere/.local/share/grpcflow"
    assert (config.grace, config.heartbeat, config.silence, config.max_deliveries) == (10.0, 5.0, 15.0, 3)
    assert default_data_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/grpcflow")


def test_an_option_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('listen = "127.0.0.1:1"\ngrace = 1.5\nheartbeat = 2\nmemory = true\n')
    environment = HOME | {"GRPCFLOW_COORDINATOR_LISTEN": "127.0.0.1:2", "GRPCFLOW_COORDINATOR_GRACE": "2.5"}
    config = load({"listen": "127.0.0.1:3", "grace": None}, file, environment)
    assert (config.listen, config.grace, config.heartbeat, config.memory) == ("127.0.0.1:3", 2.5, 2.0, True)


@pytest.mark.parametrize("address", ["0.0.0.0:50551", "192.0.2.7:1", "[::]:1", "example.org:80"])
def test_it_refuses_to_listen_beyond_loopback(address: str) -> None:
    with pytest.raises(ConfigurationError, match="--insecure"):
        load({"listen": address}, environment=HOME)
    assert load({"listen": address, "insecure": True}, environment=HOME).listen == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:50551", "localhost:1", "127.9.9.9:1"])
def test_loopback_has_many_names(address: str) -> None:
    assert load({"listen": address}, environment=HOME).listen == address


@pytest.mark.parametrize("address", ["", "50551", "host:", ":1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        split_address(address)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grace": 0}, "grace"),
        ({"result_expires": -1}, "result_expires"),
        ({"heartbeat": 10.0, "silence": 15.0}, "half of silence"),
        ({"max_deliveries": 0}, "max_deliveries"),
        ({"payload_limit": 10}, "payload_limit"),
        ({"payload_limit": 1 << 40}, "payload_limit"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"grace": "soon"}, "grace"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(given, environment=HOME)


def test_a_file_with_an_unknown_setting_or_no_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    for text, named in (("gracce = 1", "gracce"), ("not toml", "is not TOML")):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=named):
            load({}, file, HOME)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load({}, tmp_path / "nothing.toml", HOME)


def test_the_command_says_what_is_wrong_and_ends(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--data", str(tmp_path), "--listen", "0.0.0.0:1"])
    assert result.exit_code == 1
    assert "--insecure" in result.output
    assert "Traceback" not in result.output


async def test_a_second_coordinator_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), listen="127.0.0.1:0")
    first = Coordinator(config)
    await first.start()
    try:
        with pytest.raises(StoreLocked, match=str(tmp_path)):
            Coordinator(config)
    finally:
        await first.stop()
    again = Coordinator(config)
    await again.start()
    assert again.engine.machine.cluster.epoch == 2
    await again.stop()


async def test_a_port_that_is_taken_is_named_and_the_folder_is_free_again(tmp_path: Path) -> None:
    first = Coordinator(Config(data="unused", memory=True, listen="127.0.0.1:0"))
    await first.start()
    try:
        second = Coordinator(Config(data=str(tmp_path), listen=first.address))
        with pytest.raises(ConfigurationError, match="--listen"):
            await second.start()
    finally:
        await first.stop()
    third = Coordinator(Config(data=str(tmp_path), listen="127.0.0.1:0"))
    await third.start()
    await third.stop()
