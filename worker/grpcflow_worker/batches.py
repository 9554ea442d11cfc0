"""Gives an executor each batch of calls as one attempt, and tells the worker how each of its calls ended.

The coordinator hands out a batch in one message, as attempts that share a number; each of them has an end of its own.
An executor knows attempts only: so all of a batch travels as one, whose token is that of its first attempt. Between
the two stands this file: an executor to the worker, a listener to the executor. It may NOT run or import user code.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from grpcflow_worker.executor import Call, CallRun, Ended, Executor, Listener, Registered, Running, Waiting
from grpcflow_worker.executors.frames import decode_ends, encode_members
from grpcflow_worker.executors.wishes import signal_number
from grpcflow_worker.log_lines import Logged


class Wanted(msgspec.Struct):
    """What is wanted of one call of a batch.

    Attributes:
        signal: number of the signal that is to end it also where it runs; None: only where it has not started.
        silent: True: its end is not reported.
    """

    signal: int | None = None
    silent: bool = False


class Batch(msgspec.Struct):
    """A batch that an executor has.

    Attributes:
        runs: its calls.
        tokens: their tokens.
        wanted: by token what is wanted of some of them.
    """

    runs: list[CallRun]
    tokens: list[int]
    wanted: dict[int, Wanted] = {}


class Batching:
    """An executor that takes batches apart; see `Executor` for the contract.

    Args:
        executor: what runs the tasks.
    """

    def __init__(self, executor: Executor) -> None:
        self.inner = executor
        self.kind = executor.kind
        self._batches: dict[int, Batch] = {}
        #: The token of the batch, by that of each call in one.
        self._batch_of: dict[int, int] = {}
        self._closing = False

    async def start(self, listener: Listener) -> Registered:
        """See `Executor.start`."""
        self._listener = listener
        return await self.inner.start(self)

    # --- work in ----------------------------------------------------------------------------------------------

    def put(self, run: CallRun) -> None:
        """See `Executor.put`; a run with a batch is one by itself."""
        self.put_all([run])

    def put_all(self, runs: Sequence[CallRun]) -> None:
        """Take runs that came together: those of one batch become one attempt, in the place of its first run."""
        together: dict[int, list[CallRun]] = {}
        for run in runs:
            if run.batch:
                together.setdefault(run.batch, []).append(run)
        for run in runs:
            if not run.batch:
                self.inner.put(run)
            elif (members := together.pop(run.batch, None)) is not None:
                self._put_batch(members)

    def _put_batch(self, runs: list[CallRun]) -> None:
        tokens = [run.token + offset for run in runs for offset in range(len(run.payloads))]
        first = runs[0]
        token = tokens[0]
        self._batches[token] = Batch(runs, tokens)
        self._batch_of.update(dict.fromkeys(tokens, token))
        self.inner.put(
            CallRun(
                call=_shared_call(runs),
                graph=first.graph,
                first=first.first,
                token=token,
                payloads=[encode_members(runs)],
                retries=first.retries,
                losses=max(run.losses for run in runs),
                batch=token,
            )
        )

    # --- ends out (Listener) ----------------------------------------------------------------------------------

    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None:
        """See `Listener.values`; a batch never ends like this."""
        self._listener.values(tokens, datas)

    def ended(self, ends: Sequence[Ended]) -> None:
        """See `Listener.ended`; the end of a batch is told as the ends of its calls."""
        told: list[Ended] = []
        for end in ends:
            batch = self._batches.pop(end.token, None) if self._batches else None
            if batch is not None:
                told += self._ends_of(batch, end)
            elif end.kind == "batch":
                told += decode_ends(end.data)  # a call that came by itself, of a task that takes batches
            else:
                told.append(end)
        # Plain values keep their columns.
        plain = [end for end in told if end.kind == "value" and not end.content_type]
        others = [end for end in told if end.kind != "value" or end.content_type]
        if plain:
            self._listener.values([end.token for end in plain], [end.data for end in plain])
        if others:
            self._listener.ended(others)

    def _ends_of(self, batch: Batch, end: Ended) -> list[Ended]:
        """How the calls of a batch ended, less those that nobody wants to hear of; calls that go on are put again."""
        for token in batch.tokens:
            del self._batch_of[token]
        if end.kind == "batch":
            ends = {each.token: each for each in decode_ends(end.data)}
            return self._heard(batch, ends, ran=True)
        if end.kind == "revoked" and not (end.signal or self._closing):
            # It had not started, so that calls can be taken out; the others wait again.
            rest = [run for run in _singles(batch.runs) if run.token not in batch.wanted]
            if rest:
                self._put_batch(rest)
            return self._heard(batch, {}, ran=False)
        if end.kind == "revoked" and len(batch.wanted) < len(batch.tokens):
            end = Ended(end.token, "returned")
        ends = {token: msgspec.structs.replace(end, token=token) for token in batch.tokens}
        return self._heard(batch, ends, ran=end.kind not in ("returned", "revoked") or bool(end.signal))

    @staticmethod
    def _heard(batch: Batch, ends: dict[int, Ended], *, ran: bool) -> list[Ended]:
        """These ends, changed as it was wanted."""
        for token, wanted in batch.wanted.items():
            if wanted.silent:
                ends.pop(token, None)
            elif not ran:
                ends[token] = Ended(token, "revoked")
            elif wanted.signal is not None and token in ends:
                ends[token] = Ended(token, "revoked", signal=wanted.signal)
        return list(ends.values())

    def started(self, tokens: Sequence[int]) -> None:
        """See `Listener.started`."""
        self._listener.started([each for token in tokens for each in self._tokens_of(token)])

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """See `Listener.progressed`; what a batch says of itself holds for all of its calls."""
        for each in self._tokens_of(token):
            self._listener.progressed(each, state, data, content_type)

    def logged(self, said: Sequence[Logged]) -> None:
        """See `Listener.logged`; what a batch logs is that of its first call."""
        self._listener.logged(said)

    def broken(self, reason: str) -> None:
        """See `Listener.broken`."""
        self._listener.broken(reason)

    def _tokens_of(self, token: int) -> Sequence[int]:
        batch = self._batches.get(token)
        return (token,) if batch is None else batch.tokens

    # --- asked by the supervisor ------------------------------------------------------------------------------

    def take_back(self, tokens: Sequence[int]) -> None:
        """See `Executor.take_back`; a batch goes back whole."""
        self.inner.take_back(list(dict.fromkeys(self._batch_of.get(token, token) for token in tokens)))

    def take_back_waiting(self, keep: int = 0) -> None:
        """See `Executor.take_back_waiting`; a batch counts as one, and goes back whole."""
        self.inner.take_back_waiting(keep)

    def stop(self, token: int, signal: str | None = None) -> bool:
        """See `Executor.stop`.

        A call of a batch that has not started is taken out of it. Of one that runs, the call ends as revoked when the
        batch does; the signal comes only once all of its calls are to be stopped.
        """
        if token not in self._batch_of:
            return self.inner.stop(token, signal)
        return self._want(token, Wanted(signal_number(signal)))

    def forget(self, token: int) -> bool:
        """See `Executor.forget`; the other calls of its batch go on."""
        if token not in self._batch_of:
            return self.inner.forget(token)
        return self._want(token, Wanted(int(getattr(signals, "SIGKILL", 9)), silent=True))

    def _want(self, token: int, wanted: Wanted) -> bool:
        leader = self._batch_of[token]
        batch = self._batches[leader]
        known = batch.wanted.get(token)
        if known is None or wanted.silent or (known.signal is None and wanted.signal is not None):
            batch.wanted[token] = wanted
        numbers = [each.signal for each in batch.wanted.values() if each.signal is not None]
        if len(numbers) == len(batch.tokens):
            self.inner.stop(leader, signals.Signals(numbers[-1]).name)
        else:
            self.inner.stop(leader)
        return True

    def running(self) -> list[Running]:
        """See `Executor.running`."""
        if not self._batches:
            return self.inner.running()
        return [
            Running(each.token + offset, each, offset, found.started_at, found.pid)
            for found in self.inner.running()
            for each, offset in self._members(found.token, found.run, found.offset)
        ]

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        """See `Executor.waiting`."""
        if not self._batches:
            return self.inner.waiting(limit)
        waiting = [
            Waiting(each.token + offset, each, offset)
            for found in self.inner.waiting(limit)
            for each, offset in self._members(found.token, found.run, found.offset)
        ]
        return waiting[:limit]

    def _members(self, token: int, run: CallRun, offset: int) -> list[tuple[CallRun, int]]:
        batch = self._batches.get(token)
        if batch is None:
            return [(run, offset)]
        return [(each, place) for each in batch.runs for place in range(len(each.payloads))]

    def held(self) -> int:
        """See `Executor.held`."""
        return self.inner.held() + len(self._batch_of) - len(self._batches)

    async def close(self, *, drain: bool, deadline: float) -> None:
        """See `Executor.close`."""
        self._closing = True
        await self.inner.close(drain=drain, deadline=deadline)

    # --- as the executor itself -------------------------------------------------------------------------------

    def capacity(self) -> int:
        """See `Executor.capacity`; a batch counts as one."""
        return self.inner.capacity()

    def places(self) -> int:
        """See `Executor.places`."""
        return self.inner.places()

    def resize(self, by: int) -> int:
        """See `Executor.resize`."""
        return self.inner.resize(by)

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        """See `Executor.restart`."""
        self.inner.restart(reload=reload, modules=modules)

    def autoscale(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        """See `Executor.autoscale`."""
        return self.inner.autoscale(most, least)

    def idle(self) -> bool:
        """See `Executor.idle`."""
        return self.inner.idle()

    def dump_stacks(self) -> None:
        """See `Executor.dump_stacks`."""
        self.inner.dump_stacks()

    def stats(self) -> dict[str, Any]:
        """See `Executor.stats`."""
        return self.inner.stats()

    def emit(self, name: str, number: int = 0, *, attempt: CallRun | None = None, expired: bool = False) -> None:
        """See `Executor.emit`."""
        self.inner.emit(name, number, attempt=attempt, expired=expired)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """See `Executor.ask`."""
        self.inner.ask(name, data, told)


def _singles(runs: Sequence[CallRun]) -> list[CallRun]:
    """The same attempts as runs of one."""
    return [run.part(offset, offset + 1) for run in runs for offset in range(len(run.payloads))]


def _shared_call(runs: Sequence[CallRun]) -> Call:
    """The call of a batch: the strictest of what its calls say of how they are run."""
    calls = [run.call for run in runs]
    return msgspec.structs.replace(
        calls[0],
        headers=b"",
        ignore_result=False,
        track_started=any(call.track_started for call in calls),
        sensitive=any(call.sensitive for call in calls),
        acks_early=any(call.acks_early for call in calls),
        time_limit=min((call.time_limit for call in calls if call.time_limit), default=None),
        soft_time_limit=min((call.soft_time_limit for call in calls if call.soft_time_limit), default=None),
    )
