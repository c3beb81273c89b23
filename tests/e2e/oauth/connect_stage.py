"""A hub's pages of logins at downstreams as a server on loopback, and the issuer that they lead to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn

from hub.edge.oauth import oauth_app
from hub.identity.oauth.resources import Resources
from hub.identity.profiles import Profile
from tests.e2e.oauth.login_hub import NAME, PASSWORD
from tests.edge.oauth.connecting import CALLBACK, OwnConnect, Waiting
from tests.edge.oauth.place import Place

WAIT_S: Final = 20.0
OTHER: Final = "grace"

T = TypeVar("T")


@dataclass(slots=True)
class Issuer:
    """Sends whoever comes straight back with a code."""

    url: str = ""
    back_to: str = ""
    denies: bool = False
    keeps: bool = False  # answers with nothing, so that the page which leads here stays to be seen


@dataclass(slots=True)
class ConnectStage:
    base: str
    connect: OwnConnect
    place: Place
    issuer: Issuer
    loop: asyncio.AbstractEventLoop
    ids: dict[str, str]  # of users, by name

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    def link(self, name: str | None = None, server: str = "linear") -> str:
        """What a caller is given who needs a login: this user, or a program on this computer."""
        more = {"is_user": name is not None}
        account = "local" if name is None else self.ids[name]
        whose = "this computer" if name is None else f"user {name}"
        return self.base + self.connect.offer(account, whose, server, **more)

    def connected(self, server: str, label: str = "", *, life_s: float = 1e6) -> None:
        """Ada has such a connection."""
        self.connect.life_s = life_s
        self.run(self.connect.keep(Waiting(server, self.ids[NAME], NAME, True, label)))

    def pass_by(self, seconds: float) -> None:
        self.place.clock.now += seconds


@contextmanager
def connect_stage() -> Iterator[ConnectStage]:
    with _issuer() as issuer, socket.create_server(("127.0.0.1", 0)) as sock:
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
        issuer.back_to = base + CALLBACK
        place = Place(secure=False)
        connect = OwnConnect(place.clock, base, issuer.url)
        app = oauth_app(
            *(place.server, place.users, Resources((base,), lambda: ("",)), place.journal),
            secure=False,
            connect=connect,
            clock=place.clock,
        )
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        stage = ConnectStage(base, connect, place, issuer, asyncio.new_event_loop(), {})
        thread = threading.Thread(target=stage.loop.run_until_complete, args=[server.serve([sock])])
        thread.start()
        try:
            for name in (NAME, OTHER):
                row = stage.run(place.users.create(name, Profile(("member",)), PASSWORD))
                stage.ids[name] = row.id
            yield stage
        finally:
            server.should_exit = True
            thread.join(WAIT_S)
            stage.loop.close()


@contextmanager
def _issuer() -> Iterator[Issuer]:
    kept = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            state = parse_qs(parts.query).get("state", [""])[0]
            answer = {"error": "access_denied"} if kept.denies else {"code": "a-code"}
            self.send_response(204 if kept.keeps or parts.path != "/authorize" else 302)
            if not kept.keeps:
                self.send_header("Location", f"{kept.back_to}?{urlencode({**answer, 'state': state})}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
