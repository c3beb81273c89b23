"""One endpoint's items, merged from the shelves of its servers.

Immutable, swapped whole; reading it is look-ups only, and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from hub.core.call import EMPTY, Item, Json, Kind
from hub.core.names import public_uri, split_uri
from hub.core.ports import Endpoint
from hub.downstream.definitions import KEY, KINDS, MAX_URI, canonical, digest
from hub.downstream.link import Peer
from hub.downstream.shelf import Shelf

_UNLISTED_SHA: Final = digest(canonical(EMPTY))
_MAX_VARIABLES: Final = 16

Signature = Mapping[Kind, tuple[tuple[str, str], ...]]


class View:
    def __init__(self, endpoint: Endpoint, shelves: Iterable[Shelf], unknown: bool = False) -> None:
        """`unknown`: some server of the endpoint has not yet said what it offers."""
        self._endpoint = endpoint
        self._prefixed = endpoint.prefix == "server"
        self._shelves = {shelf.spec.id: shelf for shelf in sorted(shelves, key=lambda shelf: shelf.spec.id)}
        self._items: dict[Kind, tuple[Item, ...]] = {kind: self._merged(kind) for kind in KINDS}
        self._named: dict[Kind, dict[str, Item]] = {
            kind: {item.shown[KEY[kind]]: item for item in items} for kind, items in self._items.items()
        }
        self._templates = {server: _matchers(shelf.bare.get("template", ())) for server, shelf in self._shelves.items()}
        self.capabilities = _union([shelf.peer for shelf in self._shelves.values() if shelf.peer], unknown)
        self._signature: Signature | None = None

    def is_of(self, endpoint: Endpoint) -> bool:
        return self._endpoint is endpoint

    def items(self, kind: Kind) -> tuple[Item, ...]:
        return self._items[kind]

    def resolve(self, kind: Kind, name: str) -> Item | None:
        item = self._named[kind].get(name)
        return self._unlisted(name) if item is None and kind == "resource" else item

    def signature(self) -> Signature:
        """What clients can tell apart: equal signatures mean that no list differs. Hidden definitions do not count."""
        if self._signature is None:  # asked again by every account that sees the same
            self._signature = {
                kind: tuple((item.name, item.sha256) for item in items if not item.changed)
                for kind, items in self._items.items()
            }
        return self._signature

    def uri(self, server: str, native: str) -> str:
        """The uri that this endpoint's clients use for a resource of one of its servers."""
        return public_uri(server, native) if self._prefixed else native

    def _merged(self, kind: Kind) -> tuple[Item, ...]:
        found: list[Item] = []
        for shelf in self._shelves.values():
            found.extend((shelf.items if self._prefixed else shelf.bare).get(kind, ()))
        return tuple(sorted(found, key=lambda item: item.name))

    def _unlisted(self, name: str) -> Item | None:
        """The resource of a uri that no list names: of a template that matches it, else whatever its server knows."""
        where = split_uri(name) if self._prefixed else next(((server, name) for server in self._shelves), None)
        if where is None or where[0] not in self._shelves:
            return None
        server, uri = where
        peer = self._shelves[server].peer
        if not uri or len(uri) > MAX_URI:
            return None
        for prefix, matcher, template in self._templates[server]:
            if uri.startswith(prefix) and matcher.match(uri) is not None:
                shown = {key: value for key, value in template.definition.items() if key != "uriTemplate"}
                return replace(
                    template, kind="resource", name=public_uri(server, uri), native=uri, shown={**shown, "uri": name}
                )
        if peer is None or peer.capabilities.get("resources") is None:
            return None
        return Item("resource", server, public_uri(server, uri), uri, EMPTY, {"uri": name}, _UNLISTED_SHA, writes=False)


def _matchers(templates: Iterable[Item]) -> tuple[tuple[str, UriTemplate, Item], ...]:
    """(literal start, matcher, template): what cannot be matched in bounded time is left to the server."""
    made: list[tuple[str, UriTemplate, Item]] = []
    for template in templates:
        try:
            matcher = UriTemplate.parse(template.native, max_length=MAX_URI, max_variables=_MAX_VARIABLES)
        except InvalidUriTemplate:
            continue
        made.append((template.native.partition("{")[0], matcher, template))
    return tuple(made)


def _union(peers: list[Peer], unknown: bool) -> Json:
    """What any of them offers, as far as the hub can keep it.

    A legacy client reads this once, maybe before any server is up: what is not known yet is promised, and answered
    with empty lists if it never comes.
    """
    has = {name for peer in peers for name, value in peer.capabilities.items() if value is not None}
    union: dict[str, Any] = {}
    for name in ("tools", "prompts", "resources"):
        if unknown or name in has:
            union[name] = {"listChanged": True}
    if any(subscribable(peer) for peer in peers):
        union["resources"]["subscribe"] = True
    for name in ("completions", "logging"):
        if unknown or name in has:
            union[name] = {}
    return union


def subscribable(peer: Peer) -> bool:
    """Whether the hub can pass on updates of single resources: legacy servers that declare it."""
    resources = peer.capabilities.get("resources")
    return peer.era == "legacy" and isinstance(resources, Mapping) and resources.get("subscribe") is True
