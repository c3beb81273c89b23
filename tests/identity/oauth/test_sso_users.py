"""Who somebody that a provider vouches for is at the hub, and what each login takes over."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.accounts import UserRow
from hub.identity.oauth.arrivals import Arrivals
from hub.identity.oauth.provider import Provider, SsoFailed
from hub.identity.profiles import Profile
from tests.identity.user_parts import PASSWORD, People

ISSUER = "https://id.corp.example/realm"


def arrivals(people: People, **settings: Any) -> Arrivals:
    given = {"default_roles": ("member",), **settings}
    return Arrivals(Provider(ISSUER, "hub", lambda: "x", **given), people.users, people.clock)


async def admit(people: People, claims: dict[str, Any], **settings: Any) -> UserRow:
    _, row = await arrivals(people, **settings).admit({"sub": "s-1", "preferred_username": "grace", **claims})
    return row


async def failed(people: People, claims: dict[str, Any], **settings: Any) -> tuple[str, str]:
    with pytest.raises(SsoFailed) as caught:
        await admit(people, claims, **settings)
    return caught.value.kind, str(caught.value)


async def test_the_same_subject_is_the_same_user_whatever_it_is_called_now() -> None:
    people = People()
    first = await admit(people, {})
    again = await admit(people, {"preferred_username": "renamed", "email": "new@corp.example"})
    assert (again.id, again.name, again.email) == (first.id, "grace", "new@corp.example")
    assert len(people.users.rows()) == 1
    reloaded = people.anew()
    await reloaded.load()
    assert reloaded.by_subject(ISSUER, "s-1") == again
    assert reloaded.by_subject("https://other.example", "s-1") is None


async def test_neither_a_name_nor_an_address_finds_a_user() -> None:
    people = People()
    local = await people.users.create("grace", Profile(("admin",), email="grace@corp.example"), PASSWORD)
    row = await admit(people, {"email": "grace@corp.example", "email_verified": True})
    assert row.id != local.id
    assert (row.name, row.roles) == ("grace@id.corp.example", ("member",))
    third = await admit(people, {"sub": "s-2"})
    assert third.name.startswith("grace-")
    assert third.name.endswith("@id.corp.example")
    assert len({local.id, row.id, third.id}) == 3


async def test_a_name_that_was_a_disabled_users_is_not_taken_over() -> None:
    people = People()
    local = await people.users.create("grace", Profile(("admin",)), PASSWORD)
    await people.users.disable(local.id)
    assert (await admit(people, {})).name == "grace@id.corp.example"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("Grace Hopper", "grace-hopper"),
        ("grace@corp.example", "grace@corp.example"),
        ("CORP\\grace", "corp-grace"),
        ("../../etc", "etc"),
        ("x" * 300, "user-"),
        ("u0123456789abcdef", "u0123456789abcdef@id.corp.example"),
        ("‮evil", "user-"),
        ("!!!", "user-"),
        (None, "user-"),
        (["grace"], "user-"),
    ],
)
async def test_whatever_somebody_is_called_there_becomes_a_name_of_here(given: Any, named: str) -> None:
    row = await admit(People(), {"preferred_username": given})
    assert row.name.startswith(named) if named.endswith("-") else row.name == named


async def test_roles_groups_and_attributes_are_taken_over_at_each_login() -> None:
    people = People()
    settings = {
        "roles_claim": "realm_access.roles",
        "roles": {"boss": ("admin",), "worker": ("ops",)},
        "default_roles": (),
        "groups_claim": "groups",
        "attributes": {"team": "department", "level": "level", "gone": "not_there"},
    }
    claims = {"realm_access": {"roles": ["worker", "other"]}, "groups": ["b", "a"], "department": "R&D", "level": 3}
    row = await admit(people, claims, **settings)
    assert (row.roles, row.groups, row.attributes) == (("ops",), ("a", "b"), {"team": "R&D", "level": "3"})
    same = await admit(people, {**claims, "groups": ["a", "b"]}, **settings)
    assert same == row
    assert people.told == []
    more = await admit(people, {**claims, "realm_access": {"roles": ["boss"]}}, **settings)
    assert more.roles == ("admin",)
    assert people.told == [row.id]  # what was open with the roles from before ends


async def test_who_has_no_role_any_more_is_left_with_none() -> None:
    people = People()
    settings = {"roles_claim": "roles", "roles": {"worker": ("ops",)}, "default_roles": ()}
    assert (await failed(people, {"roles": ["other"]}, **settings))[0] == "nothing"
    assert people.users.rows() == ()
    row = await admit(people, {"roles": ["worker"]}, **settings)
    assert (await admit(people, {}, **settings)).roles == ()
    assert people.told == [row.id]


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": {"boss": True}},
        {"roles": [7]},
        {"roles": ["r"] * 501},
        {"_claim_names": {"roles": "src1"}},
        {"groups": ["g" * 257]},
        {"groups": [f"g{n}" for n in range(300)]},
        {"groups": "a\nb"},
        {"department": ["a", "b"]},
        {"department": "d" * 300},
    ],
)
async def test_claims_that_cannot_be_read_whole_log_nobody_in(claims: dict[str, Any]) -> None:
    """What would be left out may be what a rule forbids."""
    people = People()
    settings = {"roles_claim": "roles", "groups_claim": "groups", "attributes": {"team": "department"}}
    assert (await failed(people, claims, **settings))[0] == "unfit"
    assert people.users.rows() == ()


@pytest.mark.parametrize("shown", ["a\nb", "‮x", "n" * 300, 7])
async def test_a_display_name_that_does_not_fit_is_left_out(shown: Any) -> None:
    assert (await admit(People(), {"name": shown})).display is None


async def test_a_disabled_user_is_refused_and_stays_as_it_was() -> None:
    people = People()
    row = await admit(people, {})
    await people.users.disable(row.id)
    before = people.users.by_id(row.id)
    assert await failed(people, {"email": "new@corp.example"}) == ("disabled", "the user grace is disabled")
    assert people.users.by_id(row.id) == before


async def test_where_nobody_is_created_only_those_who_are_known_log_in() -> None:
    people = People()
    assert (await failed(people, {}, create=False))[0] == "unknown"
    row = await admit(people, {})
    assert (await admit(people, {}, create=False)).id == row.id


async def test_a_new_user_whom_the_log_did_not_take_is_new_again_the_next_time() -> None:
    people = People()
    row = await admit(people, {})
    await people.users.put_back(row, None)
    assert people.users.by_subject(ISSUER, "s-1") is None
    again = await admit(people, {})
    assert again.id != row.id
    assert again.name == "grace"


async def test_a_user_of_a_provider_has_no_password_to_guess() -> None:
    people = People()
    await admit(people, {})
    assert await people.login("grace", "") == "wrong"
    assert not people.users.any()
