"""Which era one Streamable HTTP request belongs to, from its headers and its body together. Pure.

Neither alone decides: a modern header never falls to the legacy road, nor does a modern body with a legacy header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.core.call import Era
from hub.wire.decode import HEADER_MISMATCH, VERSION_KEY, Refusal
from hub.wire.headers import VERSION
from hub.wire.jsonrpc import INVALID_REQUEST
from hub.wire.revisions import is_legacy


def has_modern_header(headers: Mapping[str, str]) -> bool:
    """A version header that names no legacy revision; an unknown one is a modern client's to negotiate."""
    version = headers.get(VERSION)
    return version is not None and not is_legacy(version)


def era_of(headers: Mapping[str, str], message: Any) -> Era | Refusal:
    """The era of a POST, or the error it gets because its parts contradict each other."""
    modern_header = has_modern_header(headers)
    if not isinstance(message, dict):
        if isinstance(message, list) and not modern_header:
            return "legacy"  # a batch: for the session to judge
        return Refusal(INVALID_REQUEST, "Invalid request: the body must be one JSON-RPC request or notification")
    if modern_header:
        return "modern"
    said = _said(message)
    if said is None:
        return "legacy"
    version = headers.get(VERSION)
    if version is not None and version != said:
        return Refusal(HEADER_MISMATCH, "the MCP-Protocol-Version header and the body's protocol version differ")
    return "modern"


def _said(message: dict[str, Any]) -> Any:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta.get(VERSION_KEY) if isinstance(meta, dict) else None
