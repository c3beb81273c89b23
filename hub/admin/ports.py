"""What the admin API is given: the parts it shows and the few acts it may do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from hub.admin.operation import Operation
from hub.core.call import Json
from hub.core.ports import Journal, KeyRow

if TYPE_CHECKING:  # the catalogue costs the import of the SDK, which the command line does without
    from hub.downstream.catalog import ListStatus
    from hub.downstream.health import Health
    from hub.downstream.likeness import Likeness
    from hub.downstream.link import ServerSpec
    from hub.downstream.shelf import Changed


class KeyRing(Protocol):
    def rows(self) -> Sequence[KeyRow]:
        """Every key, revoked and expired ones too."""

    async def create(
        self,
        name: str,
        scopes: Sequence[str],
        servers: Sequence[str] | None,
        tools: Sequence[str] | None,
        expires_in: timedelta | None,
    ) -> tuple[KeyRow, str]:
        """Effective when it returns. Raises ValueError, in words, for what no key may be."""

    async def rotate(
        self, id_or_name: str, overlap: timedelta, expires_in: timedelta | None
    ) -> tuple[KeyRow, KeyRow, str]:
        """The old row, its successor's, and the key. Raises `hub.identity.keys.UnknownKey`, and ValueError in words."""

    def meant(self, id_or_name: str) -> tuple[KeyRow, ...]:
        """The keys that a revocation by this word is about, newest first. Raises `hub.identity.keys.UnknownKey`."""

    def expiring(self, within: timedelta) -> tuple[KeyRow, ...]:
        """Keys that end so soon and have no successor."""

    async def revoke(self, id_or_name: str) -> KeyRow:
        """The row as it is now. Effective when it returns. Raises `hub.identity.keys.UnknownKey`."""


class Definitions(Protocol):
    """The catalogue, as operators see it."""

    def status(self, server: str) -> ListStatus | None: ...

    def pending(self, server: str | None = None) -> tuple[Changed, ...]: ...

    async def approve(
        self, server: str, natives: Collection[str] | None = None, *, seen: Collection[str] | None = None
    ) -> tuple[str, ...]: ...

    def likenesses(self, server: str) -> tuple[Likeness, ...]:
        """Its tools that could be taken for another server's; seconds old at most."""

    async def settled(self, endpoint: str | None, timeout_s: float) -> None:
        """Wait for servers (None: of any endpoint) whose start is not longer ago, until their lists are there."""

    async def compared(self) -> None:
        """Return once `likenesses` speaks of the present lists."""


class Downstreams(Protocol):
    """The pool, as operators see it."""

    def health(self) -> tuple[Health, ...]: ...

    async def probe(self, server: str, timeout_s: float) -> Health:
        """Try to connect now, and say how that went."""


class LogReader(Protocol):
    """Reads the log's file; may wait for the disk, so it is called in a thread."""

    def tail(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest entries, oldest first."""

    def after(self, seq: int, limit: int) -> Sequence[Mapping[str, Any]]:
        """The oldest entries behind `seq`."""

    def of_call(self, call: str) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class AdminPorts:
    version: str
    started_at: str  # RFC 3339 UTC
    ready: Callable[[], bool]  # whether calls are served
    specs: Callable[[], Sequence[ServerSpec]]  # the servers of the configuration in force
    downstreams: Downstreams
    definitions: Definitions
    keys: KeyRing
    log: LogReader
    journal: Journal
    metrics: Callable[[], tuple[bytes, str]]  # the scrape and its content type
    metrics_open: bool  # the hub listens on loopback: a scrape needs no token
    status: Callable[[], Json] = dict  # whatever else `status` tells (the endpoints, the configuration's path)
    more: tuple[Operation, ...] = ()  # of the resources that have ports of their own
