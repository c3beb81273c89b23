"""Accounts at downstreams over the admin API: offered, shown, chosen and ended; and no token ever told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.admin import connection_desk
from hub.core.call import LOCAL
from hub.core.connections import SHARED
from tests.admin.asking import CLIENT, READER
from tests.admin.connection_parts import CANARIES, World, a_world

ID = "o0123456789abcdef"
ROUTES = [
    ("GET", "/connections", None),
    ("GET", f"/connections/{ID}", None),
    ("POST", "/connections", {"server": "wiki"}),
    ("GET", "/connections/logins/x", None),
    ("PATCH", f"/connections/{ID}", {"label": "work"}),
    ("DELETE", f"/connections/{ID}", None),
]
WITHIN_S = 5.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        made.down.metadata["revocation_endpoint"] = f"{made.down.issuer}/revoke"
        await made.users.create("ada")
        yield made


def ada(world: World) -> str:
    return world.users.meant("ada").id


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_administrators_see_or_change_them(world: World, method: str, path: str, body: Any) -> None:
    for who, status in ((None, 401), (CLIENT, 403), (READER, 403)):
        assert (await world.ask(method, path, body, who=who)).status == status
    assert world.parts.journal.events == []


async def test_a_login_is_offered_made_shown_and_logged(world: World) -> None:
    offered = await world.ask("POST", "/connections", {"server": "wiki", "user": "ada", "label": "work"})
    assert (offered.status, offered.json["expires_in_s"]) == (201, 600)
    assert offered.json["url"].startswith("http://127.0.0.1:8700/oauth/connect?c=")
    waiting = await world.ask("GET", f"/connections/logins/{offered.json['id']}")
    assert waiting.json == {"state": "waiting", "connection": None}
    row = await world.open(offered.json["url"])
    done = (await world.ask("GET", f"/connections/logins/{offered.json['id']}?wait_s=20")).json
    assert done["state"] == "done"
    expected = {
        "id": row.id,
        "server": "wiki",
        "holder": "user",
        "user": "ada",
        "holder_id": ada(world),
        "account": None,
        "label": "work",
        "issuer": world.down.issuer,
        "resource": world.down.url,
        "scopes": list(row.scopes),
        "grant": "code",
        "state": "connected",
        "why": None,
        "chosen": True,
    }
    assert {name: value for name, value in done["connection"].items() if not name.endswith("_at")} == expected
    assert (await world.ask("GET", f"/connections/{row.id}")).json == done["connection"]
    assert (await world.ask("GET", "/connections")).json == {"connections": [done["connection"]], "next": None}
    assert world.acts() == [("admin", "done", "connections.login"), ("auth", "done", "connections.login")]
    _, who, _, detail = world.parts.journal.events[0]
    assert who == "local:admin"
    assert detail == {"act": "connections.login", "server": "wiki", "account": ada(world), "label": "work"}


@pytest.mark.parametrize(
    ("wish", "holder"),
    [({"server": "wiki"}, "local"), ({"server": "team", "shared": True}, "shared")],
)
async def test_a_login_may_be_of_this_computer_or_for_everybody(
    world: World, wish: dict[str, Any], holder: str
) -> None:
    offered = (await world.ask("POST", "/connections", wish)).json
    await world.open(offered["url"])
    [row] = (await world.ask("GET", f"/connections?holder={holder}")).json["connections"]
    assert (row["holder"], row["user"], row["holder_id"]) == (holder, None, LOCAL if holder == "local" else SHARED)


@pytest.mark.parametrize(
    ("wish", "status", "words"),
    [
        ({"server": "wiki", "user": "eve"}, 404, "there is no user"),
        ({"server": "wiki", "user": "bob"}, 409, "is disabled"),
        ({"server": "wiki", "user": "ada", "shared": True}, 422, "leave out user or shared"),
        ({"server": "wiki", "shared": True}, 409, "everybody has his own"),
        ({"server": "team"}, 409, "one account for all"),
        ({"server": "robot", "shared": True}, 409, "by itself"),
        ({"server": "nobody"}, 409, "does not log in to"),
        ({"server": "wiki", "label": " work"}, 422, "no blanks around"),
        ({"server": "wiki", "label": "w" * 65}, 422, "label"),
        ({"server": "wiki", "label": "a\u202eb"}, 422, "can be seen"),
        ({"server": "../x"}, 422, "server"),
        ({"server": "wiki", "url": "x"}, 422, "url"),
        ({}, 422, "server"),
    ],
)
async def test_a_login_that_cannot_be_is_refused_in_words(
    world: World, wish: dict[str, Any], status: int, words: str
) -> None:
    await world.users.create("bob")
    bob = world.users.meant("bob")
    await world.users.disable(bob.id, bob.version)
    found = await world.ask("POST", "/connections", wish)
    assert found.status == status
    assert words in found.json["detail"]
    assert world.acts() == []


async def test_a_link_that_the_log_does_not_take_is_told_to_nobody(world: World) -> None:
    world.parts.journal.broken = True
    found = await world.ask("POST", "/connections", {"server": "wiki"})
    assert found.status == 500
    assert b"oauth/connect" not in found.body


async def test_who_waits_for_a_login_hears_of_its_end_at_once(world: World) -> None:
    offered = (await world.ask("POST", "/connections", {"server": "wiki"})).json
    async with asyncio.timeout(WITHIN_S):
        waiting = asyncio.create_task(world.ask("GET", f"/connections/logins/{offered['id']}?wait_s=20"))
        await asyncio.sleep(0)
        await world.open(offered["url"])
        assert (await waiting).json["state"] == "done"


async def test_a_login_nobody_knows_or_made_in_time_is_gone(world: World) -> None:
    assert (await world.ask("GET", "/connections/logins/nobodys")).json == {"state": "gone", "connection": None}
    offered = (await world.ask("POST", "/connections", {"server": "wiki"})).json
    world.now += 599
    again = (await world.ask("POST", "/connections", {"server": "wiki"})).json
    assert (again["id"], again["expires_in_s"]) == (offered["id"], 1)
    world.now += 2
    gone = await world.ask("GET", f"/connections/logins/{offered['id']}?wait_s=20")
    assert gone.json == {"state": "gone", "connection": None}
    assert (await world.ask("GET", f"/connections/logins/{offered['id']}?wait_s=21")).status == 422


async def test_a_login_that_was_made_says_so_when_its_account_is_gone_again(world: World) -> None:
    await world.connect(LOCAL, "one that was there before")
    offered = (await world.ask("POST", "/connections", {"server": "wiki"})).json
    row = await world.open(offered["url"])
    assert (await world.ask("DELETE", f"/connections/{row.id}")).status == 200
    found = await world.ask("GET", f"/connections/logins/{offered['id']}")
    assert found.json == {"state": "done", "connection": None}


async def test_offers_that_can_be_asked_about_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_desk, "MOST", 2)
    ids = [(await world.ask("POST", "/connections", {"server": "wiki", "label": label})).json["id"] for label in "abc"]
    states = [(await world.ask("GET", f"/connections/logins/{id}")).json["state"] for id in ids]
    assert states == ["gone", "waiting", "waiting"]


async def test_the_list_is_narrowed_and_comes_in_pages(world: World) -> None:
    for account, server in ((ada(world), "wiki"), (LOCAL, "wiki"), ("key:k1", "wiki"), (SHARED, "team")):
        await world.connect(account, server=server)

    async def holders(query: str) -> list[str]:
        return [row["holder"] for row in (await world.ask("GET", f"/connections?{query}")).json["connections"]]

    assert sorted(await holders("")) == ["key", "local", "shared", "user"]
    assert await holders("user=ada") == await holders(f"user={ada(world)}") == ["user"]
    assert await holders("server=team") == await holders("holder=shared") == ["shared"]
    assert await holders("server=team&user=ada") == []
    assert (await world.ask("GET", "/connections?user=eve")).status == 404
    assert (await world.ask("GET", "/connections?holder=eve")).status == 422
    first = (await world.ask("GET", "/connections?limit=3")).json
    second = (await world.ask("GET", f"/connections?limit=3&cursor={first['next'].replace(' ', '%20')}")).json
    rows = [*first["connections"], *second["connections"]]
    assert [row["server"] for row in rows] == ["team", "wiki", "wiki", "wiki"]
    assert (len({row["id"] for row in rows}), second["next"]) == (4, None)


async def test_another_account_is_named_and_chosen_and_both_are_logged_before(world: World) -> None:
    first, second = [await world.connect(LOCAL, label) for label in ("work", "home")]
    before = len(world.acts())
    assert (await world.ask("GET", f"/connections/{first.id}")).json["chosen"] is False
    found = await world.ask("PATCH", f"/connections/{first.id}", {"label": "office", "chosen": True})
    assert (found.json["label"], found.json["chosen"]) == ("office", True)
    assert (await world.ask("GET", f"/connections/{second.id}")).json["chosen"] is False
    assert world.acts()[before:] == [("auth", "done", "connections.rename"), ("auth", "done", "connections.choose")]
    assert (await world.ask("PATCH", f"/connections/{first.id}", {"label": "office", "chosen": True})).status == 200
    assert (await world.ask("PATCH", f"/connections/{first.id}", {})).json["label"] == "office"
    assert len(world.acts()) == before + 2, "what changes nothing is no act"


@pytest.mark.parametrize(
    ("wish", "status", "outcomes"),
    [
        ({"label": "home"}, 409, ["done", "error"]),
        ({"label": "a\u200bb"}, 422, []),
        ({"chosen": False}, 422, []),
        ({"state": "connected"}, 422, []),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(
    world: World, wish: dict[str, Any], status: int, outcomes: list[str]
) -> None:
    first, _ = [await world.connect(LOCAL, label) for label in ("work", "home")]
    before, shown = len(world.acts()), (await world.ask("GET", f"/connections/{first.id}")).json
    assert (await world.ask("PATCH", f"/connections/{first.id}", wish)).status == status
    assert [outcome for _, outcome, _ in world.acts()[before:]] == outcomes
    assert (await world.ask("GET", f"/connections/{first.id}")).json == shown


async def test_what_the_log_does_not_take_is_not_changed(world: World) -> None:
    row = await world.connect(LOCAL, "work")
    world.parts.journal.broken = True
    assert (await world.ask("PATCH", f"/connections/{row.id}", {"label": "home"})).status == 500
    assert (await world.ask("GET", f"/connections/{row.id}")).json["label"] == "work"


async def test_an_account_is_forgotten_and_its_issuer_ends_it(world: World) -> None:
    row = await world.connect(ada(world))
    found = await world.ask("DELETE", f"/connections/{row.id}")
    assert (found.status, found.json["revoked"], found.json["user"]) == (200, "yes", "ada")
    assert {form.get("token") for form in world.down.forms} >= set(CANARIES[:2])
    kind, who, outcome, detail = world.parts.journal.events[-1]
    assert (kind, who, outcome, detail["act"]) == ("auth", "local:admin", "done", "connections.logout")
    assert (detail["connection"], detail["revoked"]) == (row.id, "yes")
    assert world.connections.rows() == ()
    for method in ("GET", "DELETE"):
        gone = await world.ask(method, f"/connections/{row.id}")
        assert (gone.status, gone.json["code"]) == (404, "not_found")
    assert (await world.ask("PATCH", f"/connections/{row.id}", {"label": "x"})).status == 404


async def test_an_issuer_that_cannot_end_it_keeps_nothing_here(world: World) -> None:
    row = await world.connect(ada(world))
    world.down.idp.down()
    assert (await world.ask("DELETE", f"/connections/{row.id}")).json["revoked"] == "failed"
    assert world.connections.rows() == ()


async def test_an_account_that_needs_a_login_says_why(world: World) -> None:
    world.down.tokens["refresh_token"] = None
    row = await world.connect(LOCAL)
    await world.connections.refused("wiki", LOCAL, row.resource, CANARIES[0])
    found = (await world.ask("GET", f"/connections/{row.id}")).json
    assert (found["state"], found["why"]) == ("needs_login", "the server does not take what the login gave")
