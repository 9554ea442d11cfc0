"""The pid file: held while its process lives, and by no process that is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grpcflow_worker.pidfile import PidFileError, pid_file

HOLDER = """
import sys
from grpcflow_worker.pidfile import pid_file
with pid_file(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_it_holds_the_process_id_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_second_worker_is_refused_and_a_file_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PidFileError, match=f"process {holder.pid} holds .* runs already"), pid_file(str(path)):
            pass
        assert path.read_text() == f"{holder.pid}\n"
        holder.kill()
    assert path.exists(), "nobody was there to remove it"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_an_id_that_another_process_has_by_now_keeps_nobody_away(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    path.write_text("1\n")
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_one_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PidFileError, match=r"cannot be written: .*--pidfile"), pid_file(str(tmp_path / "no" / "w.pid")):
        pass
