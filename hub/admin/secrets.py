"""Storing, listing and removing secrets, and the log's word of it. No value ever comes out of here.

For the API, and for the command line without a hub.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from hub.admin import paging
from hub.admin.operation import Answer, Asked, Operation, Refused, object_of, stale
from hub.admin.schemas import COUNT, TEXT, TEXTS, answered, rows_of
from hub.core.call import Json
from hub.core.ports import Journal, SecretRow
from hub.identity.kek import VaultSealed

NAME: Final = r"^[A-Za-z0-9._-]{1,64}$"
MAX_VALUE: Final = 16 * 1024  # characters; the vault counts bytes

_VALUE: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_VALUE,
    "pattern": "^[^\\u0000]+$",
    "description": "stored, and never told again; without NUL",
}
_NAMED: Final[Mapping[str, Json]] = {
    "name": {"type": "string", "pattern": NAME, "description": "letters, digits, '.', '_' and '-', at most 64"}
}
_FORCE: Final[Json] = {"type": "boolean", "description": "even while servers refer to it"}

Uses = Mapping[str, Sequence[str]]  # server ids by name of the secret they refer to
Told = Callable[[str], Awaitable[Sequence[str]]]  # who changed a secret in use -> what is wrong now, in words

_SECRET: Final[dict[str, Json]] = {
    "name": TEXT,
    "version": COUNT,
    "created_at": TEXT,
    "updated_at": TEXT,
    "used_by": TEXTS,
}
ROW: Final = answered(_SECRET)
DONE: Final = answered({**_SECRET, "warnings": TEXTS})
REKEYED: Final = answered({"kek": TEXT, "secrets": COUNT})


class SecretVault(Protocol):
    """`hub.identity.vault.Vault`, as administrators use it: it is never asked for a value."""

    def rows(self) -> Sequence[SecretRow]: ...

    async def put(self, name: str, value: str) -> SecretRow:
        """Raises ValueError, in words that do not hold the value."""

    async def undo(self, name: str, before: SecretRow | None) -> None:
        """Put the row back that stood there before a `put`."""

    async def remove(self, name: str) -> SecretRow:
        """Raises ValueError when there is none."""

    async def rekey(self) -> tuple[str, int]: ...


class InUse(ValueError):
    """Servers refer to it."""


async def nobody(who: str) -> Sequence[str]:
    """Where no server runs: there is nothing to bring a new value to."""
    return ()


class SecretDesk:
    def __init__(self, vault: SecretVault, journal: Journal, uses: Callable[[], Uses], changed: Told = nobody) -> None:
        """`changed` is told after a secret that servers refer to has another value, or none."""
        self._vault, self._journal, self._uses, self._changed = vault, journal, uses, changed

    def rows(self) -> list[dict[str, Any]]:
        uses = self._uses()
        return [_shown(row, uses) for row in self._vault.rows()]

    def version(self, name: str) -> int | None:
        row = self._row(name)
        return None if row is None else row.version

    async def put(self, who: str, name: str, value: str) -> dict[str, Any]:
        """Raises ValueError in words. What cannot be logged is undone, before any server is given the new value."""
        before = self._row(name)
        row = await self._vault.put(name, value)
        detail = {"act": "secrets.set", "secret": name, "before": _version(before), "after": _version(row)}
        try:
            await self._journal.event("admin", who, "done", None, detail)
        except Exception:  # whatever failed: what is not in the log must not be used
            await self._vault.undo(name, before)
            raise
        return {**_shown(row, self._uses()), "warnings": list(await self._tell(who, name))}

    async def remove(self, who: str, name: str, *, force: bool = False) -> dict[str, Any]:
        """Raises InUse while servers refer to it, unless forced; ValueError when there is none."""
        uses = self._uses()
        used_by = uses.get(name, ())
        if used_by and not force:
            raise InUse(
                f"the secret {name} is in use by {', '.join(used_by)}: change or remove these servers first, "
                "or force it, and they cannot be loaded again without it"
            )
        row = await self._vault.remove(name)
        detail = {"act": "secrets.remove", "secret": name, "before": _version(row), "forced": bool(used_by)}
        await self._journal.event("admin", who, "done", None, detail)
        warnings = list(await self._tell(who, name))
        if used_by:
            warnings.append(f"{', '.join(used_by)} cannot be loaded again before: mcp-hub secrets set {name}")
        return {**_shown(row, uses), "warnings": warnings}

    async def rekey(self, who: str) -> dict[str, Any]:
        kek, count = await self._vault.rekey()
        await self._journal.event("admin", who, "done", None, {"act": "secrets.rekey", "after": {"kek": kek}})
        return {"kek": kek, "secrets": count}

    def _row(self, name: str) -> SecretRow | None:
        return next((row for row in self._vault.rows() if row.name == name), None)

    async def _tell(self, who: str, name: str) -> Sequence[str]:
        return await self._changed(who) if self._uses().get(name) else ()


class _Acts:
    """What is asked over the API, done by the desk, and its refusals by their status."""

    def __init__(self, desk: SecretDesk) -> None:
        self._desk = desk

    async def listed(self, asked: Asked) -> Answer:
        rows, cursor = paging.page(self._desk.rows(), asked.query, lambda row: str(row["name"]))
        return Answer({"secrets": rows, "next": cursor})

    async def put(self, asked: Asked) -> Answer:
        name = asked.path["name"]
        _check_version(asked, self._desk.version(name))
        try:
            made = await self._desk.put(asked.who.name, name, asked.body["value"])
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc
        except VaultSealed as exc:
            raise Refused(409, "sealed", str(exc)) from exc
        return Answer(made, etag=str(made["version"]))

    async def remove(self, asked: Asked) -> Answer:
        name = asked.path["name"]
        _check_version(asked, self._desk.version(name))
        try:
            return Answer(await self._desk.remove(asked.who.name, name, force=asked.query.get("force", False)))
        except InUse as exc:
            raise Refused(409, "in_use", str(exc)) from exc
        except ValueError as exc:
            raise Refused(404, "not_found", str(exc)) from exc

    async def rekey(self, asked: Asked) -> Answer:
        try:
            return Answer(await self._desk.rekey(asked.who.name))
        except VaultSealed as exc:
            raise Refused(409, "sealed", str(exc)) from exc


def operations(desk: SecretDesk) -> tuple[Operation, ...]:
    do, one = _Acts(desk), "/secrets/{name}"
    return (
        Operation(
            *("GET", "/secrets", "secrets.list", "the names of stored secrets and who uses them", do.listed),
            query=paging.QUERY,
            answer=answered({"secrets": rows_of(ROW), "next": paging.NEXT}),
        ),
        Operation(
            *("PUT", one, "secrets.set", "store a secret, or give it another value", do.put),
            body=object_of({"value": _VALUE}),
            parts=_NAMED,
            answer=DONE,
            refusals=(409, 412),
        ),
        Operation(
            *("DELETE", one, "secrets.remove", "forget a secret", do.remove),
            query={"force": _FORCE},
            parts=_NAMED,
            answer=DONE,
            refusals=(409, 412),
        ),
        Operation(
            *("POST", "/secrets/rekey", "secrets.rekey", "seal every secret under a new key", do.rekey),
            answer=REKEYED,
            refusals=(409,),
        ),
    )


def _check_version(asked: Asked, version: int | None) -> None:
    """Only for those who ask for it: nobody can read a value, so no change of one is lost by another."""
    if asked.if_match is not None and asked.if_match != str(version):
        raise stale()


def _version(row: SecretRow | None) -> dict[str, int] | None:
    return None if row is None else {"version": row.version}


def _shown(row: SecretRow, uses: Uses) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "used_by": list(uses.get(row.name, ())),
    }
