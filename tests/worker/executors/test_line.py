"""The line of waiting attempts and the pace of tasks: pure, held against a plain list."""

import random
import socket

from grpcflow_worker.executor import Call, CallRun
from grpcflow_worker.executors.line import Line, regroup
from grpcflow_worker.executors.outflow import Outflow
from grpcflow_worker.executors.pace import FRAME_CALLS, Pace

CALL = Call("task")


def run_of(token: int, count: int, size: int = 1) -> CallRun:
    return CallRun(CALL, b"g" * 12, token, token, [b"x" * size] * count)


def tokens_of(run: CallRun) -> list[int]:
    assert run.first == run.token
    return [run.token + offset for offset in range(len(run.payloads))]


def test_any_sequence_of_steps_does_what_a_list_would(rng: random.Random) -> None:
    for _ in range(100):
        line, plain, fresh = Line(), list[int](), 0
        for _ in range(60):
            step = rng.choice(("put", "put", "front", "take", "remove", "last"))
            if step in ("put", "front"):
                run = run_of(fresh, rng.randint(1, 5))
                fresh += 10
                tokens = tokens_of(run)
                if step == "put":
                    line.put(run)
                    plain += tokens
                else:
                    line.put_front([run])
                    plain = tokens + plain
            elif step == "take" and plain:
                taken = tokens_of(line.take(rng.randint(1, 4), rng.randint(1, 4)))
                assert taken
                assert taken == plain[: len(taken)]
                plain = plain[len(taken) :]
            elif step == "remove":
                token = rng.choice([*plain, -1])
                assert line.remove(token) is (token in plain)
                plain = [other for other in plain if other != token]
            elif step == "last":
                keep = rng.randint(0, len(plain))
                assert line.remove_last(keep) == plain[keep:][::-1]
                plain = plain[:keep]
            assert [run.token + offset for run, offset in line] == plain
            assert line.count == len(plain)


def test_a_frame_is_cut_by_bytes_and_holds_at_least_one() -> None:
    line = Line()
    line.put(run_of(0, 10, size=100))
    assert len(line.take(10, 250).payloads) == 3
    assert len(line.take(10, 1).payloads) == 1


def test_neighbours_stay_together_when_runs_are_made_again() -> None:
    first, second = run_of(0, 10), run_of(20, 10)
    runs = regroup([(first, 2), (first, 3), (first, 5), (second, 0), (second, 1)])
    assert [tokens_of(run) for run in runs] == [[2, 3], [5], [20, 21]]


def test_unknown_and_long_tasks_go_one_by_one_and_short_ones_in_frames() -> None:
    pace = Pace()
    assert pace.frame_calls("short") == 1
    assert pace.capacity(4) == 4
    for _ in range(40):
        pace.learn("short", 100, 0.001)
    assert pace.frame_calls("short") > 100
    assert pace.frame_calls("short") <= FRAME_CALLS
    assert pace.capacity(4) > 400
    pace.learn("long", 1, 3.0)
    assert pace.frame_calls("long") == 1
    assert pace.frame_calls("short") > 100
    for _ in range(40):
        pace.learn("long", 1, 3.0)
    assert pace.capacity(4) == 4


def test_a_task_whose_duration_varies_goes_in_small_frames() -> None:
    pace = Pace()
    for _ in range(20):
        pace.learn("varies", 1, 0.00001)
        pace.learn("varies", 1, 0.05)
    assert pace.frame_calls("varies") == 1


def test_a_cold_first_run_says_less_than_the_frame_behind_it() -> None:
    pace = Pace()
    pace.learn("short", 1, 0.002)  # the first one of its process
    pace.learn("short", 19, 19 * 0.00001)
    assert pace.frame_calls("short") >= 20
    assert pace.capacity(1) > 1_000


async def test_what_is_kept_leaves_in_one_write_in_order_and_before_what_comes_next() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.setblocking(False)
        out = Outflow(near)
        for piece in (b"one ", b"two ", b"three"):
            out.keep(piece)
        out.write_kept()
        assert far.recv(100) == b"one two three"
        out.write_kept()
        out.keep(b"four")
        out.write(b"five")
        assert [far.recv(100), far.recv(100)] == [b"four", b"five"]
