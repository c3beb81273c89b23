"""Deny by default; servers and tools intersect; globs see canonical public names of tools and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import ANY, Call, Client, Denied, Grants, Item, Kind, Principal
from hub.core.ports import Allowed
from policies.authorize import Authorize

EVERYTHING = frozenset({"*"})


def allowed(grants: Grants, kind: Kind = "tool", name: str = "git__log", scopes: Any = ("mcp",)) -> bool:
    server = name.partition("__")[0].partition("+")[0]
    item = Item(kind, server, name, "native", {}, {}, "sha")
    who = Principal("local", "u", "c", frozenset(scopes), grants)
    call = Call("1", who, "", "tools/call", {}, Client("modern", "2026-07-28"), float("inf"))
    verdicts = [Authorize("v1").decide(call, item, arguments) for arguments in (ANY, {}, {"a": 1})]
    assert verdicts[0] == verdicts[1] == verdicts[2]  # about nothing in the arguments
    assert isinstance(verdicts[0], Allowed | Denied)
    return verdicts[0] == Allowed()


@pytest.mark.parametrize(
    ("servers", "tools", "tool", "resource"),
    [
        (None, None, False, False),
        (EVERYTHING, None, True, True),
        (frozenset({"git"}), None, True, True),
        (frozenset({"other"}), None, False, False),
        (frozenset(), None, False, False),
        (None, ("git__*",), True, False),
        (None, ("*",), True, False),
        (None, (), False, False),
        (None, ("other__*", "git__l?g"), True, False),
        (EVERYTHING, ("git__log",), True, True),
        (frozenset({"git"}), ("other__*",), False, True),
        (frozenset({"other"}), ("git__log",), False, False),
        (EVERYTHING, (), False, True),
    ],
)
def test_servers_and_tools_narrow_and_intersect(servers: Any, tools: Any, tool: bool, resource: bool) -> None:
    grants = Grants(servers, tools)
    assert allowed(grants) is tool
    assert allowed(grants, "resource", "git+a://1") is resource
    assert allowed(grants, "prompt", "git__p") is resource
    assert allowed(grants, "template", "git+a://{x}") is resource


@pytest.mark.parametrize(
    ("glob", "name", "match"),
    [
        ("git__log", "git__log", True),
        ("git__LOG", "git__log", False),
        ("log", "git__log", False),
        ("git__", "git__log", False),
        ("*log*", "git__catalogue", True),
        ("git__[a-l]*", "git__log", True),
        ("git__[!l]*", "git__log", False),
        ("git__l.g", "git__log", False),
        ("git__(log|x)", "git__log", False),
        ("a|git__log", "git__log", False),
        ("git__log$", "git__log", False),
    ],
)
def test_a_tool_pattern_is_a_glob_over_the_whole_public_name(glob: str, name: str, match: bool) -> None:
    assert allowed(Grants(None, (glob,)), name=name) is match
    assert allowed(Grants(None, ("nothing__*", glob, "else__?")), name=name) is match


@pytest.mark.parametrize("scopes", [(), ("admin",), ("admin", "audit:read"), ("MCP",)])
def test_a_credential_without_the_scope_reaches_nothing(scopes: Any) -> None:
    assert not allowed(Grants(EVERYTHING, ("*",)), scopes=scopes)


def test_a_server_whose_id_begins_like_a_granted_one_is_not_granted() -> None:
    assert not allowed(Grants(frozenset({"git"})), name="git-evil__log")
    assert not allowed(Grants(None, ("git__*",)), name="git-evil__git__log")


def test_denials_tell_the_log_which_rule_and_the_caller_nothing() -> None:
    item = Item("tool", "git", "git__log", "log", {}, {}, "sha")
    reasons = set()
    for scopes, grants in (
        ((), Grants(EVERYTHING)),
        (("mcp",), Grants()),
        (("mcp",), Grants(frozenset({"x"}))),
        (("mcp",), Grants(None, ("x",))),
    ):
        who = Principal("local", "u", "c", frozenset(scopes), grants)
        call = Call("1", who, "", "tools/call", {}, Client("modern", "2026-07-28"), float("inf"))
        verdict = Authorize("v1").decide(call, item, ANY)
        assert isinstance(verdict, Denied)
        assert verdict.told is None
        reasons.add(verdict.reason)
    assert len(reasons) == 4


def test_a_pattern_made_to_backtrack_is_still_quick() -> None:
    assert not allowed(Grants(None, ("*a" * 20 + "b",)), name="git__" + "a" * 40)
