"""Finds what a call is about, so that every later stage sees the real item. Refuses what does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.core.call import Call, Denied, HubOwned, Item, Kind, Listing, One, Outcome, Several, Target
from hub.core.ports import Catalog, Next

MAX_URIS: Final = 1000  # of one subscription; what is beyond is not honoured

_LISTS: Final[Mapping[str, Kind]] = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "template",
}
_ITEMS: Final[Mapping[str, tuple[Kind, str]]] = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
}
_SUBSCRIPTIONS: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "subscriptions/listen"})


class Resolve:
    name = "resolve"

    def __init__(self, catalog: Catalog, *, cold_s: float = 3.0, cold_stdio_s: float = 10.0) -> None:
        """`cold_s`: how long a name that nobody lists waits for servers in their first start, which may bring it,
        and for those where the caller has an account of his own."""
        self._catalog = catalog
        self._cold_s, self._cold_stdio_s = cold_s, cold_stdio_s

    def forward(self, call: Call, /) -> Call | Denied | None:
        target = self._target(call)
        if not isinstance(target, Denied):
            return call.about(target, call.record)
        return None if target.code == "unknown_item" else target

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        target = self._target(call)
        if isinstance(target, Denied) and target.code == "unknown_item":  # the wait tells nothing: all names wait alike
            patience_s = self._cold_stdio_s if call.client.transport == "stdio" else self._cold_s
            await self._catalog.settled(call.endpoint, patience_s, call.who.account)
            target = self._target(call)
        return target if isinstance(target, Denied) else await next(call.about(target, call.record))

    def _target(self, call: Call) -> Target | Denied:
        method = call.method
        if (named := _ITEMS.get(method)) is not None:
            return _one(self._find(call, named[0], call.params.get(named[1])))
        if (kind := _LISTS.get(method)) is not None:
            return Listing(kind)
        if method == "completion/complete":
            return _one(self._referred(call, call.params.get("ref")))
        if method in _SUBSCRIPTIONS:
            return self._several(call)
        return Denied("unsupported", f"no such method: {method[:80]}")

    def _find(self, call: Call, kind: Kind, name: Any) -> Item | None:
        if not isinstance(name, str):
            return None
        return self._catalog.resolve(call.endpoint, kind, name, call.who.account)

    def _referred(self, call: Call, ref: Any) -> Item | None:
        if not isinstance(ref, Mapping):
            return None
        if ref.get("type") == "ref/prompt":
            return self._find(call, "prompt", ref.get("name"))
        if ref.get("type") == "ref/resource":
            uri = ref.get("uri")
            return self._find(call, "template", uri) or self._find(call, "resource", uri)
        return None

    def _several(self, call: Call) -> Target | Denied:
        named = call.params.get("uris") if call.method == "subscriptions/listen" else [call.params.get("uri")]
        if not isinstance(named, list | tuple):
            return Denied("unknown_item", "no list of uris")
        if not named:
            return HubOwned()  # a listen for list changes alone: the hub's own to tell
        found: dict[str, Item] = {}
        for uri in named[:MAX_URIS]:
            item = self._find(call, "resource", uri)
            if item is not None:
                found.setdefault(item.name, item)
        return Several(tuple(found.values()))


def _one(item: Item | None) -> Target | Denied:
    return Denied("unknown_item", "no such item at this endpoint") if item is None else One(item)
