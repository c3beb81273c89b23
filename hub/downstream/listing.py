"""Fetches one list of one downstream, page by page, within bounds. Judges nothing and keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from hub.core.call import Json, Kind
from hub.core.errors import Garbled, Refused
from hub.downstream.announced import announced
from hub.downstream.link import Exchange, Link, Peer, ServerSpec
from hub.wire.caching import ttl_ms

MAX_PAGES: Final = 100
MAX_ITEMS: Final[Mapping[Kind, int]] = {"tool": 10_000, "prompt": 10_000, "resource": 10_000, "template": 1_000}

_METHOD: Final[Mapping[Kind, tuple[str, str]]] = {
    "tool": ("tools/list", "tools"),
    "prompt": ("prompts/list", "prompts"),
    "resource": ("resources/list", "resources"),
    "template": ("resources/templates/list", "resourceTemplates"),
}
_CAPABILITY: Final[Mapping[Kind, str]] = {
    "tool": "tools",
    "prompt": "prompts",
    "resource": "resources",
    "template": "resources",
}
METHOD_NOT_FOUND: Final = -32601


@dataclass(frozen=True, slots=True)
class Fetched:
    definitions: tuple[Any, ...]  # as they came: what is no definition is found out later, one by one
    cut: str | None = None  # why the list ends before the downstream's does
    ttl_ms: int = 0  # how long the server says the list stays as it is: the least of its pages, 0 in the legacy era


def offers(peer: Peer, kind: Kind) -> bool:
    """Whether the other side declared that it has lists of this kind."""
    return peer.capabilities.get(_CAPABILITY[kind]) is not None


def tells(spec: ServerSpec, peer: Peer, kind: Kind) -> bool:
    """Whether a change of this list is sure to be told.

    What is declared is not enough where the telling needs a stream of its own, which the other side may refuse and
    still be well: any Streamable HTTP, and every listen of the modern era.
    """
    return peer.era == "legacy" and spec.transport != "http" and _CAPABILITY[kind] in announced(peer.capabilities)


async def fetch(spec: ServerSpec, link: Link, kind: Kind) -> Fetched:
    """The whole list, in the downstream's order. Raises DownstreamError.

    Bounds: `timeouts.list_s` a page, pages, items, and `max_result_bytes` for all pages together. What is over them is
    cut and said. A cursor that was seen before ends the list.
    """
    method, member = _METHOD[kind]
    found: list[Any] = []
    ttls: list[int] = []
    cut: str | None = f"only the first {MAX_PAGES} pages are shown"
    seen: set[str] = set()
    params: Json = {}
    left = spec.max_result_bytes
    for _ in range(MAX_PAGES):
        exchange = Exchange(spec.timeouts.list_s, monotonic() + spec.timeouts.list_s, left)
        try:
            page = await link.request(method, params, exchange)
        except Refused as refused:
            if refused.error.get("code") == METHOD_NOT_FOUND and not found:
                return Fetched(())  # declares resources, has no templates: common
            raise
        listed = page.get(member) if isinstance(page, Mapping) else None
        if not isinstance(listed, list):
            raise Garbled(spec.id, f"the answer to {method} has no list '{member}'")
        found.extend(listed)
        ttls.append(ttl_ms(page) if link.peer.era == "modern" else 0)
        if len(found) > MAX_ITEMS[kind]:
            cut = f"only the first {MAX_ITEMS[kind]} are shown"
            break
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or cursor in seen:  # "" is a cursor like any other
            cut = None
            break
        seen.add(cursor)
        left -= exchange.size_bytes
        if left <= 0:
            cut = f"only the first {spec.max_result_bytes} bytes are shown"
            break
        params = {"cursor": cursor}
    return Fetched(tuple(found[: MAX_ITEMS[kind]]), cut, min(ttls))
