"""How long questions to a hundred workers take, the whole command in a shell, and what a burst costs the tasks.

    scripts/bench --control

The workers are simulated: a hundred streams of one process, each of which answers at once. The coordinator is a process
of its own, and so is whoever asks. On two cores the hundred workers' own work is in the figures, too.

The burst comes from one more process, and whoever asks so much takes processor time that on a small machine is missing
elsewhere, whatever it is spent on. So there is, beside the run without a burst, one in which a process burns as much
time in the same pace and asks nothing: the difference between these two is the burst's own. All figures are shown raw.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import rich.console

from benchmarks.cluster import Cluster
from benchmarks.processes import command, environment
from benchmarks.tasks import add, app
from grpcflow import group

#: Simulated workers, and threads of the burst.
WORKERS, ASKING = 100, 20

#: Questions of a burst, questions a second of one that is paced, and calls of the group meanwhile.
BURST, PACE, CALLS = 10_000, 200, 20_000

#: Seconds after which a wait is given up.
LIMIT = 30.0

#: Limits: milliseconds for a question to a hundred, for the whole command, and the share of the tasks' rate.
QUESTION_MS, COMMAND_MS, EFFECT = 50.0, 300.0, 0.05


def ask(command: str, count: int) -> dict[str, float]:
    """Ask all workers so often; milliseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        if len(app.control.inspect(timeout=LIMIT).ask(command)) != WORKERS:
            raise SystemExit(f"not every worker answered {command}")
        times.append((time.perf_counter() - began) * 1e3)
    times.sort()
    return {"min_ms": times[0], "p50_ms": times[count // 2], "p90_ms": times[int(count * 0.9)]}


def burst(worker: str, count: int, pace: float = 0.0) -> float:
    """Ask one worker so many times from many threads at once; return questions a second.

    Args:
        worker: its name.
        count: how many questions.
        pace: questions a second of all threads together; 0: as fast as answers come.
    """
    connection = app.connection

    def some() -> None:
        began = time.monotonic()
        for number in range(count // ASKING):
            if pace and (early := began + number * ASKING / pace - time.monotonic()) > 0:
                time.sleep(early)
            connection.inspect("ping", {}, [worker], LIMIT)

    threads = [threading.Thread(target=some, daemon=True) for _ in range(ASKING)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def burn(share: float) -> None:
    """Use so much of one core's time, in slices of ten milliseconds, until somebody ends this process."""
    while True:
        until = time.perf_counter() + 0.01
        spent = time.thread_time() + 0.01 * share
        while time.thread_time() < spent:
            pass
        time.sleep(max(0.0, until - time.perf_counter()))


@contextmanager
def beside(address: str, *words: str) -> Iterator[psutil.Process]:
    """Run this module as another process with these arguments, from the moment that it is ready."""
    there = environment(address, Path(__file__).parent.parent)
    told = [sys.executable, "-m", "benchmarks.control", *words]
    with subprocess.Popen(told, env=there, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it has imported what it needs
            process.stdin.write(b"go\n")
            process.stdin.flush()
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def bulk(calls: int) -> float:
    """Run a group; return seconds."""
    began = time.perf_counter()
    if len(group(add.s(number, 1) for number in range(calls)).delay().get(timeout=10 * LIMIT)) != calls:
        raise SystemExit("a group lost members")
    return time.perf_counter() - began


def bulk_beside(address: str, calls: int, *words: str) -> tuple[float, float]:
    """Run a group while another process does something; return seconds, and the CPU seconds of that process."""
    with beside(address, *words) as process:
        before = process.cpu_times()
        took = bulk(calls)
        after = process.cpu_times()
    return took, after.user + after.system - before.user - before.system


def effect(address: str, small: bool) -> dict[str, Any]:
    """Run groups without a burst, with one, beside one who burns as much, and with a paced one, in turn."""
    calls, rounds = (400, 1) if small else (CALLS, 3)
    count = str(200 if small else BURST)
    rates: dict[str, list[float]] = {"quiet": [], "burst": [], "burner": [], "paced": []}
    spent: dict[str, list[float]] = {"burst": [], "burner": [], "paced": []}

    def note(name: str, took: float, cpu: float) -> None:
        rates[name].append(calls / took)
        spent[name].append(cpu)

    bulk(calls)
    for _ in range(rounds):
        rates["quiet"].append(calls / bulk(calls))
        took, cpu = bulk_beside(address, calls, "burst", count)
        note("burst", took, cpu)
        note("burner", *bulk_beside(address, calls, "burn", str(min(1.0, cpu / took))))
        note("paced", *bulk_beside(address, calls, "burst", count, str(PACE)))
    middle = {name: median(found) for name, found in rates.items()}
    return {
        "calls_per_second": rates,
        "asker_cpu_seconds": spent,
        "effect_raw": 1 - middle["burst"] / middle["quiet"],
        "effect": 1 - middle["burst"] / middle["burner"],
        "effect_paced": 1 - middle["paced"] / middle["quiet"],
    }


def whole_command(address: str, count: int) -> float:
    """Type `grpcflow ctl inspect ping` so often; return the median in milliseconds.

    Once before that: what is installed is compiled by then, as a checkout may not be.
    """
    there = environment(address, Path(__file__).parent.parent)
    there.pop("PYTHONDONTWRITEBYTECODE", None)
    took = []
    for _ in range(1 + count):
        began = time.perf_counter()
        subprocess.run([command("grpcflow"), "ctl", "inspect", "ping"], env=there, capture_output=True, check=True)
        took.append((time.perf_counter() - began) * 1e3)
    return median(took[1:])


def of_a_hundred(small: bool) -> dict[str, Any]:
    """Ask a hundred workers, and one of them very often."""
    with Cluster(workers=0) as cluster:
        cluster.start_simulated(WORKERS, "w")
        cluster.wait_for_workers(WORKERS)
        count = 5 if small else 50
        figures = {name: ask(name, count) for name in ("ping", "active", "reserved", "scheduled")}
        return {"questions": figures, "burst_per_second": burst("w0001", 200 if small else BURST)}


def measure(small: bool) -> dict[str, object]:
    """Measure, show, and return the figures."""
    found = of_a_hundred(small)
    with Cluster(workers=1) as cluster:
        found["command_ms"] = whole_command(cluster.address, 3 if small else 10)
        found["beside_tasks"] = effect(cluster.address, small)
    show(found)
    return found


def show(found: dict[str, Any]) -> None:
    """Print the figures with their limits."""
    console = rich.console.Console(highlight=False)
    console.print(f"{WORKERS} workers answer, milliseconds (limit {QUESTION_MS:.0f}):")
    for name, took in found["questions"].items():
        console.print(f"  {name:<10} min {took['min_ms']:.0f}, p50 {took['p50_ms']:.0f}, p90 {took['p90_ms']:.0f}")
    console.print(f"grpcflow ctl inspect ping, whole: {found['command_ms']:.0f} ms (limit {COMMAND_MS:.0f})")
    console.print(f"a burst from {ASKING} threads: {found['burst_per_second']:,.0f} questions a second")
    beside_tasks = found["beside_tasks"]
    console.print("calls a second of a group meanwhile, and CPU seconds of the other process:")
    for name, rates in beside_tasks["calls_per_second"].items():
        cpu = ", ".join(f"{each:.2f}" for each in beside_tasks["asker_cpu_seconds"].get(name, []))
        console.print(f"  {name:<10} {', '.join(f'{rate:,.0f}' for rate in rates)}{f'   CPU {cpu} s' if cpu else ''}")
    console.print(f"a burst costs the tasks {beside_tasks['effect']:.1%} beside a process that burns as much CPU")
    console.print(f"  (limit {EFFECT:.0%}), {beside_tasks['effect_raw']:.1%} beside none", end="")
    console.print(f"; questions at {PACE} a second cost {beside_tasks['effect_paced']:.1%}")


def be_other(what: str, *words: str) -> None:
    """Be the process beside: say when ready, wait for the word, and do it."""
    doings: dict[str, Callable[..., Any]] = {
        "burst": lambda count, pace="0": burst("bench", int(count), float(pace)),
        "burn": lambda share: burn(float(share)),
    }
    if what == "burst":
        app.connection.list_workers()
    print("ready", flush=True)
    sys.stdin.readline()
    doings[what](*words)
    if what == "burst":
        sys.stdin.readline()  # its time is asked for until it is killed


if __name__ == "__main__":
    be_other(*sys.argv[1:])
