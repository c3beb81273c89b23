"""A server of the SDK behind a login: clients of each generation log a person in, in the middle of a call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hub_process import CLIENT, Hub, until
from tests.e2e.lacking import lack
from tests.e2e.outbound.places import ABLE, Human, Members, calling, human, members, near_place, offered
from tests.e2e.outbound.walking import Walker
from tests.e2e.raw_http import Http, Session
from tests.equipment import OLD_CLIENT

pytestmark = pytest.mark.e2e

KINDS: Final = ("modern", "legacy", "v1")
OFFER: Final = "club__log_in"
WHO: Final = "club__whoami"


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub
    club: Members

    def human(self, name: str) -> Human:
        return human(self.hub, name, self.club.door, f"{name}-there")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        members() as club,
        Hub(near_place(tmp_path_factory.mktemp("near"), {"club": club.entry})) as hub,
    ):
        hub.wait_state("club", "needs_login")
        yield World(hub, club)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_logs_a_person_in_stays_in_and_logs_in_again_when_the_issuer_ended_it(
    kind: str, world: World, tmp_path: Path
) -> None:
    if kind == "v1" and not OLD_CLIENT.ready:
        lack("the environment of old clients: run `python -m tests.equipment`")
    who, there, club = world.human(kind), f"{kind}-there", world.club
    with calling(world.hub, who.tokens.access, kind, tmp_path) as client:
        assert [tool for tool in client.tools() if tool.startswith("club__")] == [OFFER]
        client.call(OFFER, who.goes)
        client.listed(WHO, f"club__only_{there}")
        assert OFFER not in client.tools()
        assert client.call(WHO) == f"whoami: {there}"
        assert len(client.opened) == 1

        club.expire(there)
        assert client.call(WHO) == f"whoami: {there}"
        assert (club.count("refused", there), club.count("refreshes", there)) == (1, 1)
        assert len(client.opened) == 1, "nobody saw that a token ended"

        club.revoke(there)
        assert client.call(WHO, who.goes) == f"whoami: {there}"
        assert len(client.opened) == 2
        assert club.count("logins", there) == 2
        assert client.call(WHO) == f"whoami: {there}"
    who.close()


def test_the_same_call_goes_on_after_the_login_and_runs_once(world: World) -> None:
    who, club = world.human("once"), world.club
    answer = who.logs_in(OFFER)
    assert not answer.result.get("isError"), answer.text
    who.listed(WHO)
    club.revoke("once-there")
    before = club.count("calls", "once-there")
    assert who.logs_in(WHO).text == "whoami: once-there"
    assert club.count("calls", "once-there") == before + 1
    who.close()


def test_a_retry_without_a_login_asks_again_and_with_the_same_page(world: World) -> None:
    who = world.human("early")
    url, retry = offered(who.call(OFFER))
    again, _ = offered(who.http.modern("tools/call", {"name": OFFER, "arguments": {}, **retry}, meta=ABLE))
    assert again == url
    who.goes(again)
    who.listed(WHO)
    assert who.call(WHO).text == "whoami: early-there"
    who.close()


def test_a_client_that_cannot_be_asked_reads_the_address(world: World) -> None:
    who = world.human("plain")
    refused = who.http.call(OFFER)
    assert refused.code == "needs_login"
    assert f"http://127.0.0.1:{world.hub.port}/oauth/connect?c=" in refused.body.decode()
    session = Session(who.http)
    told = session.call(OFFER)
    assert "/oauth/connect?c=" in told.body.decode()
    assert session.request("tools/list").result["tools"]  # the session lives on
    who.close()


def test_the_page_of_a_user_opens_in_no_other_browser(world: World) -> None:
    who, other = world.human("mine"), world.human("thief")
    url, retry = offered(who.call(OFFER))
    page = other.browser.go(url)
    assert "Connected" not in page.text
    assert world.club.count("logins", "thief-there") == 0
    answer = who.http.modern("tools/call", {"name": OFFER, "arguments": {}, **retry}, meta=ABLE)
    url, _ = offered(answer)
    who.goes(url)
    who.listed("club__only_mine-there")
    assert [name for name in other.tools() if name.startswith("club__")] == [OFFER]
    for one in (who, other):
        one.close()


def test_whoever_owns_the_machine_logs_in_by_a_button_that_says_who_will_use_it(world: World) -> None:
    """The local client, the local admin and the local token are one account; a key is its own."""
    place = world.hub.place
    made = place.json("keys", "create", "--name", "robot", "--server", "*")
    key = Http(world.hub.port, made["key"])
    local = Http(world.hub.port, CLIENT)
    for caller, member in ((local, "owner"), (key, "robot")):
        url, retry = offered(caller.call(OFFER, {}, meta=ABLE))
        with Walker({world.club.door.url: (member, "")}) as browser:
            asked = browser.get(url)
            assert [form for form in asked.forms if form.action == "/oauth/connect"]
            assert world.club.count("logins", member) == 0
            assert "Connected to" in browser.go(url).text
        caller.modern("tools/call", {"name": OFFER, "arguments": {}, **retry}, meta=ABLE)
        until(partial(lists, world.hub, caller, f"club__only_{member}"), "the own tools are listed")
        assert caller.call(WHO, {}).text == f"whoami: {member}"
    assert local.call(WHO, {}).text == "whoami: owner"


def lists(hub: Hub, caller: Http, tool: str) -> bool:
    return tool in hub.tools(caller)


def test_every_login_is_in_the_log_under_who_made_it(world: World) -> None:
    who = world.human("logged")
    who.logs_in(OFFER)
    entries = [
        entry for entry in world.hub.place.entries() if entry.get("detail", {}).get("act") == "connections.login"
    ]
    assert any(entry["who"] == "user:logged" for entry in entries), entries
    who.close()
