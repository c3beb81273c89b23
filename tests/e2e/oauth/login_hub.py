"""A hub that people log in at, as a program on loopback, and the server behind it that keeps all it is sent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from conformance.official.started import process
from conformance.servers.echo import Echo
from tests.equipment import ROOT

NAME: Final = "ada"
PASSWORD: Final = "a long walk by the sea"
VERIFIER: Final = "v" * 64
CHALLENGE: Final = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoginHub:
    folder: Path
    port: int
    downstream: Downstream

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.issuer}/mcp"

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text()

    def verb(self, *words: str, stdin: str = "") -> str:
        """What a verb of the CLI prints; it must succeed."""
        command = [sys.executable, "-m", "hub.cli.main", *words, "--config", str(self.folder / "hub.json")]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, cwd=ROOT, env=_env(self.folder)
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def add_user(self, name: str = NAME, password: str = PASSWORD, *more: str) -> None:
        self.verb("users", "add", name, "--password-stdin", *more, stdin=f"{password}\n")

    def sessions(self, name: str = NAME) -> list[Json]:
        found = json.loads(self.verb("users", "sessions", name, "--json"))
        rows: list[Json] = next(value for value in found.values() if isinstance(value, list))
        return rows

    def log_out(self, name: str = NAME) -> None:
        """Everything that this user let in ends."""
        self.verb("users", "logout", name)

    def post(self, path: str, body: bytes, media: str) -> tuple[int, Json]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body, {"Content-Type": media})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def register(self, redirect: str, name: str = "Ada's editor") -> str:
        """The id of a client that registered itself (RFC 7591)."""
        wish = {"client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none"}
        status, body = self.post("/oauth/register", json.dumps(wish).encode(), "application/json")
        assert status == 201, body
        return str(body["client_id"])

    def authorize_url(self, client: str, redirect: str, state: str = "a-state", **more: str) -> str:
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": redirect,
            "state": state,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.url,
            **more,
        }
        return f"{self.issuer}/oauth/authorize?{urlencode(query)}"

    def redeem(self, client: str, redirect: str, code: str) -> tuple[int, Json]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": client,
            "redirect_uri": redirect,
            "code_verifier": VERIFIER,
            "resource": self.url,
        }
        return self.post("/oauth/token", urlencode(form).encode(), "application/x-www-form-urlencoded")


@dataclass(slots=True)
class Downstream:
    """A server of the newer era whose tool repeats what it is told. It keeps every head and body that it is sent."""

    url: str = ""
    heard: list[str] = field(default_factory=list)

    def everything(self) -> str:
        return "\n".join(self.heard)


@contextmanager
def downstream() -> Iterator[Downstream]:
    echo, kept = Echo(), Downstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept.heard.append(f"{self.requestline}\n{self.headers}\n{body.decode()}")
            asked = json.loads(body)
            result = echo.result(asked.get("method", ""), asked.get("params") or {})
            answer: Json = {"jsonrpc": "2.0", "id": asked.get("id")}
            answer |= {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
            self._answer(202 if "id" not in asked else 200, b"" if "id" not in asked else json.dumps(answer).encode())

        def do_GET(self) -> None:
            kept.heard.append(f"{self.requestline}\n{self.headers}")
            self._answer(405, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/mcp"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def login_hub(folder: Path, *, with_user: bool = True, **settings: Any) -> Iterator[LoginHub]:
    """With the user `ada`, unless nobody is to be there."""
    with downstream() as behind:
        config = {
            "listen": "127.0.0.1:0",
            "data_dir": str(folder / "data"),
            "mcpServers": {"echo": {"url": behind.url}},
            **settings,
        }
        (folder / "hub.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "hub.cli.main", "serve", "--config", str(folder / "hub.json")]
        with process(command, folder / "hub.log", _env(folder)):
            run = json.loads((folder / "data" / "run.json").read_text())
            hub = LoginHub(folder, run["port"], behind)
            if with_user:
                hub.add_user()
            yield hub


def _env(folder: Path) -> Mapping[str, str]:
    return {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
