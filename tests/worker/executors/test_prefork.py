"""What only prefork does: children that die, are stopped, are started fresh, and never outlive their supervisor."""

import asyncio
import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.worker.executors.executor_kit import APPS, Gate, Start

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Call
from grpcflow_worker.executors import frames, wishes
from grpcflow_worker.executors.forker import shared_page


async def gone(pid: int, seconds: float = 10) -> None:
    """Waits for the end of a process that need not be a child of this one."""
    process = psutil.Process(pid) if psutil.pid_exists(pid) else None
    if process is not None:
        await asyncio.to_thread(psutil.wait_procs, [process], seconds)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("how", "message"), [("exit", "exit code 3"), ("kill", "signal 9")])
async def test_a_dead_child_loses_only_the_task_it_ran(start: Start, how: str, message: str) -> None:
    running = await start("prefork", concurrency=1)
    warm = running.put_many("add", [(i, i) for i in range(50)])
    await running.heard.all_of(warm)
    before = running.put_many("add", [(i, i) for i in range(20)])
    dying = running.put("die", how)
    after = running.put_many("add", [(i, i) for i in range(20)])
    await running.heard.all_of([*before, dying, *after])
    end = running.heard.ends[dying]
    assert (end.kind, end.message) == ("lost", message)
    assert [running.heard.value(token) for token in before + after] == [i * 2 for i in range(20)] * 2


async def test_a_child_killed_from_outside_is_replaced(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    first = running.put("wait_at", gate.port)
    pid = int(await gate.arrival())
    os.kill(pid, signal.SIGKILL)
    await running.heard.all_of([first])
    assert (running.heard.ends[first].kind, running.heard.ends[first].message) == ("lost", "signal 9")
    again = running.put_many("wait_at", [(gate.port,), (gate.port,)])
    pids = {await gate.arrival(), await gate.arrival()}
    assert len(pids) == 2
    assert str(pid) not in pids
    for name in pids:
        gate.open(name)
    await running.heard.all_of(again)


async def test_children_that_die_one_after_the_other_all_come_back(start: Start) -> None:
    running = await start("prefork", concurrency=2)
    dying = running.put_many("die", [("kill",)] * 4)
    await running.heard.all_of(dying)
    assert {running.heard.ends[token].message for token in dying} == {"signal 9"}
    assert await running.get("add", 1, 2) == 3


async def test_stopping_a_running_task_kills_its_child_and_nothing_else(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1)
    await running.heard.all_of(running.put_many("add", [(i, i) for i in range(50)]))
    stopped = running.put("wait_at", gate.port)
    others = running.put_many("add", [(1, 1), (2, 2)])
    pid = int(await gate.arrival())
    assert running.executor.stop(stopped, "SIGTERM") is True
    assert running.executor.stop(stopped, "SIGTERM") is True
    await running.heard.all_of([stopped, *others])
    assert running.heard.ends[stopped].kind == "revoked"
    assert [running.heard.value(token) for token in others] == [2, 4]
    await gone(pid)


async def test_a_task_that_does_not_heed_the_signal_may_end_and_its_child_goes_then(
    start: Start, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "_KILL", 60.0)  # else it would be killed, were this machine busy for five seconds
    running = await start("prefork", concurrency=1)
    deaf = running.put("wait_deaf", gate.port)
    name = await gate.arrival()
    (seen,) = running.executor.running()
    assert running.executor.stop(deaf, "SIGTERM") is True
    assert await gate.arrival() == "heard"
    gate.open(name)
    await running.heard.all_of([deaf])
    assert running.heard.value(deaf) == "go"
    assert (await running.get("where"))[0] != seen.pid
    await gone(seen.pid)


async def test_a_superseded_attempt_is_killed_in_silence(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1)
    token = running.put("wait_at", gate.port)
    pid = int(await gate.arrival())
    assert running.executor.forget(token) is True
    assert await running.get("add", 1, 2) == 3
    await gone(pid)
    assert token not in running.heard.ends
    assert token not in running.heard.data


async def test_what_waits_in_a_childs_buffer_can_be_taken_back_while_user_code_runs(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1)
    # Known as short, so that several go into one frame; then one of them turns out to take long.
    await running.heard.all_of(running.put_many("listed", [(i,) for i in range(300)]))
    running.put("listed", 0)
    await running.heard.until(running.executor.idle)
    long = [running.put("wait_at", gate.port, "long")]
    buffered = running.put_many("listed", [(i,) for i in range(50)])
    name = await gate.arrival()
    running.executor.take_back(buffered[10:20])
    await running.heard.all_of(buffered[10:20])
    assert {running.heard.ends[token].kind for token in buffered[10:20]} == {"returned"}
    gate.open(name)
    await running.heard.all_of(long + buffered)
    assert [running.heard.value(token) for token in buffered[20:]] == [[i] for i in range(20, 50)]


async def test_a_short_task_is_not_held_behind_one_that_turned_out_slow(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    # Short so far, so that calls go out in frames of many; then one of a frame is slow.
    await running.heard.all_of(running.put_many("wait_or_not", [(0,)] * 400))
    tokens = running.put_many("wait_or_not", [(0,)] * 10 + [(gate.port,)] + [(0,)] * 189)
    name = await gate.arrival()
    slow = tokens[10]
    # All others end while it still waits: results before it are written out, calls behind it go elsewhere.
    await running.heard.all_of([token for token in tokens if token != slow])
    assert slow not in running.heard.data
    gate.open(name)
    await running.heard.all_of([slow])


async def test_a_copy_that_user_code_forked_never_reports(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    assert await running.get("stray") == 1
    assert await running.get("add", 1, 2) == 3


async def test_a_child_runs_tasks_in_its_main_thread(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    pid, _, main_thread = await running.get("where")
    assert main_thread is True
    assert pid != os.getpid()


async def test_children_are_started_fresh_where_the_import_left_a_thread_and_it_says_who(start: Start) -> None:
    running = await start("prefork", app="executor_threaded", concurrency=1)
    (warning,) = running.registered.warnings
    assert "executor_threaded.py, line" in warning
    assert "'left-running'" in warning
    assert await running.get("add", 1, 2, app="executor_threaded") == 3


async def test_children_are_started_fresh_where_the_import_left_a_channel_and_it_says_where(start: Start) -> None:
    running = await start("prefork", app="executor_channel", concurrency=1)
    (warning,) = running.registered.warnings
    assert "executor_channel.channel" in warning
    assert await running.get("add", 1, 2, app="executor_channel") == 3


async def test_a_child_starts_without_grpc_and_without_asyncio(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    assert not {"grpc", "asyncio"}.intersection(await running.get("heavy_modules"))


async def test_a_dead_forkserver_is_replaced(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    token = running.put("wait_at", gate.port)
    pid = int(await gate.arrival())
    forkserver = psutil.Process(pid).ppid()
    os.kill(forkserver, signal.SIGKILL)
    await running.heard.all_of([token])
    assert running.heard.ends[token].kind == "lost"
    assert await running.get("add", 1, 2) == 3
    await gone(pid)
    assert running.heard.reasons == []


async def test_tasks_that_may_not_run_twice_are_lost_with_their_child_also_where_their_value_was_not_sent_yet(
    start: Start, tmp_path: Path
) -> None:
    running = await start("prefork", concurrency=1)
    path = tmp_path / "ran"
    await running.heard.all_of(running.put_many("mark_or_die", [(str(path), 0)] * 400))
    path.unlink()
    calls = [(str(path), number) for number in range(1, 200)]
    calls[50] = (str(path), -1)
    tokens = running.put_many("mark_or_die", calls, acks_early=True)
    await running.heard.all_of(tokens)
    ran = path.read_text().split()
    assert len(ran) == len(set(ran)) == 198
    assert running.heard.ends[tokens[50]].kind == "lost"
    assert all(running.heard.ends[token].kind == "lost" for token in tokens if token in running.heard.ends)


async def test_a_child_ends_with_its_sockets_while_user_code_runs(gate: Gate) -> None:
    """What must hold without PDEATHSIG too: here the parent of the child, this test, lives on."""
    work, their_work = socket.socketpair()
    urgent, their_urgent = socket.socketpair()
    with contextlib.closing(work), contextlib.closing(urgent):
        page = shared_page(mmap.PAGESIZE)
        descriptors = [their_work.fileno(), their_urgent.fileno(), page]
        command = [sys.executable, "-m", "grpcflow_worker.executors.child", *map(str, descriptors)]
        child = subprocess.Popen(command, pass_fds=descriptors)
        os.close(page)
        their_work.close()
        their_urgent.close()
        work.sendall(frames.frame(frames.Preload([str(APPS), *sys.path], "executor_sample", (), "w", 1000)))
        call = msgspec.msgpack.encode(Call("executor_sample.wait_at"))
        payload = f"[[{gate.port}], {{}}]".encode()
        work.sendall(frames.frame(frames.Batch(1, False, call, b"g" * 12, 0, 1, [payload], (), "", 0, 0, "")))
        assert int(await gate.arrival()) == child.pid
    assert await asyncio.to_thread(child.wait, 10) == 0


async def test_a_child_whose_supervisor_is_gone_ends_in_silence() -> None:
    work, their_work = socket.socketpair()
    urgent, their_urgent = socket.socketpair()
    with contextlib.closing(urgent):
        page = shared_page(mmap.PAGESIZE)
        descriptors = [their_work.fileno(), their_urgent.fileno(), page]
        command = [sys.executable, "-m", "grpcflow_worker.executors.child", *map(str, descriptors)]
        child = subprocess.Popen(command, pass_fds=descriptors, stderr=subprocess.PIPE)
        os.close(page)
        their_work.close()
        their_urgent.close()
        with contextlib.closing(work):
            work.sendall(frames.frame(frames.Preload([str(APPS), *sys.path], "executor_sample", (), "w", 1000)))
            assert await asyncio.to_thread(work.recv, 1000)  # it is ready
        _, said = await asyncio.to_thread(child.communicate, timeout=10)
    assert (child.returncode, said) == (0, b"")


async def test_large_arguments_and_values_pass(start: Start) -> None:
    running = await start("prefork", concurrency=2)
    words = [chr(97 + i) * 3_000_000 for i in range(4)]
    tokens = running.put_many("listed", [(word,) for word in words])
    await running.heard.all_of(tokens)
    assert [running.heard.value(token) for token in tokens] == [[word] for word in words]


async def test_closing_leaves_no_process(start: Start) -> None:
    running = await start("prefork", concurrency=2)
    pids = [process["pid"] for process in running.executor.stats()["processes"]]
    forkserver = psutil.Process(pids[0]).ppid()
    await running.close()
    for pid in [*pids, forkserver]:
        await gone(pid)


@pytest.mark.slow
async def test_no_child_outlives_a_killed_supervisor(gate: Gate) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(APPS), *sys.path])}
    command = [sys.executable, str(APPS / "lone_supervisor.py"), str(gate.port)]
    supervisor = subprocess.Popen(command, env=environment)
    try:
        pids = [int(await gate.arrival()), int(await gate.arrival())]
        forkserver = psutil.Process(pids[0]).ppid()
    finally:
        supervisor.kill()
        await asyncio.to_thread(supervisor.wait, 10)
    for pid in [*pids, forkserver]:
        await gone(pid)


async def test_inputs_of_many_megabytes_reach_the_task(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    size = 48 * 1024 * 1024
    value = value_pb2.Value(data=json.dumps("x" * size).encode()).SerializeToString()
    behind = [one.put("length", inputs=[value]), one.put("add", 1, 2)]
    await one.heard.all_of(behind)
    assert [one.heard.value(token) for token in behind] == [size, 3]
