"""Users from the command line, with the hub running and without one."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from hub.admin.audit_file import AuditFile
from hub.admin.ports import AdminPorts
from hub.admin.user_desk import UserDesk
from hub.admin.users import operations
from hub.cli.main import main
from hub.core.accounts import GrantRow, UserRow
from hub.identity.roles import Roles
from hub.identity.users import Users
from hub.stores.memory.users import MemoryUsers
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.grants import SqliteGrants
from hub.stores.sqlite.users import SqliteUsers
from tests.admin.fakes import Parts
from tests.admin.test_users import KeptGrants
from tests.cli.hub import running

PASSWORD = "s3cret-canary-of-ada"
GRANT = "g0123456789abcdef"


@dataclass
class WithUsers(Parts):
    """The parts of a hub that knows users."""

    users: Users = field(default_factory=lambda: Users(MemoryUsers(), Roles()))
    grants: KeptGrants = field(default_factory=KeptGrants)

    def ports(self, **changes: Any) -> AdminPorts:
        return super().ports(more=operations(UserDesk(self.users, self.grants, self.journal)), **changes)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@contextmanager
def with_users(data_dir: Path) -> Iterator[WithUsers]:
    with running(data_dir) as hub:
        hub.parts = parts = WithUsers()
        yield parts


async def stored(data_dir: Path) -> dict[str, UserRow]:
    database = await open_database(data_dir / "hub.db")
    rows = await SqliteUsers(database).all("local")
    await database.aclose()
    return {row.name: row for row in rows}


async def run(*argv: str) -> int:
    """The verbs run event loops of their own."""
    return await to_thread.run_sync(main, ["users", *argv])


async def test_without_a_hub_a_user_is_added_listed_changed_disabled_and_logged(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    piped(f"{PASSWORD}\nmore".encode())
    added = ("add", "Ada", "--role", "admin", "--role", "member", "--group", "x", "--email", "a@b", "--password-stdin")
    assert await run(*added, "--json") == 0
    made = told(capsys)
    assert (made["name"], made["roles"], made["groups"], made["email"]) == ("ada", ["admin", "member"], ["x"], "a@b")
    row = (await stored(data_dir))["ada"]
    assert row.password is not None
    assert await run("roles", "ada", "auditor") == 0
    assert capsys.readouterr().out == "ada has the roles auditor\n"
    assert await run("list", "--json") == 0
    [listed] = told(capsys)["users"]
    assert (listed["id"], listed["roles"]) == (row.id, ["auditor"])
    assert await run("disable", row.id) == 0
    assert await run("list") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["ada", "disabled"]
    assert await run("enable", "ada", "--json") == 0
    assert told(capsys)["disabled_at"] is None
    piped(b"another-canary-s3cret")
    assert await run("passwd", "ada", "--password-stdin") == 0
    assert (await stored(data_dir))["ada"].password != row.password
    assert await run("show", "ada") == 0
    assert "active" in capsys.readouterr().out
    acts = [e["detail"]["act"] for e in AuditFile(data_dir / "audit.db").tail(50) if e["kind"] == "admin"]
    assert acts == [f"users.{act}" for act in ("create", "change", "disable", "enable", "password")]
    for file in data_dir.rglob("*"):
        assert file.is_dir() or b"canary" not in file.read_bytes()


def test_with_a_hub_running_it_is_the_hub_that_acts(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    with with_users(data_dir) as parts:
        piped(PASSWORD.encode())
        assert main(["users", "add", "ada", "--password-stdin"]) == 0
        row = parts.users.meant("ada")
        assert capsys.readouterr().out == f"added ada ({row.id}) with the roles member\n"
        assert main(["users", "roles", "ada", "admin", "--json"]) == 0
        assert told(capsys)["roles"] == ["admin"]
        parts.grants.give(row.id)
        two = parts.grants.give(row.id, 2)
        assert main(["users", "sessions", "ada"]) == 0
        assert "A program" in capsys.readouterr().out
        assert main(["users", "logout", "ada", two]) == 0
        assert capsys.readouterr().out == "ended 1 of ada\n"
        assert main(["users", "sessions", "ada", "--json"]) == 0
        assert len(told(capsys)["grants"]) == 1
        assert main(["users", "logout", "ada"]) == 0
        assert main(["users", "logout", "ada"]) == 0
        assert capsys.readouterr().out == "ended 1 of ada\nada had nothing open\n"
        piped(b"another-canary-s3cret")
        assert main(["users", "passwd", "ada", "--password-stdin"]) == 0
        assert main(["users", "disable", "ada"]) == 0
        assert parts.users.any() is False
        assert main(["users", "enable", "ada"]) == 0
        assert main(["users", "list"]) == 0
        assert main(["users", "show", "ada", "--json"]) == 0
        assert parts.users.any() is True
    assert not (data_dir / "hub.db").exists()


async def test_without_a_hub_what_is_open_is_shown_and_ends(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    piped(PASSWORD.encode())
    assert await run("add", "ada", "--password-stdin", "--json") == 0
    user = told(capsys)["id"]
    database = await open_database(data_dir / "hub.db")
    grants = SqliteGrants(database)
    for id in (GRANT, "g2", "g3"):
        await grants.add(
            GrantRow("local", id, user, "c", "A\x1b program", "https://h/mcp", ("mcp",), "otp", 1.0, 1.0, 9e9)
        )
    await database.aclose()
    assert await run("sessions", "ada") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert GRANT in out
    assert await run("logout", "ada", GRANT, "--json") == 0
    assert told(capsys) == {"user": "ada", "ended": [GRANT]}
    assert await run("logout", "ada", GRANT) == 1
    assert "has no grant" in capsys.readouterr().err
    assert await run("disable", "ada") == 0
    database = await open_database(data_dir / "hub.db")
    assert await SqliteGrants(database).grants("local") == ()
    await database.aclose()


@pytest.mark.parametrize("hub_runs", [False, True])
def test_an_import_says_each_change_and_a_dry_run_makes_none(
    hub_runs: bool, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    file = tmp_path / "people.json"
    file.write_text(json.dumps({"Resources": [{"userName": "ada"}, {"userName": "bob", "active": False}]}))

    def check() -> None:
        assert main(["users", "import", str(file), "--dry-run"]) == 0
        out, err = capsys.readouterr()
        assert [line.split()[:2] for line in out.splitlines()[1:]] == [["created", "ada"], ["created", "bob"]]
        assert "nothing was done" in err
        assert main(["users", "list", "--json"]) == 0
        assert told(capsys) == {"users": []}
        assert main(["users", "import", str(file)]) == 0
        assert "2 created" in capsys.readouterr().err
        piped(file.read_bytes())
        assert main(["users", "import", "-", "--json"]) == 0
        assert told(capsys)["counts"]["unchanged"] == 2
        file.write_text('{"Resources": [{"userName": "carol"}, {"userName": "a b"}]}')
        assert main(["users", "import", str(file)]) == 1
        assert "nothing was imported: Resources[1]: 'a b' is no name" in capsys.readouterr().err
        assert main(["users", "list", "--json"]) == 0
        assert [user["name"] for user in told(capsys)["users"]] == ["ada", "bob"]

    if hub_runs:
        with with_users(data_dir):
            check()
    else:
        check()


@pytest.mark.parametrize("hub_runs", [False, True])
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["add", "a b", "--password-stdin"], "name"),
        (["add", "bob", "--role", "root", "--password-stdin"], "no role 'root': there are admin, auditor, member"),
        (["show", "nobody"], "no user 'nobody'"),
        (["passwd", "nobody", "--password-stdin"], "no user 'nobody'"),
        (["roles", "nobody", "admin"], "no user 'nobody'"),
        (["disable", "nobody"], "no user 'nobody'"),
        (["enable", "nobody"], "no user 'nobody'"),
        (["sessions", "nobody"], "no user 'nobody'"),
        (["logout", "nobody"], "no user 'nobody'"),
    ],
)
def test_what_may_not_be_is_refused_in_words(
    argv: list[str], words: str, hub_runs: bool, data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    piped(PASSWORD.encode())
    if hub_runs:
        with with_users(data_dir):
            assert main(["users", *argv]) == 1
    else:
        assert main(["users", *argv]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "canary" not in err


@pytest.mark.parametrize("hub_runs", [False, True])
def test_a_weak_password_is_refused_and_not_shown(
    hub_runs: bool, data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any
) -> None:
    piped(b"canary")
    if hub_runs:
        with with_users(data_dir):
            assert main(["users", "add", "ada", "--password-stdin"]) == 1
    else:
        assert main(["users", "add", "ada", "--password-stdin"]) == 1
    err = capsys.readouterr().err
    assert "password" in err
    assert "canary" not in err


@pytest.mark.parametrize(
    ("data", "argv", "words"),
    [
        (b"", ["--password-stdin"], "standard input is empty"),
        (b"\n", ["--password-stdin"], "standard input is empty"),
        (b"canary\xff", ["--password-stdin"], "no UTF-8"),
        (b"canary" * 1000, ["--password-stdin"], "this is no password"),
        (b"canary-canary-canary", [], "--password-stdin"),
    ],
)
def test_input_that_is_no_password_is_wrong_usage(
    data_dir: Path, capsys: pytest.CaptureFixture[str], piped: Any, data: bytes, argv: list[str], words: str
) -> None:
    piped(data)
    assert main(["users", "add", "ada", *argv]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "canary" not in err
    assert not data_dir.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ([PASSWORD, PASSWORD], 0, ""),
        ([PASSWORD, PASSWORD + "x"], 2, "two different passwords"),
        ([""], 2, "nothing was entered"),
        ([EOFError()], 2, "nothing was entered"),
    ],
)
def test_in_a_terminal_the_password_is_asked_for_twice_without_echo(
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: list[Any],
    status: int,
    words: str,
) -> None:
    asked: list[str] = []

    def getpass(prompt: str, stream: Any) -> str:
        answer = typed[len(asked)]
        asked.append(prompt)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr("hub.cli.users.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", Terminal("not read"))
    assert main(["users", "add", "ada"]) == status
    assert asked == ["password of ada (not shown): ", "once more: "][: len(typed)]
    out, err = capsys.readouterr()
    assert words in err
    assert "canary" not in out + err


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"{", "no JSON"), (b"[" * 100_000, "no JSON"), (b" " * 1_100_000, "larger than")],
)
def test_a_file_that_is_none_is_wrong_usage(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "people.json"
    if content is not None:
        file.write_bytes(content)
    assert main(["users", "import", str(file)]) == 2
    assert words in capsys.readouterr().err
