"""Stored secrets: sealed in the store, open in memory, and told to nobody but the configuration that names them.

Each is sealed by AES-256-GCM under a data key of its own, which is sealed under the vault's key (`hub.identity.kek`).
Tenant, name and version are authenticated with both, so that a ciphertext in another row's place does not open.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import time
from typing import Final

import anyio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.ports import SecretRow, SecretStore
from hub.identity.kek import KEY_BYTES, KekFile, VaultSealed, kek_id

TENANT: Final = "local"
MAX_VALUE_BYTES: Final = 16 * 1024
MAX_SECRETS: Final = 10_000
STORE_S: Final = 10.0  # a write is seen through even when its caller goes away, for so long
_NONCE_BYTES: Final = 12
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class UnknownSecret(ValueError):
    """No secret has this name."""


class Vault:
    """All stored secrets. One event loop uses it, after `load`."""

    def __init__(self, store: SecretStore, kek: KekFile, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._store, self._kek, self._clock = store, kek, clock
        self._rows: dict[str, SecretRow] = {}
        self._values: dict[str, str] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take what the store holds, and finish or forget a change of the vault's key that was cut short.

        Raises VaultSealed, in words, when anything does not open. What is stored can still be listed, removed and
        replaced then, but not read.
        """
        self._rows = {row.name: row for row in await self._store.all(TENANT)}
        self._values = {}
        keys = self._kek.keys()
        if self._rows and not keys:
            raise VaultSealed(self._keyless())
        wrong = []
        for row in self._rows.values():
            try:
                self._values[row.name] = _opened(row, keys)
            except VaultSealed as exc:
                wrong.append(str(exc))
        await anyio.to_thread.run_sync(self._settle, {row.kek for row in self._rows.values()})
        if wrong:
            more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
            raise VaultSealed("; ".join(wrong[:3]) + more)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._rows))

    def rows(self) -> tuple[SecretRow, ...]:
        """By name, as stored: sealed."""
        return tuple(row for _, row in sorted(self._rows.items()))

    def get(self, name: str) -> str | None:
        """The value; None when there is none, or when it could not be opened."""
        return self._values.get(name)

    async def put(self, name: str, value: str) -> SecretRow:
        """Store it, durable when this returns. Raises ValueError for what no secret may be, and VaultSealed."""
        data = _fit(name, value)
        async with self._writing:
            before = self._rows.get(name)
            if before is None and len(self._rows) >= MAX_SECRETS:
                raise ValueError(f"the vault is full: it holds {MAX_SECRETS} secrets")
            now = _written(self._clock())
            with anyio.fail_after(STORE_S, shield=True):  # stored and in memory, or neither
                kek = await anyio.to_thread.run_sync(self._current)
                version = before.version + 1 if before is not None else 1
                row = _sealed(name, version, data, kek, now)
                row = replace(row, created_at=before.created_at if before is not None else now)
                await self._store.put((row,))
                self._rows[name], self._values[name] = row, value
        return row

    async def undo(self, name: str, before: SecretRow | None) -> None:
        """Put back what stood there before a `put`: the row, or nothing. Durable when this returns.

        A value that somebody else has stored meanwhile stays. Raises VaultSealed, and changes nothing, when the row
        does not open any more.
        """
        async with self._writing:
            row = self._rows.get(name)
            if row is None or row.version != (before.version if before is not None else 0) + 1:
                return
            with anyio.fail_after(STORE_S, shield=True):
                if before is None:
                    await self._store.remove(TENANT, name)
                    self._rows.pop(name, None)
                    self._values.pop(name, None)
                    return
                value = _opened(before, self._kek.keys())
                await self._store.put((before,))
                self._rows[name], self._values[name] = before, value

    async def remove(self, name: str) -> SecretRow:
        """What was stored, durably gone when this returns. Raises UnknownSecret."""
        async with self._writing:
            row = self._rows.get(name)
            if row is None:
                raise UnknownSecret(f"no secret is called {name[:64]!r}: `secrets list` shows those there are")
            with anyio.fail_after(STORE_S, shield=True):
                await self._store.remove(TENANT, name)
                del self._rows[name]
                self._values.pop(name, None)
        return row

    async def rekey(self) -> tuple[str, int]:
        """Seal every data key under a new vault key: its id, and how many there were.

        Killed at any point, everything still opens. Raises VaultSealed when something does not open now.
        """
        async with self._writing:
            closed = sorted(set(self._rows) - set(self._values))
            if closed:
                raise VaultSealed(f"the secret {closed[0]} does not open: set it anew or remove it, then try again")
            with anyio.fail_after(STORE_S, shield=True):
                await anyio.to_thread.run_sync(self._current)  # there is one to be replaced
                new = await anyio.to_thread.run_sync(self._kek.stage)
                keys = self._kek.keys()
                rows = {name: _rewrapped(row, keys, new) for name, row in self._rows.items()}
                await self._store.put(tuple(rows.values()))
                self._rows = rows
                await anyio.to_thread.run_sync(self._kek.promote)
        return kek_id(new), len(rows)

    def _current(self) -> bytes:
        """The key to seal with, made when nothing is sealed yet. Raises VaultSealed."""
        kek = self._kek.current()
        if kek is not None:
            return kek
        if self._rows:
            raise VaultSealed(self._keyless())
        return self._kek.make()

    def _settle(self, used: set[str]) -> None:
        """After a change of the key that was cut short: the new one stays if it is used, and rules if it alone is."""
        keys, current = self._kek.keys(), self._kek.current()
        staged = next((id for id in keys if current is None or id != kek_id(current)), None)
        if staged is not None and used == {staged}:
            self._kek.promote()
        elif staged is not None and staged not in used:
            self._kek.discard()

    def _keyless(self) -> str:
        return (
            f"the vault's key {self._kek.path} is missing, and what is stored does not open without it "
            f"({len(self._rows)} secrets): restore it from a backup, or remove them "
            "(mcp-hub secrets remove NAME --force) and set them anew"
        )


def _fit(name: str, value: str) -> bytes:
    """The value as it is stored. Raises ValueError, which never holds it."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name for a secret: use letters, digits, '.', '_' and '-', at most 64")
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise ValueError("the value is no text that UTF-8 can hold") from None
    if not data or b"\0" in data:
        raise ValueError("the value must not be empty or hold NUL")
    if len(data) > MAX_VALUE_BYTES:
        raise ValueError(f"the value has {len(data)} bytes; a secret has at most {MAX_VALUE_BYTES}")
    return data


def _identity(tenant: str, name: str, version: int) -> bytes:
    return f"{tenant}|{name}|{version}".encode()


def _sealed(name: str, version: int, data: bytes, kek: bytes, now: str) -> SecretRow:
    identity = _identity(TENANT, name, version)
    key, nonce, key_nonce = (secrets.token_bytes(size) for size in (KEY_BYTES, _NONCE_BYTES, _NONCE_BYTES))
    return SecretRow(
        tenant=TENANT,
        name=name,
        version=version,
        nonce=nonce,
        sealed=AESGCM(key).encrypt(nonce, data, identity),
        key_nonce=key_nonce,
        sealed_key=AESGCM(kek).encrypt(key_nonce, key, identity),
        kek=kek_id(kek),
        created_at=now,
        updated_at=now,
    )


def _data_key(row: SecretRow, keys: Mapping[str, bytes]) -> bytes:
    kek = keys.get(row.kek)
    if kek is None:
        raise VaultSealed(
            f"the secret {row.name} was sealed with another vault key ({row.kek}): "
            f"restore that one from a backup, or run mcp-hub secrets set {row.name}"
        )
    try:
        return AESGCM(kek).decrypt(row.key_nonce, row.sealed_key, _identity(row.tenant, row.name, row.version))
    except InvalidTag as exc:
        raise _changed(row) from exc


def _opened(row: SecretRow, keys: Mapping[str, bytes]) -> str:
    key = _data_key(row, keys)
    try:
        return AESGCM(key).decrypt(row.nonce, row.sealed, _identity(row.tenant, row.name, row.version)).decode()
    except InvalidTag as exc:
        raise _changed(row) from exc


def _changed(row: SecretRow) -> VaultSealed:
    return VaultSealed(
        f"the secret {row.name} is not what was stored under this name: somebody changed the database; "
        f"run mcp-hub secrets set {row.name}"
    )


def _rewrapped(row: SecretRow, keys: Mapping[str, bytes], kek: bytes) -> SecretRow:
    key, nonce = _data_key(row, keys), secrets.token_bytes(_NONCE_BYTES)
    sealed_key = AESGCM(kek).encrypt(nonce, key, _identity(row.tenant, row.name, row.version))
    return replace(row, key_nonce=nonce, sealed_key=sealed_key, kek=kek_id(kek))


def _written(at_s: float) -> str:
    """RFC 3339 UTC, always the same width, so that times compare as texts."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
