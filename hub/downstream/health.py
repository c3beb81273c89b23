"""How a downstream is doing, in words an operator can act on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hub.core.call import Json
from hub.downstream.link import Link, Peer

State = Literal["starting", "ready", "down", "needs_login", "disabled"]


@dataclass(frozen=True, slots=True)
class Health:
    server: str
    state: State
    reason: str  # "" when ready; else what happened and what to do next
    since: float  # wall clock, seconds
    peer: Peer | None = None  # of the link in force, or of the last one
    failures: int = 0  # consecutive failed connects
    restarts: int = 0  # times a link was lost since the hub started
    retry_in_s: float | None = None
    noise: Json | None = None  # counts by kind: "garbage", "late", "foreign", "duplicate", "oversize"
    stderr: tuple[str, ...] = ()  # last lines of a child, for `servers test` only


@dataclass(frozen=True, slots=True)
class PoolEvents:
    """What the pool tells of its own accord. Callbacks never wait."""

    up: Callable[[str, Link], None]  # a link is ready, also after a reconnect
    changed: Callable[[Health], None]  # the state of a server changed
    notified: Callable[[str, str, Json], None]  # (server, method, params): notifications that belong to no request
