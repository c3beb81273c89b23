"""One hub logs in to another: people in a real browser, clients of each generation, the other hub's own login pages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.hub_process import SERVERS, Hub, until
from tests.e2e.lacking import lack
from tests.e2e.login_place import PASSWORD, Tokens, made_user, person
from tests.e2e.oauth.browser import Chromium, Person
from tests.e2e.outbound.places import FAR_PASSWORD, Far, calling, far, near_place
from tests.equipment import OLD_CLIENT

pytestmark = pytest.mark.e2e

KINDS: Final = ("modern", "legacy", "v1")
OFFER: Final = "far__log_in"
ECHO: Final = "far__raw__echo"


@dataclass(frozen=True, slots=True)
class World:
    near: Hub
    far: Far

    def user(self, name: str) -> Tokens:
        """New at both places; what a program of theirs holds at the near one."""
        made_user(self.near, name, "member")
        self.far.user(f"{name}-far")
        with person(self.near, name) as found:
            return found.log_in()

    def callers_there(self, tool: str) -> list[str]:
        """Who the other hub says called a tool, oldest first."""
        entries = [entry for entry in self.far.hub.place.entries() if entry["kind"] == "call"]
        entries.sort(key=lambda entry: entry["seq"])
        return [entry["who"] for entry in entries if entry.get("item") == tool]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    raw: dict[str, Any] = {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw_stdio.py"), "modern"]}
    with (
        far(tmp_path_factory.mktemp("far"), {"raw": raw}) as there,
        Hub(near_place(tmp_path_factory.mktemp("near"), {"far": there.entry})) as hub,
    ):
        there.hub.wait_for("raw__echo")
        hub.wait_state("far", "needs_login")
        yield World(hub, there)


def first_time(at: Person, name: str, url: str) -> None:
    """Nobody is logged in anywhere yet."""
    at.goto(url)
    at.see("Log in")
    at.fill("name", name)
    at.fill("password", PASSWORD)
    at.press("Log in")
    at.arrive("//localhost:")
    at.see("Log in")
    at.fill("name", f"{name}-far")
    at.fill("password", FAR_PASSWORD)
    at.press("Log in")
    text = at.see("Allow access?")
    assert f"{name}-far" in text
    at.press("Allow")
    at.see("Connected to far")


def again(at: Person, url: str) -> None:
    """The browser is known at both places; the other hub asks all the same."""
    at.goto(url)
    at.see("Allow access?")
    at.press("Allow")
    at.see("Connected to far")


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_logs_in_at_another_hub_stays_in_and_logs_in_again_in_mid_call(
    kind: str, world: World, browser: Chromium, tmp_path: Path
) -> None:
    if kind == "v1" and not OLD_CLIENT.ready:
        lack("the environment of old clients: run `python -m tests.equipment`")
    name, at = f"own-{kind}", browser.person(kind)
    tokens, there = world.user(name), world.far
    with calling(world.near, tokens.access, kind, tmp_path) as client:
        assert client.tools() == [OFFER]
        client.call(OFFER, lambda url: first_time(at, name, url))
        client.listed(ECHO)
        assert client.call(ECHO, text="said far away") == "echo: said far away"
        assert world.callers_there("raw__echo")[-1] == f"user:{name}-far"

        before = there.door.refreshes()
        there.door.refuse.add(there.door.bearers()[-1])  # it has ended for the server
        assert client.call(ECHO, text="once more") == "echo: once more"
        assert there.door.refreshes() == before + 1
        assert len(client.opened) == 1

        there.log_out(f"{name}-far")
        assert client.call(ECHO, lambda url: again(at, url), text="after a login") == "echo: after a login"
        assert len(client.opened) == 2
        assert world.callers_there("raw__echo")[-1] == f"user:{name}-far"
    at.close()


def test_a_person_who_says_no_is_told_so_and_nothing_is_connected(
    world: World, browser: Chromium, tmp_path: Path
) -> None:
    name, at = "own-no", browser.person("no")
    tokens = world.user(name)

    def denies(url: str) -> None:
        at.goto(url)
        at.see("Log in")
        at.fill("name", name)
        at.fill("password", PASSWORD)
        at.press("Log in")
        at.arrive("//localhost:")
        at.fill("name", f"{name}-far")
        at.fill("password", FAR_PASSWORD)
        at.press("Log in")
        at.see("Allow access?")
        at.press("Deny")
        at.arrive("/oauth/connect/callback")
        assert "Connected" not in at.text()

    with calling(world.near, tokens.access, "legacy", tmp_path) as client:
        with pytest.raises(AssertionError, match="asked for a login"):
            client.call(OFFER, lambda url: denies(url) if not client.opened[1:] else None)
        assert client.tools() == [OFFER]
    at.close()


def test_the_page_says_who_one_is_there_and_a_logout_ends_the_grant_at_the_other_hub(
    world: World, browser: Chromium, tmp_path: Path
) -> None:
    name, at = "own-out", browser.person("out")
    tokens = world.user(name)
    with calling(world.near, tokens.access, "legacy", tmp_path) as client:
        client.call(OFFER, lambda url: first_time(at, name, url))
        client.listed(ECHO)
        found = world.far.hub.place.json("users", "sessions", f"{name}-far")
        assert len(next(rows for rows in found.values() if isinstance(rows, list))) == 1
        at.goto(f"http://127.0.0.1:{world.near.port}/oauth/connections")
        at.see("Your connections")
        at.press("Log out")
        at.see("Your connections")
        until(lambda: "None yet." in at.text(), "the page shows no connection")
        until(lambda: client.tools() == [OFFER], "a login is offered again")
    found = world.far.hub.place.json("users", "sessions", f"{name}-far")
    assert next(rows for rows in found.values() if isinstance(rows, list)) == []
    at.close()
