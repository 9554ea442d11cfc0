"""The sync client's connection to the coordinator: what the rest of the client calls.

One bidirectional stream carries submissions and results; questions beside it are single calls on the same
channel. Thread safe, and safe across ``os.fork()`` in both processes. Importing this imports grpc: do it at
first use.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import grpcflow
from grpcflow import errors
from grpcflow.blocking import blocking, blocking_each, run_here
from grpcflow.calls import Calls
from grpcflow.channels import Door
from grpcflow.commands import Reply
from grpcflow.credentials import Credentials, credentials_of
from grpcflow.exchange import Exchange
from grpcflow.notices import Notices
from grpcflow.reading import ThreadReader
from grpcflow.retry_policy import RetryPolicy
from grpcflow.settled import Settled
from grpcflow.threaded import ThreadedSession
from grpcflow.waiting import NodesWaiter

__all__ = ["Connection", "Reply", "RetryPolicy", "Settled", "connection_for", "discard_connection"]


class Connection(Exchange):
    """A connection to one coordinator, opened at first use and again whenever it breaks.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, tried in turn.
        retry_policy: How unreachable ones are tried again; default 4 tries within 3 seconds.
        connect_timeout: Seconds that a coordinator has to welcome a new stream; default 5.
        version: Version of the client, shown to people; None: that of this package.
        credentials: Certificates and token; None: neither.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        retry_policy: RetryPolicy | None = None,
        connect_timeout: float = 5.0,
        version: str | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        if not addresses:
            message = "there is no coordinator's address: name one in app.conf.coordinator or GRPCFLOW_COORDINATOR"
            raise errors.ImproperlyConfigured(message)
        self.addresses = tuple(addresses)
        self.credentials = credentials or Credentials()
        self.credentials.check(self.addresses)
        door = Door(self.credentials)
        shown = grpcflow.__version__ if version is None else version
        session = ThreadedSession(self.addresses, retry_policy or RetryPolicy(), connect_timeout, shown, door)
        super().__init__(session, Calls(session))
        self._open_reader = partial(ThreadReader, session)
        self._notices = Notices(session)
        _OPEN.add(self)

    # --- for threads: what is written once as coroutines ---------------------------------------------------

    submit = blocking(Exchange.asubmit)
    wait = blocking(Exchange.await_settled)
    wait_range = blocking(Exchange.await_range)
    arrivals = blocking_each(Exchange.aarrivals)
    lookup = blocking(Exchange.alookup)
    fetch_value = blocking(Exchange.afetch_value)
    update_state = blocking(Exchange.aupdate_state)
    forget = blocking(Exchange.aforget)
    save_group = blocking(Exchange.asave_group)
    restore_group = blocking(Exchange.arestore_group)
    delete_group = blocking(Exchange.adelete_group)
    emit = blocking(Exchange.aemit)
    read_events = blocking_each(Exchange.aread_events)
    publish_event = blocking(Exchange.apublish_event)
    read_items = blocking_each(Exchange.aread_items)
    read_logs = blocking_each(Exchange.aread_logs)
    revoke = blocking(Exchange.arevoke)
    revoke_by_stamp = blocking(Exchange.arevoke_by_stamp)
    inspect = blocking(Exchange.ainspect)
    control = blocking(Exchange.acontrol)
    list_commands = blocking(Exchange.alist_commands)
    list_workers = blocking(Exchange.alist_workers)
    list_queues = blocking(Exchange.alist_queues)
    purge_queue = blocking(Exchange.apurge_queue)
    erase = blocking(Exchange.aerase)
    pause_queue = blocking(Exchange.apause_queue)
    resume_queue = blocking(Exchange.aresume_queue)
    revoke_matching = blocking(Exchange.arevoke_matching)
    list_limits = blocking(Exchange.alist_limits)
    change_limit = blocking(Exchange.achange_limit)
    clear_limit = blocking(Exchange.aclear_limit)
    list_retention = blocking(Exchange.alist_retention)
    change_retention = blocking(Exchange.achange_retention)
    clear_retention = blocking(Exchange.aclear_retention)
    put_schedules = blocking(Exchange.aput_schedules)
    list_schedules = blocking(Exchange.alist_schedules)
    pause_schedules = blocking(Exchange.apause_schedules)
    run_schedule = blocking(Exchange.arun_schedule)
    remove_schedules = blocking(Exchange.aremove_schedules)
    list_graphs = blocking(Exchange.alist_graphs)
    graph_summary = blocking(Exchange.agraph_summary)
    graph_pages = blocking_each(Exchange.agraph_pages)
    graph_run = blocking(Exchange.agraph_run)
    cancel_graph = blocking(Exchange.acancel_graph)
    retry_graph = blocking(Exchange.aretry_graph)
    explain = blocking(Exchange.aexplain)
    list_failed = blocking_each(Exchange.alist_failed)
    purge_failed = blocking(Exchange.apurge_failed)
    retry_failed = blocking(Exchange.aretry_failed)

    def when_settled(
        self, ids: Sequence[str], call: Callable[[Exception | None], None], *, wait_for_submit: bool = False
    ) -> None:
        """Have a function called once all nodes have settled; returns at once.

        Args:
            ids: Ids as users know them.
            call: Called in a thread that belongs to the connection, one after the other: it should be quick. It gets
                None, or the error that kept the results from being known.
            wait_for_submit: As in ``wait``.

        Raises:
            NotFound, CoordinatorUnavailable, TimeoutError: One of the users' own ids could not be found.
        """
        nodes, names, _ = run_here(self._locate(ids, None, wait_for_submit))
        self._notices.add(NodesWaiter(nodes, names, waits_for_submit=wait_for_submit), call)

    def close(self) -> None:
        """End the connection; whoever waits on it gets CoordinatorUnavailable. May be called again."""
        self._session.close()

    @property
    def is_closed(self) -> bool:
        """True once ``close`` was called: it takes nothing any more."""
        return self._session.is_closed


# --- one for each process and address ------------------------------------------------------------------------

_OPEN: Final[weakref.WeakSet[Connection]] = weakref.WeakSet()


class _Shared:
    """The connections of this process by their addresses and credentials."""

    def __init__(self) -> None:
        self.connections: dict[tuple[tuple[str, ...], Credentials], Connection] = {}
        self.renew()

    def renew(self) -> None:
        """Take a free lock: another thread may have held it when this process was forked."""
        self.lock = threading.Lock()


_SHARED: Final = _Shared()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHARED.renew)


def connection_for(addresses: Iterable[str], credentials: Credentials | None = None) -> Connection:
    """Return the connection to these addresses: one for the whole process, which a forked child opens anew.

    One that was closed is replaced: who closes it ends what goes on, not what comes after.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, in the order in which they are tried.
        credentials: Certificates and token; None: those that the environment names.

    Raises:
        ImproperlyConfigured: There is no address, or the credentials cannot be used.
    """
    key = tuple(addresses), credentials_of({}) if credentials is None else credentials
    with _SHARED.lock:
        connection = _SHARED.connections.get(key)
        if connection is None or connection.is_closed:
            connection = _SHARED.connections[key] = Connection(key[0], credentials=key[1])
        return connection


def discard_connection(addresses: Iterable[str]) -> None:
    """Close the connections to these addresses, where there are any, and forget them: nobody will serve there again.

    Args:
        addresses: As for ``connection_for``.
    """
    with _SHARED.lock:
        wanted = tuple(addresses)
        gone = [_SHARED.connections.pop(key) for key in list(_SHARED.connections) if key[0] == wanted]
    for connection in gone:
        connection.close()


def _close_all(connections: Iterable[Connection]) -> None:
    """Close what is open when the interpreter ends, so that no thread of ours is in grpc then."""
    for connection in list(connections):
        connection.close()


atexit.register(partial(_close_all, _OPEN))
