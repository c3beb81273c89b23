"""Users and what they allowed programs: made, changed, imported, shown and ended, and the log's word of it.

For the API, and for the command line without a hub. No password goes out again, or into the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from hub.core.accounts import GrantRow, UserRow
from hub.core.ports import Journal
from hub.identity import importing
from hub.identity.importing import Step
from hub.identity.profiles import Profile
from hub.identity.roles import MEMBER
from hub.identity.users import INVITE_S, TENANT, InviteRefused, Users

LOGGED_AT_ONCE: Final = 50  # users of one entry about an import
_ACTS: Final = ("created", "updated", "enabled", "disabled", "unchanged")


class UnknownGrant(ValueError):
    """The user has no such grant."""


class Grants(Protocol):
    """What users allowed programs: `hub.identity.oauth.server.AuthorizationServer`, as administrators use it."""

    def grants_of(self, user: str, /) -> Sequence[GrantRow]:
        """Those in force, by the user's id."""

    async def end(self, ids: Sequence[str], reason: str, /) -> None:
        """Tokens that came from them open nothing from then on; durable when it returns."""

    async def end_user(self, user: str, reason: str, /) -> None:
        """As `end`, for all of a user, those too whose code is on its way."""


class UserDesk:
    def __init__(self, users: Users, grants: Grants, journal: Journal, welcome: str | None = None) -> None:
        """`welcome` is the page that makes the first user; None: nobody can reach it."""
        self._users, self._grants, self._journal, self._welcome = users, grants, journal, welcome

    async def invite(self, who: str) -> dict[str, Any]:
        """A link that makes the first user, an administrator; one made before is void. Raises InviteRefused."""
        if self._welcome is None:
            raise InviteRefused("no browser reaches this hub's pages: set public_url, or run mcp-hub users add NAME")
        code = await self._users.invite()
        await self._journal.event("admin", who, "done", None, {"act": "users.invite"})
        return {"url": f"{self._welcome}?{urlencode({'code': code})}", "expires_in_s": int(INVITE_S)}

    def rows(self) -> list[dict[str, Any]]:
        return [shown(row) for row in self._users.rows()]

    def show(self, user: str) -> dict[str, Any]:
        """Raises UnknownUser, as all that follow do."""
        return shown(self._users.meant(user))

    async def create(self, who: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ValueError in words, NameTaken, Busy. A user that cannot be logged is taken back."""
        profile = Profile(
            roles=tuple(wish.get("roles", (MEMBER,))),
            groups=tuple(wish.get("groups", ())),
            display=wish.get("display"),
            email=wish.get("email"),
        )
        made = await self._users.create(wish["name"], profile, wish.get("password"))
        await self._logged(who, "users.create", None, made)
        return shown(made)

    async def change(self, who: str, user: str, wish: Mapping[str, Any], seen: int | None = None) -> dict[str, Any]:
        """Roles, groups, display, email. Raises ValueError in words, and Conflict; `seen` is the version seen."""
        before = self._users.meant(user)
        made = await self._users.change(before.id, wish, before.version if seen is None else seen)
        if made != before:
            await self._logged(who, "users.change", before, made)
        return shown(made)

    async def set_password(self, who: str, user: str, password: str, seen: int | None = None) -> dict[str, Any]:
        """What was open for the user ends. Raises ValueError in words that do not hold it, Conflict, Busy."""
        before = self._users.meant(user)
        made = await self._users.set_password(before.id, password, before.version if seen is None else seen)
        await self._logged(who, "users.password", before, made)
        await self._grants.end_user(made.id, "password")
        return shown(made)

    async def disable(self, who: str, user: str, seen: int | None = None) -> dict[str, Any]:
        """What was open for the user ends. Done even where the log does not take it: that only narrows."""
        before = self._users.meant(user)
        made = await self._users.disable(before.id, before.version if seen is None else seen)
        try:
            await self._grants.end_user(made.id, "disabled")
        finally:  # it is done even where that is not written down yet
            if made != before:
                await self._log(who, "users.disable", before, made)
        return shown(made)

    async def enable(self, who: str, user: str, seen: int | None = None) -> dict[str, Any]:
        """Raises NameTaken, Conflict."""
        before = self._users.meant(user)
        made = await self._users.enable(before.id, before.version if seen is None else seen)
        if made != before:
            await self._logged(who, "users.enable", before, made)
        return shown(made)

    async def reset_otp(self, who: str, user: str, seen: int | None = None) -> dict[str, Any]:
        """From then on the password alone is asked for, until one-time codes are set up anew. Raises Conflict."""
        before = self._users.meant(user)
        made = await self._users.reset_otp(before.id, before.version if seen is None else seen)
        if made != before:
            await self._logged(who, "users.otp_reset", before, made)
        return shown(made)

    async def take(self, who: str, document: Any, *, dry_run: bool = False) -> dict[str, Any]:
        """Everything in the file, or nothing. Raises ImportRefused, NameTaken, Conflict."""
        entries = importing.read(document, self._users.known_roles())
        steps = importing.plan(entries, self._users.rows(), TENANT, self._users.now())
        changes = [step for step in steps if step.act != "unchanged"]
        if changes and not dry_run:
            made = await self._users.replace_all([(step.before, step.after) for step in changes])
            try:
                for start in range(0, len(changes), LOGGED_AT_ONCE):
                    told = [_logged_step(step) for step in changes[start : start + LOGGED_AT_ONCE]]
                    await self._journal.event("admin", who, "done", None, {"act": "users.import", "users": told})
            except Exception:  # whatever failed: what is not in the log must not be in force
                await self._users.put_all_back(made)
                raise
            for step in changes:
                if step.act == "disabled":
                    await self._grants.end_user(step.after.id, "disabled")
        counts = {act: sum(step.act == act for step in steps) for act in _ACTS}
        told_steps = [{"user": step.after.name, "id": step.after.id, "act": step.act} for step in steps]
        return {"dry_run": dry_run, "counts": counts, "users": told_steps}

    def grants(self, user: str) -> list[dict[str, Any]]:
        return [shown_grant(grant) for grant in self._grants.grants_of(self._users.meant(user).id)]

    async def end(self, who: str, user: str, grant: str | None = None) -> dict[str, Any]:
        """One grant of the user, or all. Raises UnknownGrant. Done even where the log does not take it."""
        row = self._users.meant(user)
        found = [each for each in self._grants.grants_of(row.id) if grant in (None, each.id)]
        if grant is not None and not found:
            raise UnknownGrant(f"the user {row.name} has no grant {grant!r}: `users sessions` shows those there are")
        ids = [each.id for each in found]
        try:
            await (self._grants.end_user(row.id, "admin") if grant is None else self._grants.end(ids, "admin"))
        finally:  # it is done even where that is not written down yet
            if ids:
                detail = {"act": "users.logout", "user": row.name, "id": row.id, "grants": ids[:LOGGED_AT_ONCE]}
                await self._journal.event("admin", who, "done", None, {**detail, "count": len(ids)})
        return {"user": row.name, "ended": ids}

    async def _logged(self, who: str, act: str, before: UserRow | None, made: UserRow) -> None:
        try:
            await self._log(who, act, before, made)
        except Exception:  # whatever failed: what is not in the log must not be in force
            await self._users.put_back(made, before)
            raise

    async def _log(self, who: str, act: str, before: UserRow | None, made: UserRow) -> None:
        detail = {"act": act, "user": made.name, "before": _logged_row(before), "after": _logged_row(made)}
        await self._journal.event("admin", who, "done", None, detail)


def shown(row: UserRow) -> dict[str, Any]:
    """A user as administrators read it; hash and secret stay inside."""
    return {
        "id": row.id,
        "name": row.name,
        "display": row.display,
        "email": row.email,
        "roles": list(row.roles),
        "groups": list(row.groups),
        "attributes": dict(row.attributes or {}),
        "password": row.password is not None,
        "otp": row.otp is not None,
        "issuer": row.issuer,
        "created_at": _written(row.created_at),
        "disabled_at": _written(row.disabled_at),
        "version": row.version,
    }


def shown_grant(row: GrantRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "client": row.client,
        "client_name": row.client_name,
        "resource": row.resource,
        "scopes": list(row.scopes),
        "strength": row.strength,
        "created_at": _written(row.created_at),
        "used_at": _written(row.used_at),
        "expires_at": _written(row.expires_at),
    }


def _logged_row(row: UserRow | None) -> dict[str, Any] | None:
    """What the log keeps for ever: what decides, and nothing that only describes a person."""
    if row is None:
        return None
    return {
        "id": row.id,
        "name": row.name,
        "roles": list(row.roles),
        "groups": list(row.groups),
        "disabled": row.disabled_at is not None,
        "version": row.version,
    }


def _logged_step(step: Step) -> dict[str, Any]:
    return {"act": step.act, "before": _logged_row(step.before), "after": _logged_row(step.after)}


def _written(at_s: float | None) -> str | None:
    """RFC 3339 UTC."""
    if at_s is None:
        return None
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
