"""What the hub writes into a request's `_meta`: its own protocol metadata, never a client's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub import VERSION
from hub.core.call import Json
from hub.downstream.link import Exchange

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
CLIENT_INFO: Final[Json] = {"name": "mcp-hub", "version": VERSION}

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}


def stamped(params: Json, exchange: Exchange, token: int, revision: str | None) -> Json:
    """`params` with the `_meta` of this request; `revision` is None in the legacy era, which has no envelope."""
    given = params.get("_meta")
    meta: dict[str, Any] = {**given} if given is not None and isinstance(given, Mapping) else {}
    if exchange.trace:
        meta.update(exchange.trace)
    if exchange.notice is not None:
        meta["progressToken"] = token
    if revision is not None:
        meta[VERSION_KEY] = revision
        meta[INFO_KEY] = CLIENT_INFO
        meta[CAPABILITIES_KEY] = exchange.capabilities
        if exchange.log_level is not None:
            meta[LEVEL_KEY] = exchange.log_level
    return {**params, "_meta": meta} if meta or given is not None else params


def rank(level: object) -> int:
    """How severe a log level is; a word that is none counts as the least severe."""
    return _RANK.get(level, 0) if isinstance(level, str) else 0
