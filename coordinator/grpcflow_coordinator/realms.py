"""The realms of one coordinator, one to each namespace: opened at the start, and when tokens name new ones.

The default namespace is the data folder itself; each other one has a folder below it, and so its own lock, records and
events. What one realm does cannot be seen from another: they share this process, its disk, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.logs import NamespaceLog
from grpcflow_coordinator.namespaces import folder_of, names_in
from grpcflow_coordinator.realm import Realm, open_store
from grpcflow_coordinator.storage.contract import Store, StoreError
from grpcflow_coordinator.storage.journal import SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb_opening import DATA

log = logging.getLogger(__name__)

#: Realms of one coordinator, the default one among them: each takes memory, files and a share of the processor.
MOST: Final = 64

#: Seconds after which a namespace that could not be opened is tried again.
RETRY: Final = 10.0


class Realms:
    """All realms, by the names of their namespaces; "" is the default one.

    Args:
        config: the coordinator's settings.
        store: the store of the default namespace; None: the one that the settings name.
        now: the clock.
        on_fatal: called with the reason when a realm can go on no longer.

    Attributes:
        engines: namespace -> its engine.
        handlers: namespace -> ``/SERVICE/METHOD`` -> what answers it.

    Raises:
        StoreError: the default store cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        store: Store | None,
        *,
        now: Callable[[], Now],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._config, self._now, self._on_fatal = config, now, on_fatal
        self._by_name: dict[str, Realm] = {}
        self.engines: dict[str, Engine] = {}
        self.handlers: dict[str, Mapping[str, Any]] = {}
        #: What tokens name; and of that and the folders, what is one too many.
        self._wanted: frozenset[str] = frozenset()
        self._too_many: set[str] = set()
        #: Of what could not be opened, the monotonic time at which it is tried again.
        self._failed: dict[str, float] = {}
        self._opening: asyncio.Task[None] | None = None
        self.home = Realm(config, store or open_store(config), now=now, on_fatal=on_fatal)
        self._add("", self.home)

    def __iter__(self) -> Iterator[Realm]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def by_name(self) -> Mapping[str, Realm]:
        """Return all of them by the names of their namespaces; there may be more later."""
        return self._by_name

    # --- opened ------------------------------------------------------------------------------------------------

    def open(self, wanted: Collection[str] | None) -> None:
        """Recover the default realm, and open and recover all others.

        One that has no data yet and cannot be opened, say on a full disk, is tried again while the others serve.

        Args:
            wanted: the namespaces that tokens name; None: there are no tokens, so there is no way into any.

        Raises:
            StoreError: one that has data cannot be opened: nobody is served then.
        """
        self.home.recover()
        found = [] if self._config.memory else names_in(Path(self._config.data))
        if wanted is None:
            if found:
                log.warning("%d namespaces are not served: that takes tokens, see --tokens", len(found))
            return
        self._wanted = frozenset(wanted) - {""}
        for name in [*found, *sorted(self._wanted.difference(found))]:
            if self._has_room(name):
                realm = self._opened(name) if self._has_data(name) else self._tried(name)
                if realm is not None:
                    self._add(name, realm)

    def _has_data(self, name: str) -> bool:
        return not self._config.memory and (folder_of(Path(self._config.data), name) / DATA).exists()

    def _has_room(self, name: str) -> bool:
        """Return whether there may be one more; complain where it may not."""
        if len(self._by_name) < MOST:
            return True
        if name not in self._too_many:
            self._too_many.add(name)
            log.error("the namespace %s is not served: %s", name, _TOO_MANY)
        return False

    def _opened(self, name: str) -> Realm:
        """Open a realm and recover it; on any thread."""
        folder, journal = folder_of(Path(self._config.data), name), min(self._config.journal, SMALLEST_JOURNAL)
        config = msgspec.structs.replace(self._config, data=str(folder), journal=journal)
        store = open_store(config)
        try:
            realm = Realm(config, store, now=self._now, on_fatal=lambda error: self._fail(name, error))
            realm.engine.log = NamespaceLog(logging.getLogger("grpcflow_coordinator.engine"), name)
            realm.recover()
        except BaseException:
            store.close()
            raise
        return realm

    def _tried(self, name: str) -> Realm | None:
        """Open a realm, if that can be; on any thread."""
        try:
            return self._opened(name)
        except Exception as error:  # whatever it is, it is no reason to end the others
            told = "the namespace %s cannot be opened, and is tried again every %g s: %s"
            log.error(told, name, RETRY, error, exc_info=None if isinstance(error, StoreError) else error)
            self._failed[name] = self._now().monotonic + RETRY
            return None

    def _add(self, name: str, realm: Realm) -> None:
        self._by_name[name], self.engines[name], self.handlers[name] = realm, realm.engine, realm.handlers

    def _fail(self, name: str, error: BaseException) -> None:
        log.critical("the namespace %s has failed, and the coordinator stops with it", name)
        self._on_fatal(error)

    # --- opened while others serve -----------------------------------------------------------------------------

    def follow(self, wanted: Collection[str]) -> None:
        """Open the namespaces that tokens name by now, beside what goes on; needs a running loop.

        Args:
            wanted: their names.
        """
        self._wanted = frozenset(wanted) - {""}
        if self._opening is None and self._next() is not None:
            self._opening = asyncio.get_running_loop().create_task(self._open_new())

    def _next(self) -> str | None:
        """Return a namespace that is to be opened now."""
        now = self._now().monotonic
        for name in sorted(self._wanted.difference(self._by_name)):
            if self._failed.get(name, now) <= now and self._has_room(name):
                return name
        return None

    async def _open_new(self) -> None:
        try:
            while (name := self._next()) is not None:
                await self._open_one(name)
        finally:
            self._opening = None

    async def _open_one(self, name: str) -> None:
        # A folder may be there already, and be large: nobody waits for it but who is in it.
        realm = await asyncio.to_thread(self._tried, name)
        if realm is not None:
            self._failed.pop(name, None)
            realm.attach(asyncio.get_running_loop())
            self._add(name, realm)
            log.info("serving the namespace %s from now on, epoch %d", name, realm.epoch)

    # --- asked -------------------------------------------------------------------------------------------------

    def check(self, name: str) -> None:
        """Let a namespace pass that is served.

        Args:
            name: of a token, or of who may act in any of them.

        Raises:
            Refusal: TOO_MANY_NAMESPACES, NAMESPACE_CLOSED or UNKNOWN_NAMESPACE.
        """
        if name in self._by_name:
            return
        if name in self._too_many:
            raise Refusal("TOO_MANY_NAMESPACES", f"the namespace {name!r} is not served: {_TOO_MANY}")
        if name in self._wanted:
            told = (
                f"the namespace {name!r} is being opened: come back; where that lasts, the coordinator's log says why"
            )
            raise Refusal("NAMESPACE_CLOSED", told, retry_after=1.0)
        told = f"there is no namespace {name!r}: it comes with its first token; the default one has no name"
        raise Refusal("UNKNOWN_NAMESPACE", told)

    @property
    def failed(self) -> BaseException | None:
        """Why one of them can go on no longer; None: all can."""
        return next((engine.failed for engine in self.engines.values() if engine.failed is not None), None)

    # --- their life --------------------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run all of them on an event loop from now on."""
        for realm in self:
            realm.attach(loop)

    async def leave(self) -> None:
        """Tell all workers and clients to come back later; what is being opened is waited for."""
        self._wanted = frozenset()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        for realm in self:
            realm.leave()

    def close(self) -> None:
        """End all of them, and close their stores."""
        with ExitStack() as stack:  # each is closed, whatever becomes of another
            for realm in self:
                stack.callback(realm.close)


_TOO_MANY: Final = (
    f"a coordinator has {MOST} namespaces at most: move folders away that nobody needs and start it again, or run "
    "another coordinator"
)
