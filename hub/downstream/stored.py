"""The lists of one server as they are kept while it is away. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.core.call import EMPTY, Json, Kind
from hub.downstream.definitions import KINDS
from hub.downstream.link import Peer
from hub.downstream.shelf import Lists


def to_stored(lists: Lists, peer: Peer) -> Json:
    stored: dict[str, Any] = {kind: list(lists.of(kind)) for kind in KINDS}
    stored["peer"] = {
        "era": peer.era,
        "revision": peer.revision,
        "capabilities": peer.capabilities,
        "info": peer.info,
        "instructions": peer.instructions,
    }
    return stored


def from_stored(stored: Json) -> Lists:
    """Lenient: what a newer or older hub stored otherwise is as if it were not stored."""
    by_kind: dict[Kind, tuple[Any, ...]] = {
        kind: tuple(stored[kind]) for kind in KINDS if isinstance(stored.get(kind), list | tuple)
    }
    return Lists(by_kind, _stored_peer(stored.get("peer")))


def _stored_peer(peer: Any) -> Peer | None:
    if not isinstance(peer, Mapping) or not isinstance(peer.get("capabilities"), Mapping):
        return None
    instructions = peer.get("instructions")
    info = peer.get("info")
    return Peer(
        era="modern" if peer.get("era") == "modern" else "legacy",
        revision=str(peer.get("revision", "")),
        capabilities=peer["capabilities"],
        info=info if isinstance(info, Mapping) else EMPTY,
        instructions=instructions if isinstance(instructions, str) else None,
    )
