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


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("500MB", 500_000_000), ("1.5 GiB", 3 << 29), ("2g", 2_000_000_000), ("0", 0)],
)
def test_the_size_of_events_on_disk_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert made(events_on_disk=text).events_on_disk == size
    environment = {"HOME": "/somewhere", "GRPCFLOW_COORDINATOR_EVENTS_ON_DISK": text}
    assert load({}, environment=environment).events_on_disk == size


@pytest.mark.parametrize("text", ["much", "10 parsecs", "-1", "1000", "", "MB"])
def test_a_size_of_events_on_disk_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="size"):
        made(events_on_disk=text)


def test_events_on_disk_need_a_folder() -> None:
    with pytest.raises(ConfigurationError, match="--memory there is none"):
        made(events_on_disk="1GiB", memory=True)


def test_the_room_of_the_data_file_is_a_size_or_none() -> None:
    assert made().preallocate == 256 << 20
    assert made(preallocate="64MiB").preallocate == 64 << 20
    assert load({"preallocate": "0"}, environment={"HOME": "/somewhere"}).preallocate == 0
    with pytest.raises(ConfigurationError, match="preallocate is -1 bytes"):
        made(preallocate=-1)
    assert made().journal == 4 << 20
    assert (made(journal="1MiB").journal, made(journal="0").journal) == (1 << 20, 0)
    for size in ("64KiB", "65MiB", -1):
        with pytest.raises(ConfigurationError, match=r"journal is .* bytes: write a size from 256KiB to 64MiB, or 0"):
            made(journal=size)


def test_the_size_of_logs_is_one_that_a_reader_waits_for() -> None:
    assert made().task_logs == 128 << 10
    assert made(task_logs="1MiB").core_limits().log_limit == 1 << 20
    assert made(task_logs="0").task_logs == 0
    for size in (100, -1, 1 << 30):
        with pytest.raises(ConfigurationError, match=f"task_logs is {size} bytes: write a size from 4KiB"):
            made(task_logs=size)


@pytest.mark.parametrize("name", ["heartbeat", "silence"])
def test_a_silence_that_no_peer_can_be_told_of_is_refused(name: str) -> None:
    assert made(silence=4_294_967.0, heartbeat=5.0).silence == 4_294_967.0
    with pytest.raises(ConfigurationError, match="49 days"):
        made(**{"silence": 9_999_999.0, name: 4_294_968.0})


@pytest.mark.parametrize("listen", ["127.0.0.1:²", "127.0.0.1:٣", "127.0.0.1:65536", ":1", "127.0.0.1"])
def test_a_port_that_is_none_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(ConfigurationError, match="is not HOST:PORT"):
        made(listen=listen)
