"""Roles, and what a token lets its user do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core.accounts import UserRow
from hub.core.call import Grants, Principal
from hub.identity.roles import MAX_SCOPES, Role, Roles, principal_of

ALL = Grants(frozenset({"*"}))
OPS = Role("ops", frozenset({"mcp"}), Grants(frozenset({"jira"}), ("jira__*",)))
LOOKS = Role("looks", frozenset({"audit:read"}), ALL)  # a reach without the scope that it is for
ROLES = Roles({"ops": OPS, "looks": LOOKS})


def who(scopes: Any, *roles: str, **more: Any) -> Principal:
    user = replace(UserRow("local", "u1", "ada", roles, ("g",), 1.0), **more)
    return principal_of(
        user,
        ROLES,
        scopes=scopes,
        client="c1",
        credential="oauth:g1",
        strength="otp",
        endpoints=frozenset({"ops"}),
    )


def test_a_principal_says_who_calls_through_what() -> None:
    made = who(("mcp",), "member", attributes={"department": "x"})
    assert (made.tenant, made.name, made.credential, made.user) == ("local", "user:ada", "oauth:g1", "u1")
    assert (made.client, made.strength, made.endpoints) == ("c1", "otp", frozenset({"ops"}))
    assert (made.roles, made.groups, made.attributes) == (frozenset({"member"}), frozenset({"g"}), {"department": "x"})
    assert (made.scopes, made.grants, made.within) == (frozenset({"mcp"}), ALL, (ALL,))


@pytest.mark.parametrize(
    ("roles", "asked", "had"),
    [
        (("admin",), ("mcp", "admin", "audit:read"), {"mcp", "admin", "audit:read"}),
        (("admin",), ("mcp",), {"mcp"}),
        (("member",), ("mcp", "admin", "audit:read"), {"mcp"}),
        (("auditor",), ("mcp", "admin", "audit:read"), {"audit:read"}),
        (("member", "auditor"), ("mcp", "audit:read"), {"mcp", "audit:read"}),
        (("member",), ("mcp:server:jira",), {"mcp"}),
        (("member",), ("mcp:tool:a__*",), {"mcp"}),
        (("member",), ("openid", "MCP", "mcp:", "root"), set()),
        (("gone",), ("mcp", "admin"), set()),
        ((), ("mcp", "admin"), set()),
    ],
)
def test_scopes_are_those_asked_for_that_a_role_has(roles: Any, asked: Any, had: set[str]) -> None:
    assert who(asked, *roles).scopes == had


@pytest.mark.parametrize(
    ("scopes", "servers", "tools"),
    [
        (("mcp",), {"*"}, None),
        (("mcp:server:jira", "mcp:server:wiki"), {"jira", "wiki"}, None),
        (("mcp", "mcp:server:jira"), {"jira"}, None),
        (("mcp:tool:jira__*",), None, ("jira__*",)),
        (("mcp", "mcp:tool:jira__*"), {"*"}, ("jira__*",)),
        (("mcp:server:jira", "mcp:tool:a", "mcp:tool:b"), {"jira"}, ("a", "b")),
        (("mcp:server:*",), {"*"}, None),
        (("admin",), None, None),
        (("mcp", "mcp:server:NO WAY"), set(), None),
        (("mcp", "mcp:tool:"), {"*"}, ()),
        (("mcp", "mcp:server:"), set(), None),
    ],
)
def test_scopes_narrow_as_keys_do_and_what_is_malformed_never_widens(scopes: Any, servers: Any, tools: Any) -> None:
    grants = who(scopes, "member").grants
    assert grants == Grants(None if servers is None else frozenset(servers), tools)


def test_only_roles_with_the_scope_reach_anything() -> None:
    assert who(("mcp",), "ops", "looks", "gone").within == (OPS.grants,)
    assert who(("mcp",), "looks").within == ()


def test_a_disabled_users_principal_may_do_nothing() -> None:
    made = who(("mcp", "admin"), "admin", disabled_at=1.0)
    assert (made.scopes, made.within) == (frozenset(), ())


def test_a_token_with_too_many_scopes_opens_nothing() -> None:
    made = who([f"mcp:tool:t{number}" for number in range(MAX_SCOPES + 1)], "admin")
    assert (made.scopes, made.grants) == (frozenset(), Grants())


def test_somebody_without_an_id_is_no_user_of_the_hub() -> None:
    user = UserRow("local", "", "corp:ada", ("member",), (), 1.0)
    made = principal_of(
        user, ROLES, scopes=("mcp",), client=None, credential="x", strength="sso", endpoints=frozenset()
    )
    assert (made.user, made.name) == (None, "user:corp:ada")


def test_built_in_roles_can_be_replaced_and_not_removed() -> None:
    narrow = Role("member", frozenset({"mcp"}), Grants(frozenset({"wiki"})))
    roles = Roles({"member": narrow})
    assert roles.of(("member", "member", "gone")) == (narrow,)
    assert roles.names() == ("admin", "auditor", "member")
    assert "auditor" in roles
    assert "gone" not in roles
    assert Roles().of(("auditor",))[0].scopes == {"audit:read"}
