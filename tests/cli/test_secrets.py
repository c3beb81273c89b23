"""Secrets from the command line, with the hub running and without one."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.admin.audit_file import AuditFile
from hub.admin.ports import AdminPorts
from hub.admin.secrets import SecretDesk, operations
from hub.cli.main import main
from hub.config import load
from hub.core.ports import RegistryRow
from hub.identity.kek import KekFile
from hub.identity.vault import Vault
from hub.stores.memory.secrets import MemorySecrets
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.registry import SqliteRegistry
from hub.stores.sqlite.secrets import SqliteSecrets
from tests.admin.fakes import Parts
from tests.cli.hub import running

VALUE = "s3cret-canary"


@dataclass
class WithVault(Parts):
    """The parts of a hub that stores secrets."""

    vault: Vault = field(init=False)

    def ports(self, **changes: Any) -> AdminPorts:
        desk = SecretDesk(self.vault, self.journal, lambda: {"jira": ("tickets",)})
        return super().ports(more=operations(desk), **changes)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


async def opened(data_dir: Path) -> Vault:
    database = await open_database(data_dir / "hub.db")
    try:
        vault = Vault(SqliteSecrets(database), KekFile(data_dir / "kek"))
        await vault.load()
        return vault
    finally:
        await database.aclose()


async def test_without_a_hub_a_secret_is_stored_listed_rekeyed_removed_and_logged(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any, in_thread: Any
) -> None:
    piped(f"{VALUE}\n".encode())
    assert await in_thread(main, ["secrets", "set", "jira", "--json"]) == 0
    made = told(capsys)
    assert (made["name"], made["version"], made["used_by"], made["warnings"]) == ("jira", 1, [], [])
    assert (await opened(data_dir)).get("jira") == VALUE
    assert await in_thread(main, ["secrets", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["jira", "1", "0", "min"]
    assert await in_thread(main, ["secrets", "rekey", "--json"]) == 0
    assert told(capsys)["secrets"] == 1
    assert (await opened(data_dir)).get("jira") == VALUE
    assert await in_thread(main, ["secrets", "remove", "jira"]) == 0
    assert capsys.readouterr().out == "removed jira\n"
    assert (await opened(data_dir)).names() == ()
    acts = [e["detail"]["act"] for e in AuditFile(data_dir / "audit.db").tail(50) if e["kind"] == "admin"]
    assert acts == ["secrets.set", "secrets.rekey", "secrets.remove"]
    for file in data_dir.rglob("*"):
        assert file.is_dir() or VALUE.encode() not in file.read_bytes()


@pytest.fixture
def in_thread() -> Any:
    """The verbs run event loops of their own."""
    from anyio import to_thread

    async def run(function: Any, *given: Any) -> Any:
        return await to_thread.run_sync(function, *given)

    return run


def test_with_a_hub_running_it_is_the_hub_that_stores(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    with running(data_dir) as hub:
        parts = WithVault()
        parts.vault = Vault(MemorySecrets(), KekFile(tmp_path / "kek"))
        hub.parts = parts
        piped(VALUE.encode())
        assert main(["secrets", "set", "jira"]) == 0
        assert capsys.readouterr().out == "stored jira, version 1\n"
        assert parts.vault.get("jira") == VALUE
        assert main(["secrets", "list", "--json"]) == 0
        [row] = told(capsys)["secrets"]
        assert (row["name"], row["used_by"]) == ("jira", ["tickets"])
        assert main(["secrets", "remove", "jira"]) == 1
        assert "in use by tickets" in capsys.readouterr().err
        assert main(["secrets", "rekey"]) == 0
        assert "1 secrets are sealed" in capsys.readouterr().out
        assert main(["secrets", "remove", "jira", "--force"]) == 0
        assert "warning: tickets cannot be loaded again before: mcp-hub secrets set jira" in capsys.readouterr().err
        assert parts.vault.names() == ()
    assert not (data_dir / "hub.db").exists()


async def test_without_a_hub_a_secret_that_entries_refer_to_is_not_removed(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], piped: Any, in_thread: Any
) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers: {tickets: {command: x, env: {A: 'secret:jira'}}}")
    path.chmod(0o600)
    database = await open_database_in(load(path, {"HOME": str(tmp_path)}, sealed=True).data_dir, data_dir)
    body = {"url": "http://h", "headers": {"A": "Bearer secret:jira", "B": "secret:other"}}
    await SqliteRegistry(database).put(RegistryRow("local", "server", "wiki", body, 1, "t", "t", "a"), None)
    await database.aclose()
    piped(VALUE.encode())
    assert await in_thread(main, ["secrets", "set", "jira", "--json"]) == 0
    assert told(capsys)["used_by"] == ["tickets", "wiki"]
    assert await in_thread(main, ["secrets", "remove", "jira"]) == 1
    assert "in use by tickets, wiki" in capsys.readouterr().err
    assert (await opened(data_dir)).get("jira") == VALUE


async def open_database_in(default: Path, data_dir: Path) -> Any:
    assert default.name == data_dir.name
    data_dir.mkdir(parents=True)
    return await open_database(data_dir / "hub.db")


async def test_without_its_key_a_vault_is_listed_and_emptied_but_takes_nothing(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any, in_thread: Any
) -> None:
    piped(VALUE.encode())
    assert await in_thread(main, ["secrets", "set", "jira"]) == 0
    (data_dir / "kek").unlink()
    capsys.readouterr()
    assert await in_thread(main, ["secrets", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["secrets"][0]["name"] == "jira"
    assert "is missing" in err
    piped(VALUE.encode())
    assert await in_thread(main, ["secrets", "set", "wiki"]) == 1
    assert await in_thread(main, ["secrets", "rekey"]) == 1
    assert await in_thread(main, ["secrets", "remove", "jira"]) == 0
    piped(VALUE.encode())
    assert await in_thread(main, ["secrets", "set", "jira"]) == 0
    assert (await opened(data_dir)).get("jira") == VALUE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "standard input is empty"),
        (b"\r\n", "standard input is empty"),
        (b"s3cret\xff", "no UTF-8 text"),
        (b"s3cret" * 20_000, "this is no secret"),
    ],
)
def test_input_that_is_no_secret_is_wrong_usage(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any, data: bytes, words: str
) -> None:
    piped(data)
    assert main(["secrets", "set", "jira"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "s3c" not in err
    assert not data_dir.exists()


@pytest.mark.parametrize(("name", "value"), [("a b", b"s3c"), ("jira", b"s3c\0"), ("jira", b"s3c" * 10_000)])
def test_what_may_not_be_stored_is_refused_in_words(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any, name: str, value: bytes
) -> None:
    piped(value)
    assert main(["secrets", "set", name]) == 1
    assert "s3c" not in capsys.readouterr().err


def test_a_value_on_the_command_line_is_refused_and_not_shown(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["secrets", "set", "jira", VALUE]) == 2
    out, err = capsys.readouterr()
    assert "replace it at its origin" in err
    assert VALUE not in out + err
    assert not data_dir.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("typed", [VALUE, "", EOFError()])
async def test_in_a_terminal_the_value_is_asked_for_without_echo(
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_thread: Any,
    typed: str | Exception,
) -> None:
    asked: list[str] = []

    def getpass(prompt: str, stream: Any) -> str:
        asked.append(prompt)
        if isinstance(typed, Exception):
            raise typed
        return typed

    monkeypatch.setattr("hub.cli.secrets.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", Terminal("not read"))
    status = await in_thread(main, ["secrets", "set", "jira"])
    assert asked == ["value of jira (not shown): "]
    assert status == (0 if typed == VALUE else 2)
    assert VALUE not in "".join(capsys.readouterr())
    if status == 0:
        assert (await opened(data_dir)).get("jira") == VALUE


@pytest.mark.parametrize(("verb", "words"), [("remove", "no secret is called 'jira'"), ("rekey", "")])
def test_a_vault_with_nothing_in_it(data_dir: Path, capsys: pytest.CaptureFixture[str], verb: str, words: str) -> None:
    assert main(["secrets", verb, *(["jira"] if words else [])]) == (1 if words else 0)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("minutes", "shown"), [(0, "0 min"), (59, "59 min"), (60, "1 h"), (2879, "47 h"), (2880, "2 d")]
)
def test_an_age_is_told_in_its_own_unit(minutes: int, shown: str) -> None:
    from datetime import UTC, datetime, timedelta

    from hub.cli.secrets import _age

    now = datetime(2026, 1, 10, tzinfo=UTC)
    assert _age((now - timedelta(minutes=minutes)).isoformat(), now) == shown
