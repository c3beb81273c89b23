"""Whether this credential may use this item. Denies by default, and knows nothing but grants.

`--server` and `--tool` narrow and intersect. A user's credential reaches what it was given, and of that only what one
of the user's roles reaches too. Globs speak of canonical public names, the same at every endpoint, and of tools only;
everything else is granted by its server.
"""

from __future__ import annotations

from hub.core.call import AnyArguments, Call, Denied, Grants, Item, Json, Principal
from hub.core.ports import Allowed
from policies.globs import any_of

SCOPE = "mcp"

_ALLOWED = Allowed()
_NO_SCOPE = Denied("policy", f"authorize: the credential lacks the scope {SCOPE}")
_NOTHING = Denied("policy", "authorize: the credential names neither servers nor tools")
_NOT_SERVER = Denied("policy", "authorize: the server is not granted")
_NOT_TOOL = Denied("policy", "authorize: no granted tool pattern matches")
_NOT_ROLE = Denied("policy", "authorize: no role of the user reaches this item")


class Authorize:
    name = "authorize"
    steady = True

    def __init__(self, policy_version: str) -> None:
        self.policy_version = policy_version

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        return refusal(call.who, item) or _ALLOWED


def refusal(who: Principal, item: Item) -> Denied | None:
    """Why this caller may not use the item; None: it may."""
    if SCOPE not in who.scopes:
        return _NO_SCOPE
    refused = _outside(who.grants, item)
    if refused is None and who.within is not None:
        return None if any(_outside(role, item) is None for role in who.within) else _NOT_ROLE
    return refused


def _outside(grants: Grants, item: Item) -> Denied | None:
    servers, tools = grants.servers, grants.tools
    if servers is None and (tools is None or item.kind != "tool"):
        return _NOTHING if tools is None else _NOT_SERVER
    if servers is not None and item.server not in servers and "*" not in servers:
        return _NOT_SERVER
    if item.kind == "tool" and tools is not None and not any_of(tools).fullmatch(item.name):
        return _NOT_TOOL
    return None
