"""Failed logins: limited per address, and in the log at most once per address and second.

Owns the count of failures; knows no token. A valid credential is never held up by others' failures: behind one address
(a proxy, loopback) a client with a stale token must not lock the rest out, and tokens are too long to be guessed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from hub.core.ports import Journal

log = logging.getLogger(__name__)

PER_MINUTE: Final = 60.0
BURST: Final = 30
ADDRESSES: Final = 4096  # remembered at a time; the rest share one
FLUSH_S: Final = 1.0  # between two entries about one address
_OTHERS: Final = "other addresses"


@dataclass(slots=True)
class _Address:
    ready_at: float = 0.0  # GCRA: the theoretical arrival time
    unlogged: int = 0


class FailedLogins:
    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
        flush_s: float = FLUSH_S,
        addresses: int = ADDRESSES,
    ) -> None:
        self._journal, self._clock, self._flush_s, self._cap = journal, clock, flush_s, addresses
        self._addresses: dict[str, _Address] = {}
        self._writer: asyncio.Task[None] | None = None

    def absent(self, address: str) -> None:
        """A request without any token: it is logged like a failure and never held up, because it guesses nothing."""
        self._note(address)

    def failed(self, address: str) -> float:
        """Count one failure. 0.0: answer it as one; else the address has to wait this many seconds. Never waits."""
        entry = self._note(address)
        now, each = self._clock(), 60.0 / PER_MINUTE
        ready_at = max(entry.ready_at, now)
        wait = ready_at - now - each * (BURST - 1)
        if wait > 0:
            return wait
        entry.ready_at = ready_at + each
        return 0.0

    def _note(self, address: str) -> _Address:
        entry = self._entry(network_of(address))
        entry.unlogged += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="failed logins")
        return entry

    async def aclose(self) -> None:
        """Write what is still to be written, within 5 s."""
        if self._writer is not None and not self._writer.done():
            self._writer.cancel()
            await asyncio.wait([self._writer])
        async with asyncio.timeout(5.0):
            await self._flush()

    def _entry(self, network: str) -> _Address:
        entry = self._addresses.get(network)
        if entry is not None:
            return entry
        if len(self._addresses) >= self._cap:
            self._forget()
        if len(self._addresses) >= self._cap:
            network = _OTHERS
        return self._addresses.setdefault(network, _Address())

    def _forget(self) -> None:
        """Addresses that owe neither a wait nor an entry."""
        now = self._clock()
        self._addresses = {k: v for k, v in self._addresses.items() if v.unlogged or v.ready_at > now}

    async def _write(self) -> None:
        """Entries until none is left to write; the next failure starts it anew."""
        while any(entry.unlogged for entry in self._addresses.values()):
            try:
                await self._flush()
            except Exception:  # a full disk must not end the limiter; the counts stand and are tried again
                log.exception("failed logins could not be logged")
            await asyncio.sleep(self._flush_s)

    async def _flush(self) -> None:
        for address, entry in list(self._addresses.items()):
            count = entry.unlogged
            if count:
                detail = {"address": address, "count": count}
                await self._journal.event("auth", "anonymous", "denied:unauthenticated", detail=detail)
                entry.unlogged -= count


def network_of(address: str) -> str:
    """The address, or for IPv6 its /64: one subscriber has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)
