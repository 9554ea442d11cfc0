"""The routes: pages, what they ask for, and actions. Puts the rest together; what is allowed is decided in `entrance`.

Everything but the login, the files and the health needs a session; an action also needs what no other site can know.
"""

import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from grpcflow import __version__, errors
from grpcflow.dashboard.actions import ACTIONS, BadArguments, Given
from grpcflow.dashboard.answers import TooLong, body_of, failed, said
from grpcflow.dashboard.canvas_code import canvas_code
from grpcflow.dashboard.entrance import Entrance, NotLetIn, peer_of
from grpcflow.dashboard.event_tail import EventTail
from grpcflow.dashboard.graph_list import found, listed
from grpcflow.dashboard.graph_watch import GraphWatch
from grpcflow.dashboard.headers import Headers
from grpcflow.dashboard.live import news, streamed, watched
from grpcflow.dashboard.looks import LOOKS
from grpcflow.dashboard.pages import LIVE, RANGES, page
from grpcflow.dashboard.sessions import Session
from grpcflow.dashboard.story import story
from grpcflow.dashboard.timeline import timeline

__all__ = ["STATIC", "Dashboard"]

#: Where the files are that browsers get.
STATIC: Final = Path(__file__).with_name("static")
#: Addresses of pages, all of which are one file.
_NAMES: Final = (
    "",
    "queues",
    "workers",
    "graphs",
    "graphs/{id:path}",
    "failed",
    "schedules",
    "tasks",
    "events",
    "settings",
)
#: Seconds between two looks at what happens.
_EVENTS: Final = 1.0
#: Header in which an action bears its session's secret.
_CSRF: Final = "x-csrf-token"

_Answer: TypeAlias = Callable[[Request, Session], Awaitable[Response]]


class Dashboard:
    """Answers browsers.

    Args:
        entrance: Says who is let in.

    Attributes:
        app: The ASGI application.
    """

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._secure = bool(entrance.settings.tls_cert)
        routes = [
            *(Route(f"/{name}", self._shell) for name in _NAMES),
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._acting(self._log_out), methods=["POST"]),
            Route("/health", self._health),
            Route("/api/me", self._asking(self._me)),
            Route("/api/live/{page}", self._asking(self._live)),
            Route("/api/history", self._asking(self._history)),
            Route("/api/look/{name}", self._asking(self._look)),
            Route("/api/events", self._asking(self._events)),
            Route("/api/graphs", self._asking(self._graphs)),
            Route("/api/find", self._asking(self._find)),
            Route("/api/graphs/{id:path}/live", self._asking(self._graph)),
            Route("/api/graphs/{id:path}/timeline", self._asking(self._timeline)),
            Route("/api/graphs/{id:path}/python", self._asking(self._python)),
            Route("/api/task", self._asking(self._task)),
            Route("/api/actions/{name}", self._acting(self._act), methods=["POST"]),
            Mount("/static", _Files(directory=STATIC)),
        ]
        handlers = {errors.GrpcflowError: _failed, BadArguments: _failed, TooLong: _too_long}
        inner = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        # Outside of all, so that what answers to a fault of ours bears them too.
        self.app: ASGIApp = Headers(inner, self._secure)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._entrance.close()

    # --- pages --------------------------------------------------------------------------------------------

    async def _shell(self, request: Request) -> Response:
        """Answer with the page, or lead to the login."""
        cookie = None
        if self._entrance.session(request) is None:
            try:
                cookie = await self._entrance.enter(request)
            except NotLetIn as why:
                if why.how in ("token", "wait"):
                    return RedirectResponse(f"/login?next={quote(request.url.path, safe='')}", 303)
                return Response(f"{why}\n", 403, media_type="text/plain; charset=utf-8")
        answer = FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
        return answer if cookie is None else self._with_cookie(answer, cookie)

    async def _login_page(self, request: Request) -> Response:
        back = request.query_params.get("next", "/")
        # To a page of ours: what begins with two strokes would be another site.
        back = back if back.startswith("/") and back[1:2] not in ("/", "\\") else "/"
        if self._entrance.session(request) is not None:
            return RedirectResponse(back, 303)
        try:
            cookie = await self._entrance.enter(request)
        except NotLetIn as why:
            if why.how in ("proxy", "never"):
                return Response(f"{why}\n", 403, media_type="text/plain; charset=utf-8")
            return FileResponse(STATIC / "login.html", headers={"Cache-Control": "no-cache"})
        return self._with_cookie(RedirectResponse(back, 303), cookie)

    async def _log_in(self, request: Request) -> Response:
        """Take the token of the login's form, or of its script, which wants to be told in JSON."""
        if not _is_own(request):
            return said({"error": "This login came from another site.", "code": "CROSS_SITE"}, 403)
        fields = dict(parse_qsl((await body_of(request)).decode("utf-8", "replace")))
        token = fields.get("token", "").strip()
        try:
            cookie = await self._entrance.log_in(token, peer_of(request))
        except NotLetIn as why:
            status = {"token": 401, "wait": 503}.get(why.how, 403)
            return said({"error": str(why), "code": "NOT_LET_IN"}, status)
        return self._with_cookie(said({"ok": True}), cookie)

    async def _log_out(self, request: Request, _session: Session) -> Response:
        self._entrance.sessions.close(request.cookies.get(self._entrance.cookie, ""))
        await self._entrance.tidy()
        answer = said({"ok": True})
        answer.delete_cookie(self._entrance.cookie, secure=self._secure, httponly=True, samesite="strict")
        return answer

    def _with_cookie(self, answer: Response, name: str) -> Response:
        answer.set_cookie(self._entrance.cookie, name, secure=self._secure, httponly=True, samesite="strict")
        return answer

    async def _health(self, _request: Request) -> Response:
        return said({"ok": True})

    # --- what pages ask for -------------------------------------------------------------------------------

    def _asking(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        """Let who has a session be answered."""

        async def guarded(request: Request) -> Response:
            session = self._entrance.session(request)
            if session is None:
                return said({"error": "Log in first.", "code": "NO_SESSION"}, 401)
            return await answer(request, session)

        return guarded

    async def _me(self, _request: Request, session: Session) -> Response:
        return said(
            {
                "name": session.name,
                "kind": session.kind,
                "may": sorted(session.may),
                "csrf": session.csrf,
                "coordinator": ", ".join(session.link.connection.addresses),
                "version": __version__,
                "ranges": RANGES,
            }
        )

    async def _live(self, request: Request, session: Session) -> Response:
        name, wanted = request.path_params["page"], dict(request.query_params)
        if name not in LIVE:
            return said({"error": f"There is no page {name!r}.", "code": "NO_PAGE"}, 404)

        def is_welcome() -> bool:
            return self._entrance.session(request) is session

        return streamed(news(session.link, partial(page, name, session.link, wanted), is_welcome))

    async def _history(self, request: Request, session: Session) -> Response:
        length = RANGES.get(request.query_params.get("range", ""), RANGES["15m"])
        return said(await run_in_threadpool(session.link.history.series, time.time(), length))

    async def _look(self, request: Request, session: Session) -> Response:
        look = LOOKS.get(request.path_params["name"])
        if look is None:
            return said({"error": "There is no such page.", "code": "NO_PAGE"}, 404)
        return said(await run_in_threadpool(look, session.link, dict(request.query_params)))

    async def _events(self, request: Request, session: Session) -> Response:
        tail = EventTail(session.link, dict(request.query_params))

        def is_welcome() -> bool:
            return not session.link.is_over and self._entrance.session(request) is session

        return streamed(watched(tail.look, lambda: _EVENTS, is_welcome))

    # --- graphs -------------------------------------------------------------------------------------------

    async def _graphs(self, request: Request, session: Session) -> Response:
        return said(await run_in_threadpool(listed, session.link, dict(request.query_params)))

    async def _find(self, request: Request, session: Session) -> Response:
        return said({"graph": await run_in_threadpool(found, session.link, request.query_params.get("id", "").strip())})

    async def _graph(self, request: Request, session: Session) -> Response:
        watch = GraphWatch(session.link, request.path_params["id"])

        def is_welcome() -> bool:
            return not session.link.is_over and self._entrance.session(request) is session

        return streamed(watched(watch.look, lambda: watch.pause, is_welcome))

    async def _timeline(self, request: Request, session: Session) -> Response:
        first = request.query_params.get("first", "0")
        at = int(first) if first.isascii() and first.isdigit() and len(first) < 10 else 0
        return said(await run_in_threadpool(timeline, session.link, request.path_params["id"], at))

    async def _python(self, request: Request, session: Session) -> Response:
        return said(await run_in_threadpool(canvas_code, session.link, request.path_params["id"]))

    async def _task(self, request: Request, session: Session) -> Response:
        return said(await run_in_threadpool(story, session.link, request.query_params.get("id", "")))

    # --- actions ------------------------------------------------------------------------------------------

    def _acting(self, answer: _Answer) -> Callable[[Request], Awaitable[Response]]:
        """Let be done what one of our own pages asks for."""

        async def guarded(request: Request, session: Session) -> Response:
            if not _is_own(request) or not session.has_csrf(request.headers.get(_CSRF, "")):
                return said({"error": "This page is out of date: load it again.", "code": "CSRF"}, 403)
            return await answer(request, session)

        return self._asking(guarded)

    async def _act(self, request: Request, session: Session) -> Response:
        action = ACTIONS.get(request.path_params["name"])
        if action is None:
            return said({"error": "There is no such action.", "code": "NO_ACTION"}, 404)
        if action.needs not in session.may:
            told = f"This login may look and not act: that takes the role {action.needs}."
            return said({"error": told, "code": "ROLE_FORBIDDEN"}, 403)
        try:
            given = Given(json.loads(await body_of(request) or b"{}"))
        except (ValueError, RecursionError) as error:
            raise BadArguments(f"an action takes one JSON object: {error}") from None
        done = await run_in_threadpool(action.do, session.link, given)
        session.link.wake()
        return said({"done": done})


async def _failed(_request: Request, error: Exception) -> Response:
    return failed(error)


async def _too_long(_request: Request, _error: Exception) -> Response:
    return said({"error": "That is too long.", "code": "TOO_LONG"}, 413)


class _Files(StaticFiles):
    """Our files; a browser asks each time whether they have changed, which costs it no transfer."""

    def file_response(self, *args: object, **more: object) -> Response:
        """Answer with a file."""
        answer = super().file_response(*args, **more)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _is_own(request: Request) -> bool:
    """Return whether a request that changes something may come from our own page; other sites say who they are."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    return origin is None or hmac.compare_digest(urlsplit(origin).netloc.encode(), host.encode())
