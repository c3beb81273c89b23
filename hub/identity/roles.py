"""What roles allow, and the only maker of users' principals.

A role has scopes and, when `mcp` is one of them, a reach: servers and tools as a key has them. A user reaches what any
of the roles reaches; a token reaches of that what its own scopes name. A role that the configuration does not know any
more allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hub.core.accounts import UserRow
from hub.core.call import Grants, Principal
from hub.core.names import SERVER_ID

ADMIN: Final = "admin"
MEMBER: Final = "member"  # of a user of whom nothing else was said
SERVER: Final = "mcp:server:"
TOOL: Final = "mcp:tool:"
MAX_SCOPES: Final = 256  # of one token; with more it opens nothing

_SCOPES: Final = frozenset({"mcp", "admin", "audit:read"})
_GLOB: Final = re.compile(r"[\x21-\x7e]{1,128}")
_EVERYTHING: Final = Grants(servers=frozenset({"*"}))


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    scopes: frozenset[str]  # of "mcp", "admin", "audit:read"
    grants: Grants = field(default_factory=Grants)  # its reach, where "mcp" is a scope


BUILT_IN: Final[Mapping[str, Role]] = {
    ADMIN: Role(ADMIN, _SCOPES, _EVERYTHING),
    "auditor": Role("auditor", frozenset({"audit:read"})),
    MEMBER: Role(MEMBER, frozenset({"mcp"}), _EVERYTHING),
}


class Roles:
    """The built-in roles, and those of the configuration in their place and beside them."""

    def __init__(self, configured: Mapping[str, Role] | None = None) -> None:
        self.adopt(configured or {})

    def adopt(self, configured: Mapping[str, Role]) -> None:
        """Have these from now on. Whoever keeps principals has to make them anew."""
        self._roles: Mapping[str, Role] = {**BUILT_IN, **configured}

    def __contains__(self, name: object) -> bool:
        return name in self._roles

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._roles))

    def of(self, names: Iterable[str]) -> tuple[Role, ...]:
        """Those of these names that there are."""
        return tuple(role for name in dict.fromkeys(names) if (role := self._roles.get(name)) is not None)


def principal_of(
    user: UserRow,
    roles: Roles,
    *,
    scopes: Collection[str],
    client: str | None,
    credential: str,
    strength: str,
    endpoints: frozenset[str] | None,
) -> Principal:
    """Who calls, and what this credential lets it do: what its scopes name, of what the user's roles allow.

    A disabled user's may do nothing. A row without an id stands for somebody whom only another issuer knows.
    """
    held = roles.of(user.roles) if user.disabled_at is None else ()
    asked = {_kind(scope) for scope in scopes} if len(scopes) <= MAX_SCOPES else set()
    return Principal(
        tenant=user.tenant,
        name=f"user:{user.name}",
        credential=credential,
        scopes=frozenset(asked & _had(held)),
        grants=_grants(scopes) if asked else Grants(),
        within=_reach(held),
        endpoints=endpoints,
        user=user.id or None,
        roles=frozenset(user.roles),
        groups=frozenset(user.groups),
        client=client,
        strength=strength,
        attributes=dict(user.attributes or {}),
    )


def reach(user: UserRow, roles: Roles) -> tuple[Grants, ...]:
    """What the user's principals are `within`."""
    return _reach(roles.of(user.roles) if user.disabled_at is None else ())


def _reach(held: Iterable[Role]) -> tuple[Grants, ...]:
    return tuple(role.grants for role in held if "mcp" in role.scopes)


def _had(held: Iterable[Role]) -> frozenset[str]:
    return frozenset(scope for role in held for scope in role.scopes)


def _kind(scope: str) -> str:
    """The scope of the principal that this one of a token stands for."""
    return "mcp" if scope.startswith((SERVER, TOOL)) else scope


def _grants(scopes: Collection[str]) -> Grants:
    """As a key's: servers and tools narrow and intersect. What is not well formed narrows, and matches nothing."""
    servers = frozenset(scope.removeprefix(SERVER) for scope in scopes if scope.startswith(SERVER))
    tools = [scope.removeprefix(TOOL) for scope in scopes if scope.startswith(TOOL)]
    everywhere = frozenset({"*"}) if "mcp" in scopes else None
    return Grants(
        servers=frozenset(filter(_is_server, servers)) if servers else everywhere,
        tools=tuple(glob for glob in tools if _GLOB.fullmatch(glob)) if tools else None,
    )


def _is_server(text: str) -> bool:
    return text == "*" or SERVER_ID.fullmatch(text) is not None
