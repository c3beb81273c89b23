"""mcp-remote, which gives clients that speak stdio only a way to log in: its own browser flow, files and refresh."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth.browser import Chromium, Person
from tests.e2e.oauth.login_hub import NAME, PASSWORD, LoginHub
from tests.e2e.oauth.talking import Opener, Refused, Talking, talking
from tests.equipment import NODE22
from tests.equipment_clients import CLIENTS_NPM, clients_npm_missing

pytestmark = pytest.mark.e2e

PROXY: Final = CLIENTS_NPM / "node_modules" / "mcp-remote" / "dist" / "proxy.js"
ASKS: Final = "Please authorize this client by visiting:"
HELLO: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "a client of stdio", "version": "1"},
}

Json = dict[str, Any]


class Bridge:
    """One run of mcp-remote, spoken to as its client does."""

    def __init__(self, talking: Talking) -> None:
        self._talking = talking
        self.opened: list[str] = []

    def use(self, opener: Opener) -> str:
        """Initialize, list and call, each through to its answer; what the tool said."""
        self._ask(1, "initialize", HELLO, opener)
        self._talking.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        listed = self._ask(2, "tools/list", {}, opener)
        assert "echo__echo" in {tool["name"] for tool in listed["tools"]}
        called = self._ask(3, "tools/call", {"name": "echo__echo", "arguments": {"text": "over stdio"}}, opener)
        return str(called["content"][0]["text"])

    def _ask(self, id: int, method: str, params: Json, opener: Opener) -> Json:
        self._talking.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        told: list[str] = []
        while True:
            try:
                stream, line = self._talking.line()
            except Refused as exc:
                raise Refused("\n".join((str(exc), *told[-30:]))) from None
            if stream == "stderr":
                if told and ASKS in told[-1]:
                    self.opened.append(line.strip())
                    opener(line.strip())
                told.append(line)
                continue
            if not line:
                continue
            message = json.loads(line)
            if message.get("id") != id:
                continue
            if "error" in message:
                raise Refused("\n".join((str(message["error"]), *told[-30:])))
            found: Json = message["result"]
            return found


@contextmanager
def bridge(hub: LoginHub, home: Path) -> Iterator[Bridge]:
    if lacks := clients_npm_missing():
        lack(f"{'; '.join(lacks)}: run `python -m tests.equipment`")
    empty = home / "bin"  # nothing there opens a browser of its own
    empty.mkdir(exist_ok=True)
    command = [str(NODE22), str(PROXY), hub.url, "--transport", "http-only", "--host", "127.0.0.1"]
    with talking(command, {"HOME": str(home), "PATH": str(empty)}, home) as made:
        yield Bridge(made)


def tokens_file(home: Path) -> Path:
    (found,) = (home / ".mcp-auth").rglob("*tokens.json")
    return found


def nobody(url: str) -> None:
    raise AssertionError(f"mcp-remote asks for a person: {url}")


def test_a_person_logs_in_through_mcp_remote_which_refreshes_and_hears_of_a_logout(
    hub: LoginHub, browser: Chromium, tmp_path: Path
) -> None:
    person = browser.person("with mcp-remote")

    def log_in(url: str) -> None:
        person.log_in(url, NAME, PASSWORD)
        _allow(person)

    def again(url: str) -> None:
        person.goto(url)
        person.see("Allow access?")
        _allow(person)

    with bridge(hub, tmp_path) as first:
        assert first.use(log_in) == "over stdio"
        assert len(first.opened) == 1
    kept = json.loads(tokens_file(tmp_path).read_text())

    with bridge(hub, tmp_path) as second:
        assert second.use(nobody) == "over stdio"
    tokens_file(tmp_path).write_text(json.dumps({**kept, "expires_at": 1, "expires_in": 0}))
    with bridge(hub, tmp_path) as third:
        assert third.use(nobody) == "over stdio"
    refreshed = json.loads(tokens_file(tmp_path).read_text())
    assert refreshed["access_token"] != kept["access_token"]
    assert refreshed["refresh_token"] != kept["refresh_token"]

    hub.log_out()
    with bridge(hub, tmp_path) as fourth:
        assert fourth.use(again) == "over stdio"
        assert len(fourth.opened) == 1
    shutil.rmtree(tmp_path / ".mcp-auth")
    person.close()


def test_mcp_remote_hears_that_it_was_denied(hub: LoginHub, browser: Chromium, tmp_path: Path) -> None:
    person = browser.person("denies mcp-remote")

    def deny(url: str) -> None:
        person.log_in(url, NAME, PASSWORD)
        person.press("Deny")
        assert "error=access_denied" in person.arrive(r"/oauth/callback\?")

    with bridge(hub, tmp_path) as made, pytest.raises(Refused, match="denied"):
        made.use(deny)
    person.close()


def _allow(person: Person) -> None:
    person.press("Allow")
    person.arrive(r"/oauth/callback\?")
