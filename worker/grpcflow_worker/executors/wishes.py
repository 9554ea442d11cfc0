"""What the supervisor asked of attempts that a child may have: give it back, stop it.

A wish is first put to the child, since only the child knows whether the attempt has started. It may NOT report
anything but through `prefork`.
"""

import asyncio
import signal as signals
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from grpcflow_worker.executor import Ended
from grpcflow_worker.executors.frames import SOFT_SIGNAL

if TYPE_CHECKING:
    from grpcflow_worker.executors.prefork import Prefork
    from grpcflow_worker.executors.process import ChildProcess

#: How long a child may live on after a signal before it gets SIGKILL, in seconds.
_KILL: Final = 5.0


class Wish(msgspec.Struct, frozen=True):
    """One wish.

    Attributes:
        kind: how the attempt ends if the wish is granted.
        signal: number of the signal for its process where it runs; None: then leave it.
        silent: True: report nothing.
        patience: seconds that its process gets to say what has started, before the signal comes all the same.
        failure: a serialized `grpcflow.v1.Failure`, for the kind "failure".
    """

    kind: Literal["returned", "revoked", "failure"]
    signal: int | None = None
    silent: bool = False
    patience: float = 1.0
    failure: bytes = b""

    def end(self, token: int, *, ran: bool = False) -> Ended:
        """How an attempt ends by this wish; `ran`: it had started, and the signal ended it."""
        return Ended(token, self.kind, failure=self.failure, signal=(self.signal or 0) if ran else 0)


def signal_number(name: str | None) -> int | None:
    """Return the number of a signal by its name, None for None.

    Raises:
        ValueError: there is no signal of this name here.
    """
    if name is None:
        return None
    try:
        return int(signals.Signals[name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"])
    except KeyError:
        raise ValueError(f"there is no signal {name!r}; use a name such as SIGTERM or SIGKILL") from None


class Wishes:
    """The open wishes of one prefork executor, by token.

    Args:
        executor: where the attempts are.
    """

    def __init__(self, executor: "Prefork") -> None:
        """Start with none."""
        self._executor = executor
        self._open: dict[int, Wish] = {}
        #: Children that got a signal for an attempt, by that attempt's token.
        self._signalled: dict[int, ChildProcess] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def make(self, token: int, wish: Wish) -> bool:
        """Grant a wish at once or put it to the child; False where no such attempt is held."""
        executor = self._executor
        if executor.take_from_line(token):
            if not wish.silent:
                executor.end_soon([wish.end(token)])
            return True
        child = executor.child_of(token)
        if child is None:
            return False
        known = self._open.get(token)
        if known is None or known.signal is None:
            self._open[token] = wish
        if token in self._signalled:
            return True
        if wish.signal is None:
            child.take_back([token])
        else:
            # Everything else leaves the child first, so that the signal can hit this attempt only.
            child.take_back(list(child.outstanding))
            asyncio.get_running_loop().call_later(wish.patience, self._kill, child, token)
        return True

    def peek(self, token: int) -> Wish | None:
        """The wish for an attempt, or None."""
        return self._open.get(token)

    def take(self, token: int) -> Wish | None:
        """The wish for an attempt, which is then no longer open; None for none."""
        self._signalled.pop(token, None)
        return self._open.pop(token, None)

    def settled(self, token: int) -> bool:
        """Note that an attempt ended by itself; False where that is not to be reported."""
        if not self._open:
            return True
        child = self._signalled.get(token)
        wish = self.take(token)
        if child is not None:
            # It survived the signal, or ended just before it: the child gets no more work and goes now.
            self._executor.nursery.kill(child, int(signals.SIGKILL))
        return wish is None or not wish.silent

    def make_many(self, tokens: Sequence[int]) -> None:
        """Ask for many attempts back, with one question to each child."""
        executor = self._executor
        executor.end_soon([Ended(token, "returned") for token in tokens if executor.take_from_line(token)])
        by_child: dict[int, tuple[ChildProcess, list[int]]] = {}
        for token in tokens:
            child = executor.child_of(token)
            if child is not None:
                self._open.setdefault(token, Wish("returned"))
                by_child.setdefault(child.number, (child, []))[1].append(token)
        for child, wanted in by_child.values():
            child.take_back(wanted)

    def kept(self, child: "ChildProcess", tokens: Sequence[int]) -> None:
        """A child said what it has started: send the signals that are wanted, drop the wishes that came too late."""
        for token in tokens:
            wish = self._open.get(token)
            if wish is None:
                continue
            if wish.signal is None or token not in child.outstanding:
                del self._open[token]
            else:
                self._kill(child, token)

    def _kill(self, child: "ChildProcess", token: int) -> None:
        """Send the wanted signal, and SIGKILL later; nothing where the attempt has ended or it was sent before."""
        wish = self._open.get(token)
        if wish is None or wish.signal is None or token in self._signalled or token not in child.outstanding:
            return
        self._signalled[token] = child
        child.condemned = True
        if wish.signal == SOFT_SIGNAL:
            child.want_soft(token)
        self._executor.nursery.kill(child, wish.signal)
        asyncio.get_running_loop().call_later(_KILL, self._kill_hard, child, token)

    def _kill_hard(self, child: "ChildProcess", token: int) -> None:
        if token in child.outstanding:
            self._executor.nursery.kill(child, int(signals.SIGKILL))
