"""A user's token reaches what its scopes name, of what the user's roles reach, and nothing else."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.accounts import UserRow
from hub.core.call import Grants, Item, Kind
from hub.identity.roles import BUILT_IN, Role, Roles, principal_of
from policies.authorize import refusal

SERVERS = ("a", "a-b", "b")
GLOBS = ("*", "a__*", "b__x", "*__y", "a-b__?", "A__*", "[ab]__x")
KINDS: tuple[Kind, ...] = ("tool", "prompt", "resource", "template")
ITEMS = tuple(
    Item(kind, server, f"{server}__{native}", native, {}, {}, "0" * 64)
    for kind in KINDS
    for server in SERVERS
    for native in ("x", "y", "z")
)

grants = st.builds(
    Grants,
    st.none() | st.frozensets(st.sampled_from([*SERVERS, "*", "c"]), max_size=2),
    st.none() | st.lists(st.sampled_from(GLOBS), max_size=2).map(tuple),
)
names = st.sampled_from(["admin", "auditor", "member", "r1", "r2", "gone"])
role_scopes = st.frozensets(st.sampled_from(["mcp", "admin", "audit:read"]))
configured = st.dictionaries(names.filter(lambda name: name != "gone"), st.tuples(role_scopes, grants))
scopes = st.lists(
    st.sampled_from(["mcp", "admin", "audit:read", "openid", "mcp:", "mcp:server:", "mcp:tool:", "mcp:server:A B"])
    | st.sampled_from([*SERVERS, "*", "c"]).map("mcp:server:{}".format)
    | st.sampled_from(GLOBS).map("mcp:tool:{}".format),
    max_size=4,
)


def reaches(bound: Grants, item: Item) -> bool:
    """By the words of `Grants`, and by another road than the judge's."""
    by_server = bound.servers is not None and bool({"*", item.server} & bound.servers)
    if item.kind != "tool":
        return by_server
    by_tool = bound.tools is not None and any(fnmatchcase(item.name, glob) for glob in bound.tools)
    if bound.servers is None or bound.tools is None:
        return by_server or by_tool
    return by_server and by_tool


def named(scope_list: list[str], item: Item) -> bool:
    servers = {scope.removeprefix("mcp:server:") for scope in scope_list if scope.startswith("mcp:server:")}
    tools = [scope.removeprefix("mcp:tool:") for scope in scope_list if scope.startswith("mcp:tool:")]
    if servers and not {"*", item.server} & servers:
        return False
    if item.kind == "tool" and tools and not any(fnmatchcase(item.name, glob) for glob in tools if glob):
        return False
    if "mcp" in scope_list or servers:
        return True
    return bool(tools) and item.kind == "tool"


@settings(max_examples=400, deadline=None)
@given(configured, st.lists(names, max_size=3), scopes, st.booleans())
def test_a_token_opens_exactly_what_its_scopes_name_and_a_role_reaches(
    given_roles: dict[str, tuple[frozenset[str], Grants]], held: list[str], asked: list[str], disabled: bool
) -> None:
    made = {name: Role(name, has, reach) for name, (has, reach) in given_roles.items()}
    user = UserRow("local", "u1", "ada", tuple(held), (), 1.0, disabled_at=2.0 if disabled else None)
    who = principal_of(user, Roles(made), scopes=asked, client="c", credential="g", strength="password", endpoints=None)
    there = [role for name, role in {**BUILT_IN, **made}.items() if name in held and not disabled]
    for scope in ("admin", "audit:read"):
        assert (scope in who.scopes) == (scope in asked and any(scope in role.scopes for role in there))
    for item in ITEMS:
        by_role = any("mcp" in role.scopes and reaches(role.grants, item) for role in there)
        assert (refusal(who, item) is None) == (by_role and named(asked, item))


@settings(max_examples=200, deadline=None)
@given(configured, st.lists(names, max_size=3), scopes, scopes)
def test_narrowing_scopes_never_open_more(
    given_roles: dict[str, tuple[frozenset[str], Grants]], held: list[str], asked: list[str], more: list[str]
) -> None:
    """One kind of scope narrows what the others opened: with a first one of its kind added, nothing new is reached."""
    roles = Roles({name: Role(name, has, reach) for name, (has, reach) in given_roles.items()})
    user = UserRow("local", "u1", "ada", tuple(held), (), 1.0)
    kinds = [kind for kind in ("mcp:server:", "mcp:tool:") if not any(scope.startswith(kind) for scope in asked)]
    added = [scope for scope in more if "mcp" in asked and scope.startswith(tuple(kinds))] if kinds else []
    before, after = (
        principal_of(user, roles, scopes=given, client="c", credential="g", strength="otp", endpoints=None)
        for given in (asked, [*asked, *added])
    )
    for item in ITEMS:
        if refusal(after, item) is None:
            assert refusal(before, item) is None
