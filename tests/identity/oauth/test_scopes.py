from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.accounts import UserRow
from hub.core.call import Item, Kind
from hub.identity.oauth.scopes import is_scope, is_within, parse
from hub.identity.roles import Roles, principal_of
from policies.authorize import refusal

SCOPES = (
    "mcp",
    "mcp:server:a",
    "mcp:server:b",
    "mcp:server:*",
    "mcp:tool:a__x",
    "mcp:tool:b__*",
    "mcp:tool:*",
    "admin",
    "audit:read",
)
ROOT = UserRow("local", "u1", "root", ("admin",), (), 0.0)
ITEMS = [
    Item(kind, server, f"{server}__{native}", native, {}, {}, "0")
    for kind in get_args(Kind)
    for server in ("a", "b", "c")
    for native in ("x", "y")
]


def reach(scopes: frozenset[str]) -> frozenset[object]:
    who = principal_of(ROOT, Roles(), scopes=scopes, client=None, credential="", strength="otp", endpoints=None)
    return who.scopes - {"mcp"} | {item.sha256 + item.kind + item.name for item in ITEMS if refusal(who, item) is None}


sets = st.frozensets(st.sampled_from(SCOPES), min_size=1)


@settings(max_examples=2000, deadline=None)
@given(sets, sets)
def test_whatever_is_within_reaches_no_more_by_the_judgement_of_calls(
    asked: frozenset[str], granted: frozenset[str]
) -> None:
    if is_within(asked, granted):
        assert reach(asked) <= reach(granted)


@given(sets)
def test_everything_is_within_itself(scopes: frozenset[str]) -> None:
    assert is_within(scopes, scopes)


@pytest.mark.parametrize(
    ("asked", "granted", "within"),
    [
        ("mcp:server:a", "mcp", True),
        ("mcp:tool:a__x", "mcp", True),
        ("mcp", "mcp:server:a", False),
        ("mcp:server:a", "mcp:server:a mcp:server:b", True),
        ("mcp:server:a", "mcp:server:a mcp:tool:a__x", False),
        ("mcp:server:a mcp:tool:a__x", "mcp:tool:a__x", False),
        ("mcp", "admin", False),
        ("admin", "mcp", False),
        ("admin", "mcp admin", True),
    ],
)
def test_within(asked: str, granted: str, within: bool) -> None:
    assert is_within(asked.split(), granted.split()) is within


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "MCP",
        "mcp:",
        "mcp:server:",
        "mcp:server:A",
        "mcp:tool:",
        "mcp:tool:a b",
        'mcp:tool:"',
        "mcp:tool:\\",
        "mcp:tool:" + "x" * 129,
        "mcp:tool:\u0430",
        "audit",
        "openid",
    ],
)
def test_what_is_no_scope(scope: str) -> None:
    assert not is_scope(scope)


def test_scopes_are_read_once_each_in_order_and_within_bounds() -> None:
    assert parse(None) == parse("") == parse("  offline_access ") == ()
    assert parse("mcp:server:b mcp mcp:server:b") == ("mcp:server:b", "mcp")
    assert parse("mcp\tadmin") is None
    assert parse("mcp:tool:" + "x" * 1024) is None
