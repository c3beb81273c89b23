"""What every edge is given: a verified caller's way into the pipeline, and nothing else of the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from hub.core.call import Call, Json, Outcome, Principal
from hub.core.ports import Authenticator, Catalog, Changes, Endpoint, Journal


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int = 4 * 1024 * 1024
    header_bytes: int = 64 * 1024
    header_s: float = 10.0  # from the first byte of a request, or of the connection, to the end of its headers
    body_s: float = 30.0  # from the end of the headers to the end of the body
    session_idle_s: float = 1800.0
    sessions: int = 10_000
    call_s: float = 600.0  # the hard end of a call
    drain_s: float = 30.0
    back_queue: int = 256  # notifications that wait for one slow client; more are dropped
    keepalive_s: float = 15.0  # comment lines on open streams
    connections: int = 4096
    trusted_proxies: tuple[str, ...] = ()  # addresses and networks whose `X-Forwarded-For` is believed


@dataclass(slots=True)
class EdgePorts:
    """`handle` always reaches the pipeline in force: a reload swaps what is behind it.

    Not frozen: a reload sets limits, hosts and origins anew, so they are read where they are needed. What an edge takes
    of the limits when it is made stays until a restart.
    """

    handle: Callable[[Call], Awaitable[Outcome]]
    authenticator: Authenticator
    catalog: Catalog
    changes: Changes
    journal: Journal
    endpoints: Mapping[str, Endpoint]  # by name; "" is /mcp
    limits: Limits
    allowed_hosts: frozenset[str]  # values of Host without port; "*" is any
    allowed_origins: frozenset[str]  # whole origins; "*" is any; loopback origins are always allowed
    cursor_key: bytes  # 32 bytes: seals list cursors; kept in data_dir
    server_info: Json  # name, version, title
    instructions: Callable[[str, Principal], str | None]  # by endpoint name, of what this caller may see
    connected: Callable[[str, int], None]  # (transport, +1 or -1), for the active-connections gauge
    refused: Callable[[str], None]  # one more request refused at the edge, by code, for the metrics
