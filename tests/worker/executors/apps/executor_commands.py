"""An app with commands of its own: what they tell, and ways to fail."""

import os
import threading
from typing import Any

from grpcflow import Grpcflow

app = Grpcflow("executor_commands")


@app.task
def where() -> int:
    return os.getpid()


@app.inspect_command(args=[("n", int)], signature="[N=1]")
def double(state: Any, n: int = 1) -> dict[str, Any]:
    """Twice N.

    And more about it.
    """
    return {"hostname": state.hostname, "app": state.app.main, "twice": 2 * n, "pid": os.getpid()}


@app.control_command(args=[("label", str), ("parts", tuple)], variadic="rest", alias="mk", visible=False)
def mark(state: Any, label: str, parts: tuple[str, ...] = (), rest: list[str] | None = None) -> Any:
    return {"ok": [label, repr(parts), sorted(state.tset(rest or []))]}


@app.inspect_command
def fails(state: Any) -> None:
    raise SystemExit("no such luck")


@app.inspect_command
def much(state: Any) -> str:
    return "x" * (64 << 20)


@app.inspect_command
def hangs(state: Any) -> None:
    threading.Event().wait()


@app.inspect_command
def dies(state: Any) -> None:
    os._exit(3)
