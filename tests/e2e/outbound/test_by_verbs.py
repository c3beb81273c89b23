"""Logging in and out at servers by the verbs of the command line: for this computer, for everybody, for a user."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest

from tests.e2e.hub_process import Hub, until
from tests.e2e.outbound.places import SOON_S, Human, Members, human, members, near_place
from tests.e2e.outbound.walking import Walker
from tests.e2e.raw_http import Http

pytestmark = pytest.mark.e2e

ENDED: Final = "needs_login"


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub
    club: Members
    ann: Human

    def log_in(self, browser: Walker, *words: str) -> str:
        """What the verb prints after its address, once somebody has gone there."""
        place = self.hub.place
        child = subprocess.Popen(
            place.argv("login", *words, "--no-browser"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=place.env,
            cwd=place.cwd,
        )
        try:
            assert child.stdout is not None
            page = browser.go(child.stdout.readline().strip())
            assert "Connected to" in page.text, page.text
            told, _ = child.communicate(timeout=SOON_S)
            assert child.returncode == 0, told
            return str(told)
        finally:
            child.kill()
            child.communicate()

    def rows(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.hub.place.json("connections", *words)["connections"]
        return found

    def lists(self, http: Http, tool: str) -> bool:
        return tool in self.hub.tools(http)

    def club_tools(self, http: Http, server: str = "club") -> list[str]:
        return [name for name in self.hub.tools(http) if name.startswith(f"{server}__")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with members() as club:
        servers = {"club": club.entry, "all": {**club.entry, "auth": {"account": "shared"}}}
        with Hub(near_place(tmp_path_factory.mktemp("near"), servers)) as hub:
            for id in servers:
                hub.wait_state(id, ENDED)
            ann = human(hub, "ann", club.door, "ann-there")
            yield World(hub, club, ann)
            ann.close()


def test_login_connections_and_logout_for_this_computer(world: World) -> None:
    with Walker({world.club.door.url: ("me", "")}) as browser:
        assert "logged in to club" in world.log_in(browser, "club")
    until(lambda: "club__only_me" in world.club_tools(world.hub.http), "the own tools are listed")
    assert world.hub.call("club__whoami").text == "whoami: me"
    assert [row["server"] for row in world.rows() if row["holder"] == "local"] == ["club"]
    assert world.club_tools(world.ann.http) == ["club__log_in"], "it is nobody else's"
    assert "logged out of club" in world.hub.place.run("logout", "club").stdout
    until(lambda: world.club_tools(world.hub.http) == ["club__log_in"], "nothing of the account is listed")
    assert world.rows() == []


def test_an_account_of_everybody_is_everybodys(world: World) -> None:
    assert world.club_tools(world.ann.http, "all") == [], "no login is offered to whoever cannot make it"
    with Walker({world.club.door.url: ("house", "")}) as browser:
        assert "everybody" in world.log_in(browser, "all", "--shared")
    for http in (world.hub.http, world.ann.http):
        until(partial(world.lists, http, "all__only_house"), "the tools are listed")
        assert http.call("all__whoami").text == "whoami: house"
    world.club.expire("house")
    assert world.ann.http.call("all__whoami").text == "whoami: house"
    assert world.club.count("refreshes", "house") == 1
    world.hub.place.run("logout", "all", "--shared")
    until(lambda: b"house" not in world.ann.http.call("all__whoami").body, "it is over")
    calls = world.club.count("calls", "house")
    world.ann.http.call("all__whoami")
    assert world.club.count("calls", "house") == calls


def test_a_login_for_a_user_is_made_in_that_users_own_browser(world: World) -> None:
    assert "logged in to club" in world.log_in(world.ann.browser, "club", "--user", "ann")
    world.ann.listed("club__only_ann-there")
    assert world.ann.http.call("club__whoami").text == "whoami: ann-there"
    assert world.club_tools(world.hub.http) == ["club__log_in"]
    (row,) = world.rows("--user", "ann")
    assert (row["holder"], row["user"], row["state"]) == ("user", "ann", "connected")
    world.hub.place.run("logout", "club", "--user", "ann")
    until(lambda: world.club_tools(world.ann.http) == ["club__log_in"], "nothing of the account is listed")
