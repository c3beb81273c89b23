"""Every block that the docs tell people to paste into a client leads to the hub: read by our own importer, and used."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hub.admin.paste.drafts import Draft, Rules, read
from tests.equipment import ROOT
from tests.journeys.terminal import USUAL, Terminal

PAGE: Final = (ROOT / "hub" / "docs" / "clients.md").read_text()
SECTIONS: Final = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
CLIENTS: Final = ("Claude Desktop", "Claude Code", "VS Code", "Cursor", "Windsurf", "Gemini CLI", "Codex")
BLOCKS: Final = [
    (client, text)
    for client in CLIENTS
    for text in re.findall(r"```(?:json|toml)\n(.*?)```", SECTIONS[client], re.DOTALL)
]
KEYS: Final = {  # under what name each client looks for the server, its address and its headers
    "VS Code": ("servers", "url", "headers"),
    "Windsurf": ("mcpServers", "serverUrl", "headers"),
    "Gemini CLI": ("mcpServers", "httpUrl", "headers"),
}
HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "docs", "version": "1"}},
}


class Reader:
    """Somebody who fills in what the page leaves open, with a hub that runs."""

    def __init__(self, terminal: Terminal, screen: str) -> None:
        self.terminal, self.screen = terminal, screen
        self.token = terminal.type("mcp-hub token")[1].strip()
        self.config = terminal.work / "hub.yaml"

    def filled(self, text: str) -> str:
        own = {
            "/path/to/mcp-hub": f"{sys.prefix}/bin/mcp-hub",
            "/path/to/hub.yaml": str(self.config),
            USUAL: self.terminal.address,
            "Bearer TOKEN": f"Bearer {self.token}",
        }
        for word, value in own.items():
            text = text.replace(word, value)
        return text

    def draft(self, text: str) -> Draft:
        answers = {"MCP_HUB_KEY": self.token, "mcp-hub-token": self.token}
        [draft] = read(self.filled(text), Rules(answers, allow_command=True))
        assert (draft.id, draft.fault, draft.needs) == ("mcp-hub", None, ())
        return draft


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    terminal = Terminal(tmp_path_factory.mktemp("clients") / "home")
    terminal.configure(terminal.work / "hub.yaml")
    with terminal.hub("mcp-hub up") as screen:
        yield Reader(terminal, screen)


@pytest.mark.parametrize(("client", "text"), BLOCKS, ids=[client for client, _ in BLOCKS])
def test_a_block_leads_to_the_running_hub(client: str, text: str, reader: Reader) -> None:
    assert used(reader.draft(text), reader) == "mcp-hub"


def test_what_the_hub_prints_leads_to_it_and_to_the_page(reader: Reader) -> None:
    printed = re.findall(r"^\{\n.*?^\}$", reader.screen, re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^(.+)\n-+$", reader.screen, re.MULTILINE)
    assert [title.partition(":")[0] for title in titles[1:5]] == ["Claude Desktop", "VS Code", "Cursor", "Claude Code"]
    assert [used(reader.draft(text), reader) for text in printed] == ["mcp-hub"] * 3
    assert "see hub/docs/clients.md" in reader.screen


def used(draft: Draft, reader: Reader) -> str:
    """The name of what answers when somebody connects as the block says."""
    if "command" in draft.entry:
        answer = over_stdio([draft.entry["command"], *draft.entry["args"]], reader.terminal.env)
    else:
        header = str(draft.entry["headers"]["Authorization"])
        secret = re.sub(r"secret:(\S+)", lambda found: draft.secrets[found[1]], header)
        answer = over_http(str(draft.entry["url"]), secret)
    return str(answer["result"]["serverInfo"]["name"])


def test_the_command_of_claude_code_leads_to_the_running_hub(reader: Reader) -> None:
    [line] = re.findall(r"^claude mcp add .*$", SECTIONS["Claude Code"], re.MULTILINE)
    program, mcp, add, flag, kind, name, url, header, value = shlex.split(reader.filled(line))
    assert (program, mcp, add, flag, kind, name) == ("claude", "mcp", "add", "--transport", "http", "mcp-hub")
    assert (header, value.partition(": ")[0]) == ("--header", "Authorization")
    assert over_http(url, value.partition(": ")[2])["result"]["serverInfo"]["name"] == "mcp-hub"


@pytest.mark.parametrize(("client", "text"), BLOCKS, ids=[client for client, _ in BLOCKS])
def test_a_block_has_the_names_that_its_client_looks_for(client: str, text: str) -> None:
    if client == "Codex":
        [entry] = tomllib.loads(text)["mcp_servers"].values()
        assert set(entry) in ({"url", "bearer_token_env_var"}, {"command", "args"})
        return
    servers, url, headers = KEYS.get(client, ("mcpServers", "url", "headers"))
    entry = json.loads(text)[servers]["mcp-hub"]
    if client == "Claude Desktop":  # whose file takes programs only
        assert set(entry) == {"command", "args"}
    else:
        assert set(entry) - {"type"} == {url, headers}
    assert ("type" in entry) is (client in ("VS Code", "Claude Code"))


def test_every_client_has_a_block() -> None:
    assert {client for client, _ in BLOCKS} == set(CLIENTS)
    assert set(SECTIONS) == {*CLIENTS, "What was tried", "Anything else"}


def over_http(url: str, authorization: str) -> Any:
    headers = {
        "Authorization": authorization,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    request = urllib.request.Request(url, json.dumps(HELLO).encode(), headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return message(answer.read().decode())


def message(body: str) -> Any:
    data = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")]
    return json.loads(data[-1] if data else body)


def over_stdio(argv: list[str], env: dict[str, str]) -> Any:
    done = subprocess.run(
        argv, input=json.dumps(HELLO) + "\n", capture_output=True, text=True, timeout=30, env=env, cwd=Path("/")
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])
