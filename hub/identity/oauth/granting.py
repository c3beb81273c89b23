"""From a user's yes to a grant: what of it the user's roles allow, and nothing that nobody asked for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from hub.core.accounts import GrantRow, UserRow
from hub.identity.oauth import scopes as scoping
from hub.identity.oauth.asked import Login, Wish
from hub.identity.oauth.asking import Refusal
from hub.identity.oauth.ports import TENANT, Parts
from hub.identity.oauth.tokens import endpoints_of
from hub.identity.roles import principal_of


class Granting:
    def __init__(self, parts: Parts) -> None:
        self._users, self._roles, self._resources = parts.users, parts.roles, parts.resources

    def live(self, id: str) -> UserRow | None:
        """The user, if it may log in."""
        user = self._users.by_id(id)
        return None if user is None or user.disabled_at is not None else user

    def grant(self, wish: Wish, login: Login, scopes: Sequence[str], now: float, ends: float) -> GrantRow:
        """A new grant, until `ends` unless its tokens are fetched before. Raises Refusal."""
        user, reached = self.live(login.user.id), endpoints_of(self._resources, wish.resource)
        if user is None:
            raise Refusal("access_denied", "the user may not log in any more")
        if reached is None:
            raise Refusal("invalid_target", "there is no such endpoint any more")
        if not scopes or not all(map(scoping.is_scope, scopes)) or not scoping.is_within(scopes, wish.scopes):
            raise Refusal("invalid_scope", "what was allowed is not within what was asked for")
        allowed = self._allowed(user, scopes)
        if not allowed:
            raise Refusal("access_denied", "no role of the user allows any of this")
        return GrantRow(
            tenant=TENANT,
            id=f"g{secrets.token_hex(8)}",
            user=user.id,
            client=wish.client.id,
            client_name=wish.client.name,
            resource=wish.resource,
            scopes=allowed,
            strength=login.strength,
            auth_time=login.at,
            created_at=now,
            expires_at=ends,
        )

    def _allowed(self, user: UserRow, scopes: Sequence[str]) -> tuple[str, ...]:
        """Of these, what a role of the user allows."""
        had = principal_of(
            user,
            self._roles,
            scopes=frozenset(scopes),
            client=None,
            credential="",
            strength="token",
            endpoints=frozenset(),
        ).scopes
        return tuple(dict.fromkeys(scope for scope in scopes if (scope if scope in scoping.ADMIN else "mcp") in had))
