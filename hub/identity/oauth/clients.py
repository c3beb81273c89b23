"""Clients that registered themselves (RFC 7591), those an admin registered, and those a document describes.

Whoever registers the same metadata again gets the same public client: programs in the field register at each
connection. One that is not used goes away, unless a user's grant to it still stands.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from math import ceil
from typing import Any, Final

import anyio
import msgspec

from hub.core.accounts import ClientRow, GrantStore
from hub.core.call import Json
from hub.core.ports import Fetcher
from hub.identity.oauth.asked import OAuthClient, Reply
from hub.identity.oauth.documents import Documents, NoDocument, host_of
from hub.identity.oauth.families import STORE_S, Families, digest
from hub.identity.oauth.metadata import BadMetadata, is_public, registered
from hub.identity.oauth.ports import TENANT, Settings
from hub.identity.throttle import Buckets, Rate, network
from hub.wire.jsonrpc import Malformed, loads

MAX_BODY: Final = 65_536
REGISTRATIONS: Final = Rate(10, 10)
USED_S: Final = 3600.0  # as exact as a last use is kept
NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_canonical: Final = msgspec.json.Encoder(order="sorted").encode


class UnknownClient(Exception):
    """Nobody has this id; says so in words for a person."""


class Clients:
    """All of them. One event loop uses it, after `load`."""

    def __init__(
        self, store: GrantStore, families: Families, fetcher: Fetcher, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._store, self._families, self._settings, self._clock = store, families, settings, clock
        self._documents = Documents(fetcher, settings.schemes, clock)
        self._rows: dict[str, ClientRow] = {}
        self._rate = Buckets(clock)
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take what the store holds."""
        self._rows = {row.id: row for row in await self._store.clients(TENANT)}

    async def to_ask_about(self, id: str) -> OAuthClient:
        """The client, as a person is to be asked about it now. Raises UnknownClient."""
        if id.startswith("https:"):
            if host_of(id) is None:
                raise UnknownClient("the program's id is an address that is not written as it has to be")
            try:
                return await self._documents.client(id)
            except NoDocument as exc:
                raise UnknownClient(str(exc)) from exc
        row = self._rows.get(id)
        if row is None:
            raise UnknownClient("the program is not registered here (any more): remove its login there and log in anew")
        await self._used(row)
        return _client(row)

    async def at_token(self, id: str) -> OAuthClient | None:
        """The client as programs' endpoints need it.

        One with a document is public here whatever that says now, and what it may redeem or renew is bound to its id:
        nothing is fetched, so that nobody is logged out while the client's own site is down.
        """
        if id.startswith("https:"):
            host = host_of(id)
            return None if host is None else self._documents.seen(id) or OAuthClient(id, host, (), "cimd", host)
        row = self._rows.get(id)
        if row is None:
            return None
        await self._used(row)
        return _client(row)

    async def register(self, body: bytes, address: str) -> Reply:
        """RFC 7591 §3."""
        if not self._settings.registration:
            return refused(403, "access_denied", "programs cannot register themselves here: ask the administrator")
        key = ("register", network(address))
        if (wait_s := self._rate.wait(key, REGISTRATIONS)) > 0:
            return refused(
                429, "temporarily_unavailable", "too many registrations from this address; try again later", wait_s
            )
        self._rate.take(key, REGISTRATIONS)
        if len(body) > MAX_BODY:
            return refused(413, "invalid_client_metadata", f"the metadata is longer than {MAX_BODY} bytes")
        try:
            asked = loads(body)
            if not isinstance(asked, dict):
                raise BadMetadata("the metadata is no JSON object")
            metadata = registered(asked, self._settings.schemes)
        except Malformed as exc:
            return refused(400, "invalid_client_metadata", f"the metadata cannot be read: {exc}")
        except BadMetadata as exc:
            return refused(400, exc.code, str(exc))
        async with self._writing:
            return await self._keep(metadata)

    async def sweep(self) -> None:
        """Forget who registered and was not seen for long."""
        old, held = self._clock() - self._settings.client_ttl_s, self._families.clients()
        gone = [row.id for row in self._rows.values() if row.used_at < old and _may_go(row, held)]
        await self._remove(gone)

    async def _keep(self, metadata: dict[str, Any]) -> Reply:
        now, public = self._clock(), is_public(metadata)
        hashed = sha256(_canonical({**metadata, "redirect_uris": sorted(metadata["redirect_uris"])})).hexdigest()
        id = f"mhc_{hashed[:32]}" if public else f"mhc_{secrets.token_hex(16)}"
        row, secret = self._rows.get(id), None if public else f"mhcs_{secrets.token_urlsafe(32)}"
        if row is not None:
            await self._used(row)
        else:
            if not await self._has_room():
                return refused(503, "temporarily_unavailable", "there are as many programs as the hub may know")
            row = ClientRow(TENANT, id, metadata, hashed, now, now, None if secret is None else digest(secret))
            await self._put(row)
        body = {**row.metadata, "client_id": row.id, "client_id_issued_at": int(row.created_at)}
        if secret is not None:
            body |= {"client_secret": secret, "client_secret_expires_at": 0}
        return Reply(201, body, NO_STORE)

    async def _has_room(self) -> bool:
        """Make room if that takes only a client that nobody granted anything."""
        if len(self._rows) < self._settings.max_clients:
            return True
        held = self._families.clients()
        idle = [row for row in self._rows.values() if _may_go(row, held)]
        if not idle:
            return False
        await self._remove([min(idle, key=lambda row: (row.used_at, row.id)).id])
        return True

    async def _used(self, row: ClientRow) -> None:
        now = self._clock()
        if now - row.used_at >= USED_S:
            await self._put(replace(row, used_at=now))

    async def _put(self, row: ClientRow) -> None:
        with anyio.fail_after(STORE_S, shield=True):
            await self._store.put_client(row)
        self._rows[row.id] = row

    async def _remove(self, ids: list[str]) -> None:
        if not ids:
            return
        with anyio.fail_after(STORE_S, shield=True):
            await self._store.remove_clients(TENANT, ids)
        for id in ids:
            self._rows.pop(id, None)


def _may_go(row: ClientRow, held: frozenset[str]) -> bool:
    return row.origin == "dynamic" and row.id not in held


def _client(row: ClientRow) -> OAuthClient:
    said: Json = row.metadata
    return OAuthClient(
        row.id,
        said.get("client_name") or row.id,
        tuple(said["redirect_uris"]),
        row.origin,
        auth_method=said.get("token_endpoint_auth_method", "none"),
        secret_sha256=row.secret_sha256,
        grant_types=tuple(said.get("grant_types", ("authorization_code", "refresh_token"))),
    )


def refused(status: int, error: str, words: str, wait_s: float | None = None) -> Reply:
    """An error as programs' endpoints give it (RFC 6749 §5.2); with a time, when to try again."""
    headers = NO_STORE if wait_s is None else {**NO_STORE, "Retry-After": str(ceil(wait_s))}
    return Reply(status, {"error": error, "error_description": words}, headers)
