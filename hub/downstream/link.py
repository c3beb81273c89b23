"""What every connection to a downstream looks like to the pool, whatever carries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from hub.core.call import EMPTY, Era, Json
from hub.core.connections import ServerAuth
from hub.core.ports import Rate

Transport = Literal["stdio", "http", "sse", "inprocess"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect_s: float = 5.0
    initialize_s: float = 30.0
    list_s: float = 10.0
    call_s: float = 60.0  # silence; every progress notification starts it anew
    hard_s: float = 600.0


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One configured downstream, secrets resolved. Made by `hub.config`; frozen for its life."""

    id: str
    transport: Transport
    command: tuple[str, ...] = field(default=(), repr=False)  # stdio: argv, never a shell line; may hold a secret
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # stdio: added to the minimal environment
    cwd: str | None = None
    url: str = field(default="", repr=False)  # http, sse; may hold a secret
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: ServerAuth | None = None  # http, sse: how tokens for it are got; None: it gets `headers` and nothing else
    connector: str = ""  # inprocess: the name of a first-party connector
    era: Literal["auto", "modern", "legacy"] = "auto"
    pins: Literal["off", "warn", "quarantine"] = "quarantine"
    trusted: bool = False  # its readOnlyHint is believed
    enabled: bool = True
    variant_of: str | None = None  # a variant takes calls that a router sends it and lists nothing of its own
    timeouts: Timeouts = Timeouts()
    max_result_bytes: int = 16 * 1024 * 1024
    per_item: Rate | None = None
    provenance: Literal["file", "builtin", "database"] = "file"


def same_connection(one: ServerSpec, other: ServerSpec) -> bool:
    """Whether a link that was opened for one spec serves the other as well."""
    same_rules = replace(
        one,
        pins=other.pins,
        trusted=other.trusted,
        enabled=other.enabled,
        variant_of=other.variant_of,
        per_item=other.per_item,
        provenance=other.provenance,
    )
    return same_rules == other


@dataclass(frozen=True, slots=True)
class Peer:
    """What negotiation found out about the other side. Fixed for the life of a link."""

    era: Era
    revision: str
    capabilities: Json
    info: Json
    instructions: str | None = None


Notice = Callable[[str, Json], None]  # (method, params); never waits


@dataclass(slots=True)
class Exchange:
    """One request's limits and its way back."""

    timeout_s: float  # silence; a progress notification starts it anew
    hard_deadline: float  # monotonic seconds
    max_bytes: int
    notice: Notice | None = (
        None  # `notifications/progress` (token taken out) and `notifications/message` of this request
    )
    trace: Json = field(default_factory=dict)  # traceparent, tracestate, baggage: put into the request's `_meta`
    log_level: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # Mcp-Param-*: http transports only
    capabilities: Json = field(default_factory=lambda: EMPTY)  # modern: the client's, as declared for this request
    size_bytes: int = 0  # set by the link: the size of the answer


class Link(Protocol):
    """A live, negotiated connection. One per (server, credential, capability profile)."""

    peer: Peer

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        """Send one request and return its `result`, whole: unknown fields, exact integers and key order survive.

        `params` hold no protocol metadata: the link stamps its era's own (`_meta` protocolVersion, clientInfo and
        `exchange.capabilities` for modern; a progress token of its own when `exchange.notice` is set). A modern
        server may answer the methods of `MAY_ASK` with a question (`resultType: input_required`).
        Raises `DownstreamError`: `Unreachable` only when nothing was sent. Cancelling the caller cancels downstream,
        by `notifications/cancelled` (legacy, stdio) or by closing the stream (modern HTTP), and never blocks on it.
        The request is sent once; a link never retries what may have been received.
        """

    async def notify(self, method: str, params: Json) -> None:
        """Send one notification; failures are swallowed, because nothing waits for it."""

    @property
    def alive(self) -> bool:
        """False once the connection cannot carry another request; the pool then opens a new link."""

    async def aclose(self) -> None:
        """Close within 5 s, whatever the other side does. Idempotent."""


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """What a link tells the pool of its own accord. Callbacks never wait."""

    notified: Notice  # what belongs to no request: notifications/*/list_changed, resources/updated, message
    closed: Callable[[str], None]  # called once when the link dies, with the reason in words
    noise: Callable[[str], None] = lambda what: None  # counted: "garbage", "late", "foreign", "duplicate", "oversize"


Opener = Callable[[ServerSpec, LinkEvents], Awaitable[Link]]
"""Connect and negotiate, within `timeouts.connect_s` and `initialize_s`. Raises `DownstreamError`.

Era: `spec.era` when pinned, else as `negotiate.py` finds out: modern first, then `initialize`, then HTTP+SSE.
"""


def as_dict(value: Any) -> dict[str, Any] | None:
    """The value if it is a JSON object."""
    return value if isinstance(value, dict) else None
