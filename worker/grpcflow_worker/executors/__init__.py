"""The executors, and how to make one. An executor's module is imported only when it is asked for."""

from typing import Final

from grpcflow_worker.executor import Executor, ExecutorError, ExecutorSettings

#: The executors there are; the first is the default.
KINDS: Final = ("prefork", "threads", "solo", "asyncio")


def create(kind: str, settings: ExecutorSettings) -> Executor:
    """Make an executor; it does nothing until it is started.

    Args:
        kind: one of KINDS.
        settings: what to run and how much of it.

    Raises:
        ExecutorError: there is no such executor.
    """
    if kind == "prefork":
        from grpcflow_worker.executors.prefork import Prefork

        return Prefork(settings)
    if kind in ("threads", "solo"):
        from grpcflow_worker.executors.threads import Solo, Threads

        return Threads(settings) if kind == "threads" else Solo(settings)
    if kind == "asyncio":
        from grpcflow_worker.executors.event_loop import Asyncio

        return Asyncio(settings)
    raise ExecutorError(f"there is no executor {kind!r}; choose one of: {', '.join(KINDS)}")
