"""A door on loopback before a server: it keeps all that comes through, and a test may stop what goes through it.

A request is passed on as it came and its answer as it comes, streams too. What is asked at a token endpoint has three
stages: `asked`, and the server has seen nothing yet; `answered`, and nobody has its answer yet; `passed` on. A test's
own function may end the connection there, as a cable does that is cut.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

CHUNK: Final = 65_536
LIMIT_S: Final = 120.0
TOKEN_PATHS: Final = ("/token", "/oauth/token")
HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})

Stage = Literal["asked", "answered", "passed"]


class Cut(Exception):
    """The connection ends here."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came."""

    verb: str
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def is_refresh(self) -> bool:
        return urlsplit(self.path).path in TOKEN_PATHS and self.form.get("grant_type") == "refresh_token"

    @property
    def bearer(self) -> str | None:
        return self.headers.get("authorization", "").partition("Bearer ")[2] or None

    def whole(self) -> str:
        lines = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.verb} {self.path}\n{lines}\n\n{self.body.decode(errors='replace')}"


def passing(stage: Stage, heard: Heard) -> None:
    """Everything goes through."""


@dataclass
class Door:
    to: int = 0  # the port behind it
    port: int = 0
    at: Callable[[Stage, Heard], None] = passing  # may raise Cut
    refuse: set[str] = field(default_factory=set)  # access tokens that are taken no more
    heard: list[Heard] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)  # of token and registration endpoints: secrets stand there
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """By a name of its own: browsers share the cookies of all ports of one host."""
        return f"http://localhost:{self.port}"

    def keep(self, heard: Heard) -> None:
        with self._lock:
            self.heard.append(heard)

    def refreshes(self) -> int:
        with self._lock:
            return sum(heard.is_refresh for heard in self.heard)

    def bearers(self) -> list[str]:
        """Every access token that came, in order, each once."""
        with self._lock:
            return list(dict.fromkeys(heard.bearer for heard in self.heard if heard.bearer is not None))


class _Handler(BaseHTTPRequestHandler):
    door: Door
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        heard = Heard(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.door.keep(heard)
        self.close_connection = True
        is_token = urlsplit(self.path).path in TOKEN_PATHS
        try:
            if is_token:
                self.door.at("asked", heard)
            if heard.bearer in self.door.refuse:
                self._refused()
            else:
                self._passed_on(heard, is_token)
        except (Cut, OSError, HTTPException):
            self.connection.close()

    do_GET = do_POST = do_DELETE = do_OPTIONS = handle_any

    def _refused(self) -> None:
        self.send_response(401)
        metadata = f"{self.door.url}/.well-known/oauth-protected-resource/mcp"
        self.send_header("WWW-Authenticate", f'Bearer error="invalid_token", resource_metadata="{metadata}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _passed_on(self, heard: Heard, is_token: bool) -> None:
        there = HTTPConnection("127.0.0.1", self.door.to, timeout=LIMIT_S)
        try:
            there.putrequest(heard.verb, heard.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "keep-alive"):
                    there.putheader(name, value)
            there.putheader("Connection", "close")
            there.endheaders(heard.body or None)
            response = there.getresponse()
            if is_token or self.path.endswith("/register"):
                answer = response.read()
                self.door.answers.append(answer)
                if is_token:
                    self.door.at("answered", heard)
                self._head(response)
                self.wfile.write(answer)
                self.wfile.flush()
                if is_token:
                    self.door.at("passed", heard)
                return
            self._head(response)
            while data := response.read1(CHUNK):
                self.wfile.write(data)
                self.wfile.flush()
        finally:
            there.close()

    def _head(self, response: HTTPResponse) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Who was killed hangs up."""


@contextmanager
def a_door() -> Iterator[Door]:
    """Where it leads to is told later, by `to`."""
    door = Door()
    handler = type("Handler", (_Handler,), {"door": door})
    server = _Server(("127.0.0.1", 0), handler)
    door.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
