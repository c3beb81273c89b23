"""Users over the admin API: made, changed, imported, shown, ended; and no password ever told."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from hub.admin.user_desk import UserDesk
from hub.admin.users import operations
from hub.core.accounts import GrantRow
from hub.identity.users import Users
from tests.admin.asking import ADMIN, CLIENT, READER, Answer, Api
from tests.admin.fakes import Parts
from tests.identity.user_parts import OTHER, PASSWORD, People

V1 = "/api/v1/users"
ROUTES = [
    ("GET", V1, None),
    ("POST", V1, {"name": "eve", "password": PASSWORD}),
    ("POST", f"{V1}/import", {"Resources": [{"userName": "eve"}]}),
    ("GET", f"{V1}/ada", None),
    ("PATCH", f"{V1}/ada", {"roles": ["admin"]}),
    ("PUT", f"{V1}/ada/password", {"password": OTHER}),
    ("POST", f"{V1}/ada/disable", None),
    ("POST", f"{V1}/ada/enable", None),
    ("DELETE", f"{V1}/ada/otp", None),
    ("GET", f"{V1}/ada/grants", None),
    ("DELETE", f"{V1}/ada/grants", None),
    ("DELETE", f"{V1}/ada/grants/g0000000000000001", None),
]


@dataclass
class KeptGrants:
    """What users allowed programs, and what was ended of it."""

    rows: list[GrantRow] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False  # what is ended cannot be written down

    def give(self, user: str, number: int = 1) -> str:
        id = f"g{number:016x}"
        scopes = ("mcp", "mcp:server:x")
        self.rows.append(
            GrantRow("local", id, user, "c1", "A program", "https://h/mcp", scopes, "otp", 1.0, float(number), 9e9)
        )
        return id

    def grants_of(self, user: str, /) -> Sequence[GrantRow]:
        return [row for row in self.rows if row.user == user]

    async def end(self, ids: Sequence[str], reason: str, /) -> None:
        self.ended += [(id, reason) for id in ids]
        self.rows = [row for row in self.rows if row.id not in ids]
        if self.broken:
            raise OSError("disk full")

    async def end_user(self, user: str, reason: str, /) -> None:
        await self.end([row.id for row in self.grants_of(user)], reason)


@dataclass
class Kept:
    people: People = field(default_factory=People)
    parts: Parts = field(default_factory=Parts)
    grants: KeptGrants = field(default_factory=KeptGrants)

    @property
    def users(self) -> Users:
        return self.people.users

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        desk = UserDesk(self.users, self.grants, self.parts.journal)
        found = await Api(self.parts.ports(more=operations(desk))).ask(
            method, path, more.pop("who", ADMIN), body, **more
        )
        for text in (PASSWORD, OTHER, "$argon2id"):
            assert text.encode() not in found.body
            assert text not in repr(self.parts.journal.events)
        return found

    def acts(self) -> list[Any]:
        return [detail["act"] for _, _, _, detail in self.parts.journal.events]


@pytest.fixture
async def kept() -> Kept:
    made = Kept()
    await made.users.create("ada", None, PASSWORD)
    return made


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_administrators_see_or_change_users(kept: Kept, method: str, path: str, body: Any) -> None:
    before = kept.users.rows()
    for who, status in ((None, 401), (CLIENT, 403), (READER, 403)):
        assert (await kept.ask(method, path, body, who=who)).status == status
    assert (kept.users.rows(), kept.parts.journal.events) == (before, [])


async def test_a_user_is_made_shown_and_logged(kept: Kept) -> None:
    wish = {"name": "Bob", "password": OTHER, "roles": ["ops"], "groups": ["g"], "display": "Bob B", "email": "b@c"}
    made = await kept.ask("POST", V1, wish)
    assert (made.status, made.headers["etag"]) == (200, '"1"')
    row = kept.users.meant("bob")
    expected = {
        "id": row.id,
        "name": "bob",
        "display": "Bob B",
        "email": "b@c",
        "roles": ["ops"],
        "groups": ["g"],
        "attributes": {},
        "password": True,
        "otp": False,
        "issuer": None,
        "disabled_at": None,
        "version": 1,
    }
    assert {**made.json, "created_at": None} == {**expected, "created_at": None}
    assert (await kept.ask("GET", f"{V1}/{row.id}")).json == (await kept.ask("GET", f"{V1}/BOB")).json == made.json
    listed = (await kept.ask("GET", V1)).json
    assert ([user["name"] for user in listed["users"]], listed["next"]) == (["ada", "bob"], None)
    after = {"id": row.id, "name": "bob", "roles": ["ops"], "groups": ["g"], "disabled": False, "version": 1}
    [(kind, who, outcome, detail)] = kept.parts.journal.events
    assert (kind, who, outcome) == ("admin", "local:admin", "done")
    assert detail == {"act": "users.create", "user": "bob", "before": None, "after": after}
    assert await kept.people.login("bob", OTHER) == "password"


async def test_users_come_in_pages(kept: Kept) -> None:
    for name in ("c", "b"):
        await kept.users.create(name)
    first = (await kept.ask("GET", f"{V1}?limit=2")).json
    second = (await kept.ask("GET", f"{V1}?limit=2&cursor={first['next'].replace(' ', '%20')}")).json
    assert [user["name"] for user in (*first["users"], *second["users"])] == ["ada", "b", "c"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "", {"name": "ada", "password": OTHER}, 409, "a user named 'ada' already"),
        ("POST", "", {"name": "a b"}, 422, "/name"),
        ("POST", "", {"name": "u0123456789abcdef"}, 422, "no name for a user"),
        ("POST", "", {"name": "bob", "password": "password1234"}, 422, "commonest"),
        ("POST", "", {"name": "bob", "password": "s3cret"}, 422, "/password"),
        ("POST", "", {"name": "bob", "password": "s3cret" * 50}, 422, "/password"),
        ("POST", "", {"name": "bob", "roles": ["root"]}, 422, "no role 'root': there are admin, auditor, member, ops"),
        ("POST", "", {"name": "bob", "groups": [" x"]}, 422, "group"),
        ("POST", "", {"name": "bob", "otp": "x"}, 422, "takes no 'otp'"),
        ("POST", "", {}, 422, "needs 'name'"),
        ("GET", "/nobody", None, 404, "no user 'nobody'"),
        ("PATCH", "/nobody", {"roles": []}, 404, "no user 'nobody'"),
        ("PATCH", "/ada", {"password": OTHER}, 422, "takes no 'password'"),
        ("PATCH", "/ada", {"display": "a\nb"}, 422, "printable"),
        ("PUT", "/ada/password", {"password": "ada.ada.ada.1234"}, 422, "user's name"),
        ("PUT", "/ada/password", {}, 422, "needs 'password'"),
        ("DELETE", "/ada/grants/g0000000000000009", None, 404, "no grant"),
        ("DELETE", "/ada/grants/nonsense", None, 422, "grant"),
        ("GET", "/nobody/grants", None, 404, "no user 'nobody'"),
        ("POST", "/import", {"Resources": [{"userName": "ok"}, {"userName": "a", "active": 1}]}, 422, "Resources[1]"),
        ("POST", "/import", {}, 422, "needs 'Resources'"),
    ],
)
async def test_what_may_not_be_is_refused_in_words(
    kept: Kept, method: str, path: str, body: Any, status: int, words: str
) -> None:
    before = kept.users.rows()
    found = await kept.ask(method, V1 + path, body)
    assert (found.status, words in found.json["detail"]) == (status, True), found.json
    assert b"s3cret" not in found.body
    assert (kept.users.rows(), kept.parts.journal.events) == (before, [])


async def test_a_change_names_what_it_changes_and_leaves_the_rest(kept: Kept) -> None:
    row = kept.users.meant("ada")
    found = await kept.ask("PATCH", f"{V1}/ada", {"roles": ["admin"], "display": "Ada"})
    assert (found.json["roles"], found.json["display"], found.headers["etag"]) == (["admin"], "Ada", '"2"')
    found = await kept.ask("PATCH", f"{V1}/ada", {"display": None})
    assert (found.json["roles"], found.json["display"]) == (["admin"], None)
    assert kept.people.told == [row.id]
    assert (await kept.ask("PATCH", f"{V1}/ada", {})).json["version"] == 3
    assert kept.acts() == ["users.change"] * 2


@pytest.mark.parametrize(("method", "path", "body"), ROUTES[4:9])
async def test_who_says_which_version_was_seen_overwrites_no_other(
    kept: Kept, method: str, path: str, body: Any
) -> None:
    row = kept.users.meant("ada")
    await kept.users.change(row.id, {"display": "x"})
    stale = await kept.ask(method, path, body, headers={"If-Match": '"1"'})
    assert (stale.status, stale.json["code"]) == (412, "changed")
    assert kept.users.meant("ada").version == 2
    assert (await kept.ask(method, path, body, headers={"If-Match": '"2"'})).status == 200


async def test_a_new_password_or_a_disabling_ends_what_is_open(kept: Kept) -> None:
    row = kept.users.meant("ada")
    first = kept.grants.give(row.id)
    assert (await kept.ask("PUT", f"{V1}/ada/password", {"password": OTHER})).json["password"] is True
    second = kept.grants.give(row.id, 2)
    assert (await kept.ask("POST", f"{V1}/ada/disable")).json["disabled_at"] is not None
    assert kept.grants.ended == [(first, "password"), (second, "disabled")]
    assert kept.people.told == [row.id] * 2
    assert await kept.people.login("ada", OTHER) == "wrong"
    assert (await kept.ask("POST", f"{V1}/ada/enable")).json["disabled_at"] is None
    assert await kept.people.login("ada", OTHER) == "password"
    assert kept.acts() == ["users.password", "users.disable", "users.enable"]


async def test_one_time_codes_are_taken_away(kept: Kept) -> None:
    row = kept.users.meant("ada")
    secret, _ = kept.users.begin_otp(row.id, "MCP Hub")
    await kept.users.confirm_otp(row.id, kept.people.code(base64.b32decode(secret)))
    assert (await kept.ask("GET", f"{V1}/ada")).json["otp"] is True
    found = await kept.ask("DELETE", f"{V1}/ada/otp")
    assert found.json["otp"] is False
    assert secret.encode() not in found.body
    assert kept.acts() == ["users.otp_reset"]


async def test_what_a_user_let_in_is_shown_and_ended_one_or_all(kept: Kept) -> None:
    row = kept.users.meant("ada")
    bob = await kept.users.create("bob")
    one, two = kept.grants.give(row.id), kept.grants.give(row.id, 2)
    others = kept.grants.give(bob.id, 3)
    found = (await kept.ask("GET", f"{V1}/ada/grants")).json["grants"]
    assert [grant["id"] for grant in found] == [one, two]
    assert found[0]["client_name"] == "A program"
    assert found[0]["scopes"] == ["mcp", "mcp:server:x"]
    assert (await kept.ask("DELETE", f"{V1}/ada/grants/{others}")).status == 404
    assert (await kept.ask("DELETE", f"{V1}/ada/grants/{one}")).json == {"user": "ada", "ended": [one]}
    assert (await kept.ask("DELETE", f"{V1}/ada/grants")).json == {"user": "ada", "ended": [two]}
    assert (await kept.ask("DELETE", f"{V1}/ada/grants")).json == {"user": "ada", "ended": []}
    assert kept.grants.ended == [(one, "admin"), (two, "admin")]
    assert [row.id for row in kept.grants.rows] == [others]
    assert kept.acts() == ["users.logout"] * 2


@pytest.mark.parametrize(("method", "path", "body"), [ROUTES[1], ROUTES[2], ROUTES[4], ROUTES[5]])
async def test_what_cannot_be_logged_is_not_in_force(kept: Kept, method: str, path: str, body: Any) -> None:
    kept.parts.journal.broken = True
    assert (await kept.ask(method, path, body)).status == 500
    assert await kept.people.login() == "password"
    assert await kept.people.login("eve") == "wrong"
    assert kept.users.meant("ada").roles == ("member",)
    assert kept.users.find("eve") is None
    kept.parts.journal.broken = False
    assert (await kept.ask(method, path, body)).status == 200


async def test_a_disabling_stands_where_the_log_does_not_take_it(kept: Kept) -> None:
    grant = kept.grants.give(kept.users.meant("ada").id)
    kept.parts.journal.broken = True
    assert (await kept.ask("POST", f"{V1}/ada/disable")).status == 500
    assert kept.users.meant("ada").disabled_at is not None
    assert kept.grants.ended == [(grant, "disabled")]


async def test_what_ended_in_memory_only_is_in_the_log_all_the_same(kept: Kept) -> None:
    kept.grants.give(kept.users.meant("ada").id)
    kept.grants.broken = True
    assert (await kept.ask("DELETE", f"{V1}/ada/grants")).status == 500
    kept.grants.give(kept.users.meant("ada").id, 2)
    assert (await kept.ask("POST", f"{V1}/ada/disable")).status == 500
    assert kept.acts() == ["users.logout", "users.disable"]
    assert kept.grants.rows == []


async def test_an_import_makes_changes_and_disables_and_says_each(kept: Kept) -> None:
    ada = kept.users.meant("ada")
    bob = await kept.users.create("bob")
    grant = kept.grants.give(bob.id)
    file = {
        "Resources": [
            {"userName": "ada", "displayName": "Ada"},
            {"userName": "bob", "active": False},
            {"userName": "carol", "roles": ["ops"]},
        ]
    }
    dry = (await kept.ask("POST", f"{V1}/import?dry_run=true", file)).json
    assert (dry["dry_run"], kept.users.rows(), kept.parts.journal.events) == (True, (ada, bob), [])
    done = (await kept.ask("POST", f"{V1}/import", file)).json
    assert [(step["user"], step["act"]) for step in done["users"]] == [
        ("ada", "updated"),
        ("bob", "disabled"),
        ("carol", "created"),
    ]
    assert done["counts"] == dry["counts"] == {"created": 1, "updated": 1, "enabled": 0, "disabled": 1, "unchanged": 0}
    assert kept.grants.ended == [(grant, "disabled")]
    assert kept.people.told == [bob.id]
    assert await kept.people.login() == "password"
    [(_, _, _, detail)] = kept.parts.journal.events
    assert detail["act"] == "users.import"
    assert [step["after"]["name"] for step in detail["users"]] == ["ada", "bob", "carol"]
    again = (await kept.ask("POST", f"{V1}/import", file)).json
    assert again["counts"]["unchanged"] == 3
    assert len(kept.parts.journal.events) == 1


async def test_an_import_of_many_is_logged_whole_and_in_parts(kept: Kept) -> None:
    file = {"Resources": [{"userName": f"user{number}"} for number in range(120)]}
    assert (await kept.ask("POST", f"{V1}/import", file)).json["counts"]["created"] == 120
    logged = [step["after"]["name"] for _, _, _, detail in kept.parts.journal.events for step in detail["users"]]
    assert logged == [f"user{number}" for number in range(120)]
    assert len(kept.parts.journal.events) == 3


async def test_an_import_that_would_give_two_users_one_name_changes_nothing(kept: Kept) -> None:
    await kept.ask("POST", f"{V1}/import", {"Resources": [{"userName": "bob", "externalId": "e"}]})
    before = kept.users.rows()
    found = await kept.ask("POST", f"{V1}/import", {"Resources": [{"userName": "ada", "externalId": "e"}]})
    assert (found.status, found.json["code"]) == (409, "exists")
    assert kept.users.rows() == before
