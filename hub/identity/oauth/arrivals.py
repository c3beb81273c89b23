"""Who comes from a company's provider: found by its own name for the person, created and brought up to date.

Nothing but issuer and subject finds a user: addresses and names are what people may change at the provider, and a name
that is taken here belongs to somebody else.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

from hub.core.accounts import UserRow
from hub.core.call import Json
from hub.core.ports import Conflict
from hub.identity.issuers import claim_at, is_name, texts_at
from hub.identity.oauth.provider import Provider, SsoFailed
from hub.identity.profiles import MAX_TEXT, fit_attributes, fit_groups, fit_name, fit_text
from hub.identity.users import TENANT, NameTaken, Users

TRIES: Final = 3  # of one arrival, when the same person arrives twice at once
_UNFIT: Final = re.compile(r"[^a-z0-9._@+-]+")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a login says of its user, and is taken over each time."""

    roles: tuple[str, ...]
    groups: tuple[str, ...]
    display: str | None
    email: str | None
    attributes: Json | None


class Arrivals:
    def __init__(self, provider: Provider, users: Users, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._provider, self._users, self._clock = provider, users, clock

    async def admit(self, claims: Json) -> tuple[UserRow | None, UserRow]:
        """(the user as it was, or None for a new one; as it is now) for verified claims. Raises SsoFailed.

        A user whom the provider gives no role any more is left with none.
        """
        told, subject = self._told(claims), str(claims["sub"])
        for _ in range(TRIES):
            before = self._users.by_subject(self._provider.issuer, subject)
            if before is not None and before.disabled_at is not None:
                raise SsoFailed("disabled", f"the user {before.name} is disabled")
            if before is None and not self._provider.create:
                raise SsoFailed("unknown", "the provider vouches for somebody who is no user here, and none is created")
            if before is None and not told.roles:
                raise SsoFailed("nothing", "no role of the hub follows from the provider's claims")
            after = self._new(claims, subject, told) if before is None else _with(before, told)
            if after == before:
                return before, after
            try:
                ((_, made),) = await self._users.replace_all([(before, after)])
            except (Conflict, NameTaken):  # the same person in another window, or somebody took the name
                continue
            except ValueError as exc:
                raise SsoFailed("unknown", str(exc)) from exc
            return before, made
        raise SsoFailed("unreachable", "the user was changed again and again while it logged in")

    def _told(self, claims: Json) -> _Told:
        provider, known = self._provider, self._users.known_roles()
        given, groups = texts_at(claims, provider.roles_claim), texts_at(claims, provider.groups_claim)
        if given is None or groups is None:
            # what is left out of a list may be the one that a rule forbids
            raise SsoFailed("unfit", "the provider's claim of roles or groups cannot be read, or is not complete")
        named = {role for value in given for role in provider.roles.get(value, ())} | set(provider.default_roles)
        try:
            return _Told(
                roles=tuple(sorted(named & set(known))),
                groups=fit_groups(sorted(groups)),
                display=_shown(claims.get(provider.display_claim)),
                email=_shown(claims.get(provider.email_claim)),
                attributes=fit_attributes(self._attributes(claims)),
            )
        except ValueError as exc:
            raise SsoFailed("unfit", f"the provider's claims do not fit a user: {exc}") from exc

    def _attributes(self, claims: Json) -> dict[str, str]:
        found = {name: claim_at(claims, path) for name, path in self._provider.attributes.items()}
        return {name: _text(name, value) for name, value in found.items() if value is not None}

    def _new(self, claims: Json, subject: str, told: _Told) -> UserRow:
        row = UserRow(TENANT, f"u{secrets.token_hex(8)}", self._name(claims, subject), (), (), self._clock())
        return _with(replace(row, issuer=self._provider.issuer, subject=subject), told)

    def _name(self, claims: Json, subject: str) -> str:
        """The first free one of: as it is called there, the same with the provider's host, and one nobody else has."""
        host = urlsplit(self._provider.issuer).hostname or "sso"
        mark = sha256(f"{self._provider.issuer}\n{subject}".encode()).hexdigest()[:12]
        own = claim_at(claims, self._provider.name_claim)
        plain = _UNFIT.sub("-", own.lower() if is_name(own) else "").strip("-._@+")[:60].rstrip("-._@+")
        host = _UNFIT.sub("-", host.lower())[:50]
        wanted = (plain, f"{plain}@{host}") if plain else ()
        for name in (*wanted, f"{plain or 'user'}-{mark}@{host}"):
            try:
                fit = fit_name(name)
            except ValueError:
                continue
            if self._users.find(fit) is None:
                return fit
        raise SsoFailed("unknown", "no name is free for the person whom the provider vouches for")


def _with(row: UserRow, told: _Told) -> UserRow:
    return replace(
        row,
        roles=told.roles,
        groups=told.groups,
        display=told.display,
        email=told.email,
        attributes=told.attributes,
    )


def _shown(given: Any) -> str | None:
    """For people to read; nothing hangs on it."""
    try:
        return fit_text(given, "text") if isinstance(given, str) and len(given) <= MAX_TEXT else None
    except ValueError:
        return None


def _text(name: str, given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float | str):
        return str(given)
    raise ValueError(f"the attribute {name} is no text")
