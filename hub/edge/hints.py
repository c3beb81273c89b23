"""How long a modern client may keep what the hub lists, as the catalogue sees it now. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hub.core.call import Call, Kind
from hub.core.ports import Catalog
from hub.wire.encode import LISTS

_DISCOVERED: Final[Mapping[str, tuple[Kind, ...]]] = {
    "tools": ("tool",),
    "prompts": ("prompt",),
    "resources": ("resource", "template"),
}


def list_ttl_ms(catalog: Catalog, call: Call) -> int:
    """What is left of the list that this call asks for; 0 for calls of anything else.

    Read it before the call and after, and tell the smaller: a list that was replaced meanwhile may not pass its own
    time on to the one that was answered.
    """
    listed = LISTS.get(call.method)
    return 0 if listed is None else catalog.ttl_ms(call.endpoint, listed[0], call.who.account)


def discovery_ttl_ms(catalog: Catalog, endpoint: str, account: str) -> int:
    """The least of what is left of the lists that discovery declares."""
    declared = catalog.capabilities(endpoint, account)
    kinds = (kind for name, listed in _DISCOVERED.items() if name in declared for kind in listed)
    return min((catalog.ttl_ms(endpoint, kind, account) for kind in kinds), default=0)
