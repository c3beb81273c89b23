"""Users from a file: what is read, what is refused, and what would change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core.accounts import UserRow
from hub.identity.importing import ENTERPRISE, ImportRefused, plan, read

ROLES = ("admin", "member", "ops")
NOW = 1_800_000_000.0
ADA: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
    "id": "2819c223",
    "externalId": "e-1",
    "userName": "Ada@Example.com",
    "name": {"familyName": "Lovelace"},
    "displayName": "Ada Lovelace",
    "active": True,
    "emails": [{"value": "home@example.com"}, {"value": "ada@example.com", "primary": True}],
    "groups": [{"value": "g-77", "display": "research"}, {"value": "g-78"}],
    "roles": [{"value": "ops"}, "member"],
    ENTERPRISE: {"department": "maths", "costCenter": "42", "manager": {"value": "26", "displayName": "Charles"}},
}


def document(*resources: Any) -> dict[str, Any]:
    return {"Resources": list(resources), "totalResults": len(resources)}


def row(id: str = "u1", name: str = "ada@example.com", **more: Any) -> UserRow:
    return replace(UserRow("local", id, name, ("member",), (), 1.0), **more)


def steps(rows: tuple[UserRow, ...], *resources: Any) -> list[tuple[str, UserRow]]:
    found = plan(read(document(*resources), ROLES), rows, "local", NOW)
    return [(step.act, step.after) for step in found]


def test_a_user_as_providers_write_one_is_read_whole() -> None:
    [(act, made)] = steps((), ADA)
    assert act == "created"
    assert (made.name, made.display, made.email) == ("ada@example.com", "Ada Lovelace", "ada@example.com")
    assert (made.roles, made.groups) == (("ops", "member"), ("research", "g-78"))
    assert made.attributes == {"department": "maths", "costCenter": "42", "manager": "Charles", "externalId": "e-1"}
    assert (made.password, made.disabled_at, made.created_at) == (None, None, NOW)


def test_the_least_is_a_name_and_makes_a_member() -> None:
    [(_, made)] = steps((), {"userName": "bob"})
    assert (made.roles, made.groups, made.display, made.email, made.attributes) == (("member",), (), None, None, None)
    [(act, gone)] = steps((), {"userName": "bob", "active": False})
    assert (act, gone.disabled_at) == ("created", NOW)


def test_a_second_import_changes_nothing() -> None:
    [(_, made)] = steps((), ADA)
    assert steps((made,), ADA) == [("unchanged", made)]


def test_who_is_known_is_updated_disabled_and_enabled_and_keeps_what_the_file_does_not_name() -> None:
    there = row(
        password="hash", otp=b"x", roles=("admin",), groups=("g",), attributes={"own": "1", "department": "old"}
    )
    [(act, made)] = steps((there,), {"userName": "ada@example.com", ENTERPRISE: {"department": "new"}})
    assert act == "updated"
    assert made == replace(there, attributes={"own": "1", "department": "new"})
    [(act, gone)] = steps((there,), {"userName": "ada@example.com", "active": False})
    assert (act, gone.disabled_at, gone.roles) == ("disabled", NOW, ("admin",))
    again = replace(gone, disabled_at=5.0)
    assert [step[0] for step in steps((again,), {"userName": "ada@example.com", "active": False})] == ["unchanged"]
    [(act, back)] = steps((again,), {"userName": "ada@example.com"})
    assert (act, back.disabled_at, back.password) == ("enabled", None, "hash")
    [(_, bare)] = steps(
        (there,), {"userName": "ada@example.com", "roles": [], "groups": [], "emails": [], "displayName": ""}
    )
    assert (bare.roles, bare.groups, bare.email, bare.display) == ((), (), None, None)


def test_who_has_another_name_now_is_known_by_the_external_id() -> None:
    there = row(attributes={"externalId": "e-1"})
    [(act, made)] = steps((there, row("u2", "other")), {"userName": "ada.king", "externalId": "e-1"})
    assert (act, made.id, made.name) == ("updated", "u1", "ada.king")
    [(_, kept)] = steps((there,), {"userName": "ada@example.com", "displayName": "x"})
    assert kept.attributes == {"externalId": "e-1"}


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("ada", "is no object"),
        ({}, "userName is missing"),
        ({"userName": 5}, "userName must be a text"),
        ({"userName": "a b"}, "no name for a user"),
        ({"userName": "a", "active": "false"}, "active must be true or false"),
        ({"userName": "a", "roles": ["root"]}, "no role 'root'"),
        ({"userName": "a", "roles": "admin"}, "roles must be a list"),
        ({"userName": "a", "roles": [5]}, "roles must be a list of texts"),
        ({"userName": "a", "groups": [{}]}, "groups must be a list of texts"),
        ({"userName": "a", "groups": ["x\u202e"]}, "group"),
        ({"userName": "a", "emails": "a@b"}, "emails must be a list"),
        ({"userName": "a", "displayName": "x" * 257}, "display name"),
        ({"userName": "a", ENTERPRISE: []}, "must be an object"),
        ({"userName": "a", ENTERPRISE: {"department": 5}}, "department must be a text"),
        ({"userName": "a", ENTERPRISE: {"department": "x" * 257}}, "attribute department"),
        ({"userName": "a", "password": "s3cret-canary"}, "holds a password"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place_and_nothing_is_read(resource: Any, words: str) -> None:
    with pytest.raises(ImportRefused) as raised:
        read(document({"userName": "fine"}, resource), ROLES)
    [fault] = raised.value.faults
    assert fault.startswith("Resources[1]: ")
    assert words in fault
    assert "s3cret" not in str(raised.value)


def test_every_fault_is_told_up_to_a_bound() -> None:
    with pytest.raises(ImportRefused) as raised:
        read(document(*({} for _ in range(60))), ROLES)
    assert len(raised.value.faults) == 51
    assert raised.value.faults[-1] == "and 10 more"


@pytest.mark.parametrize("given", [None, [], "x", {}, {"Resources": {}}, {"Resources": [{"userName": "a"}] * 5001}])
def test_what_is_no_list_of_users_is_refused(given: Any) -> None:
    with pytest.raises(ImportRefused):
        read(given, ROLES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"userName": "ada"}, {"userName": "ADA"}),
        ({"userName": "a", "externalId": "e"}, {"userName": "b", "externalId": "e"}),
    ],
)
def test_one_user_twice_in_a_file_is_refused(one: Any, other: Any) -> None:
    with pytest.raises(ImportRefused, match="the same user as Resources"):
        read(document(one, other), ROLES)


def test_two_entries_for_one_stored_user_are_refused() -> None:
    there = row(attributes={"externalId": "e-1"})
    with pytest.raises(ImportRefused, match=r"both the user ada@example\.com"):
        steps((there,), {"userName": "new", "externalId": "e-1"}, {"userName": "ada@example.com"})
