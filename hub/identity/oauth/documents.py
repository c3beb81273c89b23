"""Clients whose id is the address of a document about them (OAuth Client ID Metadata Document).

The document is fetched when somebody is to be asked about the client, kept for a while, and believed in one thing only:
whoever controls that host named these redirect URIs. Where the hub may be sent is the Fetcher's to judge.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from hub.core.ports import Fetched, Fetcher, FetchRefused
from hub.identity.oauth.asked import OAuthClient
from hub.identity.oauth.metadata import BadMetadata, described
from hub.wire.jsonrpc import Malformed, loads

MAX_ID: Final = 512
MAX_BYTES: Final = 65_536
MIN_KEPT_S: Final = 60.0
MAX_KEPT_S: Final = 86_400.0
FAILED_S: Final = 60.0  # what did not work is not tried again so soon
MOST: Final = 100
MOST_FAILED: Final = 1000
MOST_ASKED: Final = 64  # at once; each costs a connection that a stranger chose

# CIMD §3: https, a path, and nothing that could be read in two ways.
_ID: Final = re.compile(
    r"https://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
_DOTS: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|\?|$)", re.IGNORECASE)
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?([0-9]{1,9})\b", re.IGNORECASE)


class NoDocument(Exception):
    """There is nothing to go by at this address; says why, in words for a person."""


def host_of(id: str) -> str | None:
    """The host of an id that is an address as it should be; None: it is none."""
    found = _ID.fullmatch(id) if len(id) <= MAX_ID else None
    if found is None or _DOTS.search(id) or int(found["port"] or 443) > 65_535:
        return None
    return found["host"].lower() + (f":{found['port']}" if found["port"] else "")


@dataclass(slots=True)
class _Asked:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Documents:
    """Used by one event loop."""

    def __init__(self, fetcher: Fetcher, schemes: Collection[str], clock: Callable[[], float]) -> None:
        self._fetcher, self._schemes, self._clock = fetcher, schemes, clock
        self._kept: OrderedDict[str, tuple[float, OAuthClient]] = OrderedDict()  # until when; the longest unused first
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()  # until when, and what was wrong
        self._asked: dict[str, _Asked] = {}

    async def client(self, id: str) -> OAuthClient:
        """The client as its document describes it. Raises NoDocument."""
        if (known := self._known(id)) is not None:
            return known
        if id not in self._asked and len(self._asked) >= MOST_ASKED:
            raise NoDocument("too many programs that are not known here are asked about at once; try again soon")
        asked = self._asked.setdefault(id, _Asked())
        asked.waiting += 1
        try:
            async with asked.lock:  # who waited finds what the first one found
                return self._known(id) or await self._fetch(id)
        finally:
            asked.waiting -= 1
            if not asked.waiting:
                del self._asked[id]

    def seen(self, id: str) -> OAuthClient | None:
        """As the document said when it was last read, however long ago; None: it is not remembered."""
        return self._kept.get(id, (0.0, None))[1]

    def _known(self, id: str) -> OAuthClient | None:
        now = self._clock()
        until, client = self._kept.get(id, (0.0, None))
        if client is not None and now < until:
            self._kept.move_to_end(id)
            return client
        until, words = self._failed.get(id, (0.0, ""))
        if now < until:
            raise NoDocument(words)
        return None

    async def _fetch(self, id: str) -> OAuthClient:
        try:
            fetched = await self._fetcher.get(id, max_bytes=MAX_BYTES)
            client = self._read(id, fetched)
        except FetchRefused as exc:
            raise self._fail(id, f"the program's document at {id} cannot be read: {exc}") from exc
        except (BadMetadata, Malformed) as exc:
            raise self._fail(id, f"the program's document at {id} is not in order: {exc}") from exc
        self._failed.pop(id, None)
        self._kept[id] = (self._clock() + _kept_s(fetched), client)
        self._kept.move_to_end(id)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return client

    def _read(self, id: str, fetched: Fetched) -> OAuthClient:
        if fetched.status != 200:
            raise BadMetadata(f"it was answered with status {fetched.status}")
        kind = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise BadMetadata("its content type is not JSON")
        if len(fetched.body) > MAX_BYTES:
            raise BadMetadata(f"it is longer than {MAX_BYTES} bytes")
        name, uris, grants = described(id, loads(fetched.body), self._schemes)
        host = host_of(id) or ""
        return OAuthClient(id, name or host, uris, "cimd", host, grant_types=grants)

    def _fail(self, id: str, words: str) -> NoDocument:
        self._kept.pop(id, None)
        self._failed[id] = (self._clock() + FAILED_S, words)
        self._failed.move_to_end(id)
        while len(self._failed) > MOST_FAILED:
            self._failed.popitem(last=False)
        return NoDocument(words)


def _kept_s(fetched: Fetched) -> float:
    said = fetched.headers.get("cache-control", "")
    found = None if "no-store" in said.lower() else _MAX_AGE.search(said)
    return min(max(float(found[1]) if found else MIN_KEPT_S, MIN_KEPT_S), MAX_KEPT_S)
