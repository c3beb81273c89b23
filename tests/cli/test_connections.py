"""`login`, `logout` and `connections`: a hub that runs, a server behind a login, and a browser that opens."""

from __future__ import annotations

import asyncio
import json
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio import to_thread

from hub.cli import login
from hub.cli.hub_client import api
from hub.cli.main import main
from hub.core.call import LOCAL
from tests.admin.connection_parts import CANARIES, World, a_world
from tests.cli.hub import FakeHub, running


@dataclass
class Browser:
    """Opens pages in a thread of its own, as a program does that nobody waits for."""

    hub: FakeHub
    opened: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    works: bool = True

    def open(self, url: str) -> bool:
        self.opened.append(url)
        if self.works:
            thread = threading.Thread(target=api, args=(self.hub.run, "POST", "/browser", {"url": url}))
            thread.start()
            self.threads.append(thread)
        return self.works


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        await made.users.create("ada")
        yield made


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.delenv("BROWSER", raising=False)


@contextmanager
def with_browser(data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    with running(data_dir) as hub:
        hub.parts = world.parts
        browser = Browser(hub)
        monkeypatch.setattr(webbrowser, "open", browser.open)
        yield browser
        for thread in browser.threads:
            thread.join(5)


async def run(*argv: str) -> int:
    """In a thread, as the issuer answers in this one."""
    return await to_thread.run_sync(main, list(argv))


@pytest.mark.usefixtures("display")
async def test_a_login_opens_the_browser_and_waits_for_its_end(
    data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with with_browser(data_dir, world, monkeypatch) as browser:
        assert await run("login", "wiki", "--label", "work") == 0
        out, err = capsys.readouterr()
        [row] = world.connections.of(LOCAL)
        assert out.splitlines() == [browser.opened[0], f"logged in to wiki as work for this computer ({row.id})"]
        assert "a browser opens" in err
        assert await run("login", "wiki", "--user", "ada", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], told["connection"]["user"], told["url"]) == ("done", "ada", browser.opened[1])
        assert await run("login", "team", "--shared") == 0
        assert "logged in to team for everybody" in capsys.readouterr().out
        assert await run("connections") == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.split() == ["SERVER", "WHOSE", "ACCOUNT", "STATE", "SINCE", "ENDS", "ID"]
        assert [line.split()[:2] for line in sorted(lines)] == [
            ["team", "everybody"],
            ["wiki", "ada"],
            ["wiki", "this"],
        ]
        assert await run("connections", "--user", "ada", "--server", "wiki", "--json") == 0
        shown = capsys.readouterr().out
        assert [each["user"] for each in json.loads(shown)["connections"]] == ["ada"]
        assert not any(canary in shown + out + err for canary in CANARIES)


@pytest.mark.parametrize(
    ("environ", "argv"),
    [
        ({}, ()),
        ({"DISPLAY": ":7", "SSH_CONNECTION": "192.0.2.1"}, ()),
        ({"DISPLAY": ":7"}, ("--no-browser",)),
    ],
)
async def test_where_no_browser_may_open_the_address_is_what_one_gets(
    environ: dict[str, str],
    argv: tuple[str, ...],
    data_dir: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    with with_browser(data_dir, world, monkeypatch) as browser:
        assert await run("login", "wiki", "--timeout", "0.1", *argv) == 1
        out, err = capsys.readouterr()
        assert browser.opened == []
        assert out.startswith("http://127.0.0.1:8700/oauth/connect?c=")
        assert "in a browser" in err or "in one; it is good once" in err
        assert "nobody logged in within 0.1 s" in err


@pytest.mark.usefixtures("display")
async def test_a_browser_that_does_not_open_is_said_and_the_login_goes_on(
    data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with with_browser(data_dir, world, monkeypatch) as browser:
        browser.works = False
        monkeypatch.setattr(login, "ASK_S", 1)
        ended: list[int] = []
        waiting = threading.Thread(target=lambda: ended.append(main(["login", "wiki"])))
        waiting.start()
        seen = ""
        async with asyncio.timeout(10):
            while "waiting for the login" not in seen:
                await to_thread.run_sync(waiting.join, 0.05)
                seen += capsys.readouterr().err
        assert "no browser can be opened" in seen
        browser.works = True
        browser.open(browser.opened[0])
        await to_thread.run_sync(waiting.join, 10)
        assert ended == [0]


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("login", "nobody"), 1, "does not log in to"),
        (("login", "wiki", "--shared"), 1, "everybody has his own"),
        (("login", "wiki", "--user", "eve"), 1, "there is no user"),
        (("login", "wiki", "--timeout", "0"), 2, "--timeout"),
        (("login", "wiki", "--timeout", "nan"), 2, "--timeout"),
        (("login", "wiki", "--user", "ada", "--shared"), 2, "not allowed with"),
        (("logout", "wiki"), 1, "there is no account at wiki for this computer"),
        (("logout", "wiki", "--user", "ada"), 1, "there is no account at wiki for ada"),
        (("logout", "wiki", "--user", "eve"), 1, "there is no user"),
        (("logout", "o0123456789abcdef"), 1, "there is no connection"),
        (("connections", "--user", "eve"), 1, "there is no user"),
    ],
)
async def test_what_cannot_be_done_is_said_in_words(
    argv: tuple[str, ...],
    status: int,
    words: str,
    data_dir: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with with_browser(data_dir, world, monkeypatch) as browser:
        assert await run(*argv) == status
        assert browser.opened == []
    assert words in capsys.readouterr().err


async def test_a_page_that_is_over_ends_the_wait(
    data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with with_browser(data_dir, world, monkeypatch):
        monkeypatch.setattr(login, "_show", lambda url, args: setattr(world, "now", world.now + 601))
        assert await run("login", "wiki") == 1
    assert "while the page was good" in capsys.readouterr().err


async def test_one_of_several_accounts_is_logged_out_or_all(
    data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = [await world.connect(LOCAL, label) for label in ("a", "b", "c")]
    of_ada = await world.connect(world.users.meant("ada").id)
    with with_browser(data_dir, world, monkeypatch):
        assert await run("connections", "--server", "wiki") == 0
        states = {line.split()[-1]: line for line in capsys.readouterr().out.splitlines()[1:]}
        assert ["not used" in states[row.id] for row in (first, second, third, of_ada)] == [True, True, False, False]
        assert await run("logout", "wiki") == 1
        assert f"{first.id} (a)" in capsys.readouterr().err
        assert await run("logout", first.id) == 0
        out, err = capsys.readouterr()
        assert out == f"logged out of wiki for this computer ({first.id})\n"
        assert "runs out by itself" in err
        assert await run("logout", "wiki", "--all", "--json") == 0
        told = json.loads(capsys.readouterr().out)["removed"]
        assert {row["id"] for row in told} == {second.id, third.id}
        assert [row.id for row in world.connections.rows()] == [of_ada.id]
        assert await run("logout", "wiki", "--user", "ada") == 0
        assert world.connections.rows() == ()


async def test_why_a_login_is_needed_is_said(
    data_dir: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.down.tokens["refresh_token"] = None
    row = await world.connect(LOCAL, "work")
    await world.connections.refused("wiki", LOCAL, row.resource, CANARIES[0])
    with with_browser(data_dir, world, monkeypatch):
        assert await run("connections") == 0
    out, err = capsys.readouterr()
    assert "needs login" in out
    assert f"{row.id} at wiki needs a login: the server does not take" in err
