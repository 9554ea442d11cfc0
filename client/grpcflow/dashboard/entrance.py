"""Who is let in, and as whom: by a token of one's own, by a proxy, or because nothing is kept shut. Knows no routes.

A token is shown to the coordinator and to nobody else; what it may is found out there. It is kept in the link of a
session, in memory, and a browser never gets it back.
"""

import dataclasses
import ipaddress
from collections.abc import Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from grpcflow import errors
from grpcflow.connection import Connection
from grpcflow.credentials import Credentials
from grpcflow.dashboard.link import Link
from grpcflow.dashboard.permissions import asks_for_token, permissions
from grpcflow.dashboard.sessions import Attempts, Session, Sessions
from grpcflow.dashboard.settings import EVERYTHING, Settings
from grpcflow_protos.addresses import is_loopback

__all__ = ["Entrance", "NotLetIn"]

#: Letters of a token that are looked at.
_LONGEST: Final = 4_096


class NotLetIn(Exception):
    """Somebody is not let in.

    Args:
        message: Why, and what to do.
        how: ``token``: log in; ``proxy``: come through it; ``wait``: try again; ``never``: not from here.
    """

    def __init__(self, message: str, how: str) -> None:
        super().__init__(message)
        self.how = how


class Entrance:
    """Opens and finds sessions.

    Used on one event loop.

    Args:
        settings: Who is let in.
        connect: Opens a connection that shows credentials; None: a real one.
    """

    def __init__(self, settings: Settings, connect: Callable[[Credentials], Connection] | None = None) -> None:
        self.settings = settings
        self.sessions = Sessions(settings.session_time)
        self.attempts = Attempts()
        self._connect = connect or (lambda shown: Connection(settings.addresses, credentials=shown))
        self._links: dict[Credentials, Link] = {}
        self._bare: Connection | None = None
        self.cookie = f"{'__Host-' if settings.tls_cert else ''}grpcflow-{settings.port}"

    # --- sessions -----------------------------------------------------------------------------------------

    def session(self, request: HTTPConnection) -> Session | None:
        """Return the session that a request belongs to; None: it has to enter first."""
        name = request.cookies.get(self.cookie, "")
        session = self.sessions.find(name) if name else None
        if session is None:
            return None
        if session.link.is_refused or (session.kind == "open" and not self._is_open_to(request)):
            self.sessions.close(name)
            return None
        if self.settings.proxy_header and session.name != self._proxied(request):
            return None
        return session

    async def enter(self, request: HTTPConnection) -> str:
        """Open a session for somebody who shows no token, where that is allowed; return its name for the browser.

        Raises:
            NotLetIn: It is not.
        """
        if self.settings.proxy_header:
            return await self._enter_by_proxy(request)
        if not (self.settings.is_near or self.settings.insecure):
            raise NotLetIn("Log in with a token.", "token")
        if await self._asks_for_token():
            raise NotLetIn("Log in with a token.", "token")
        if not self._is_open_to(request):
            known = "a number, as 10.1.2.3" if self.settings.insecure else "the names of this machine"
            raise NotLetIn(f"Without a login the dashboard answers to {known} only.", "never")
        return await self._opened("", "open", EVERYTHING, self._without_token)

    async def log_in(self, token: str, peer: str) -> str:
        """Open a session for somebody who shows a token; return its name for the browser.

        Args:
            token: As it was typed.
            peer: From where, to count what fails.

        Raises:
            NotLetIn: The coordinator does not take it, or cannot be asked.
        """
        if self.settings.proxy_header:
            raise NotLetIn("People log in at the proxy here.", "proxy")
        if not self.attempts.may_try(peer):
            raise NotLetIn("Too many logins have failed; try again in a minute.", "wait")
        if not 0 < len(token) <= _LONGEST or not token.isascii() or not token.isprintable():
            raise NotLetIn("That is no token.", "token")
        if not await self._asks_for_token():
            raise NotLetIn("The coordinator asks for no token, so none can be checked here.", "never")
        shown = dataclasses.replace(self._without_token, token=token)
        try:
            may = await self._permissions(shown)
        except NotLetIn:
            self.attempts.failed(peer)
            raise
        if "inspect" not in may:
            raise NotLetIn("This token may not look at the cluster; one with the role inspect or control may.", "token")
        return await self._opened("token", "token", may, shown)

    async def _enter_by_proxy(self, request: HTTPConnection) -> str:
        name = self._proxied(request)
        if not name:
            raise NotLetIn("This dashboard is reached through a proxy, which says who you are.", "proxy")
        shown = self.settings.credentials
        return await self._opened(name, "proxy", await self._permissions(shown) & self.settings.proxied_may, shown)

    async def _opened(self, name: str, kind: str, may: frozenset[str], shown: Credentials) -> str:
        """Open a session, and stop the links that no session uses any more."""
        link = self._links.get(shown)
        if link is None or link.is_over:
            link = self._links[shown] = Link(self._connect(shown), self.settings.interval)
        opened = self.sessions.open(Session(name, kind, may, link))
        link.start()
        await self.tidy()
        return opened

    # --- asking the coordinator ---------------------------------------------------------------------------

    @property
    def _without_token(self) -> Credentials:
        return dataclasses.replace(self.settings.credentials, token="", token_file="")

    async def _asks_for_token(self) -> bool:
        if self._bare is None:
            self._bare = self._connect(self._without_token)
        try:
            return await run_in_threadpool(asks_for_token, self._bare)
        except errors.GrpcflowError as error:
            raise NotLetIn(str(error), "wait") from error

    async def _permissions(self, shown: Credentials) -> frozenset[str]:
        """Return what the holder of a token may; asks over a connection of its own, which ends with it."""
        connection = self._connect(shown)
        try:
            return await run_in_threadpool(permissions, connection)
        except errors.RequestFailed as error:
            raise NotLetIn(f"The coordinator does not take this token: {error}", "token") from error
        except errors.GrpcflowError as error:
            raise NotLetIn(str(error), "wait") from error
        finally:
            await run_in_threadpool(connection.close)

    async def tidy(self) -> None:
        """Stop the links that no session uses any more."""
        used = self.sessions.links()
        unused = [shown for shown, link in self._links.items() if link not in used]
        for link in [self._links.pop(shown) for shown in unused]:
            await run_in_threadpool(link.stop)

    async def close(self) -> None:
        """Stop all links, and close what is open."""
        gone = [*self._links.values()]
        self._links.clear()
        for link in gone:
            await run_in_threadpool(link.stop)
        if self._bare is not None:
            await run_in_threadpool(self._bare.close)

    # --- from where ---------------------------------------------------------------------------------------

    def _proxied(self, request: HTTPConnection) -> str:
        """Return whom a proxy that is believed has let in; "": nobody."""
        if not self.settings.believes(peer_of(request)):
            return ""
        said = request.headers.getlist(self.settings.proxy_header)
        return said[0].strip() if len(said) == 1 else ""

    def _is_open_to(self, request: HTTPConnection) -> bool:
        """Return whether a browser that shows nothing may be let in: one that knows this machine by its own name.

        A page of another site can have its own name lead here; its requests bear that name, and no number.
        """
        host = request.headers.get("host", "")
        name = (host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host).strip("[]")
        if self.settings.insecure:
            return name == "localhost" or _number(name) is not None
        return is_loopback(peer_of(request)) and is_loopback(name)


def peer_of(request: HTTPConnection) -> str:
    """Return the number of the other end of a connection; "": it has none."""
    address = _number("" if request.client is None else request.client.host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address or "")


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host that is written as a number; None: it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
