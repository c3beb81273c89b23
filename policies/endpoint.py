"""Hides the tools that an endpoint does not offer, from its lists and its calls alike.

Which servers an endpoint has is the catalogue's to know; prompts and resources come with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hub.core.call import AnyArguments, Call, Denied, Item, Json
from hub.core.ports import Allowed, Endpoint
from policies.globs import any_of

_ALLOWED: Final = Allowed()
_NO_ENDPOINT: Final = Denied("policy", "endpoint: there is none of this name (any more)")
_NOT_SELECTED: Final = Denied("policy", "endpoint: none of its tool patterns matches")
_WRITES: Final = Denied("policy", "endpoint: it is read-only, and this tool may write")


class Selection:
    name = "endpoint"
    steady = True

    def __init__(self, endpoints: Callable[[str], Endpoint | None]) -> None:
        """`endpoints`: the one of that name, or None."""
        self._endpoints = endpoints

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        endpoint = self._endpoints(call.endpoint)
        return _NO_ENDPOINT if endpoint is None else refusal(endpoint, item) or _ALLOWED


def refusal(endpoint: Endpoint, item: Item) -> Denied | None:
    """Why this endpoint does not offer the item, which is of one of its servers; None: it does."""
    if item.kind != "tool":
        return None
    if endpoint.tools is not None and not any_of(endpoint.tools).fullmatch(item.name):
        return _NOT_SELECTED
    return _WRITES if endpoint.read_only and item.writes else None
