"""A browser for tests: asks an ASGI application without a socket, keeps cookies, and says where it comes from."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Browser:
    """Someone at an address, who typed a host into the line of addresses."""

    app: ASGIApp
    peer: str = "127.0.0.1"
    host: str = "127.0.0.1:8551"
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""
    #: Who lets it in, for a look behind the door.
    entrance: Any = None

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers=headers)

    async def log_in(self, token: str, **headers: str) -> Answer:
        return await self.ask("POST", "/login", f"token={token}".encode(), headers)

    async def enter(self) -> Any:
        """Opens the first page, and returns what the server says of us."""
        await self.get("/")
        said = (await self.get("/api/me")).json()
        self.csrf = said.get("csrf", "")
        return said

    async def act(self, action: str, given: object = None, **headers: str) -> Answer:
        shown = {"x-csrf-token": self.csrf, **headers}
        return await self.ask("POST", f"/api/actions/{action}", json.dumps(given or {}).encode(), shown)

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        said = {"host": self.host, **self.headers, **{k.replace("_", "-"): v for k, v in (headers or {}).items()}}
        if self.cookies:
            said["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        plain, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": plain, "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in said.items() if value],
            "client": (self.peer, 40_000) if self.peer else None, "server": ("127.0.0.1", 8551),
        }  # fmt: skip
        return self._keep(await _asked(self.app, scope, body))

    def _keep(self, answer: Answer) -> Answer:
        for name, value in answer.headers:
            if name == "set-cookie":
                pair, _, rest = value.partition(";")
                key, _, told = pair.partition("=")
                self.cookies.pop(key, None)
                if "Max-Age=0" not in rest:
                    self.cookies[key] = told
        return answer


async def _asked(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answer:
    sent: list[Any] = []
    given: list[bool] = []

    async def receive() -> Any:
        if given:  # the body was read: whoever asks again waits for the browser to go
            await asyncio.get_running_loop().create_future()
        given.append(True)
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    head = next(message for message in sent if message["type"] == "http.response.start")
    headers = [(name.decode(), value.decode()) for name, value in head["headers"]]
    parts = [message.get("body", b"") for message in sent if message["type"] == "http.response.body"]
    return Answer(head["status"], headers, b"".join(parts))
