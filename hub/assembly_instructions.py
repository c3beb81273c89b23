"""What an endpoint tells a client's model about itself: the operator's words, else those of servers the caller sees.

A server's instructions are as untrusted as its descriptions, and tell that the server is there: they are judged by the
same grants, the same selection and the same screening.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

from hub.assembly_parts import Current
from hub.core.call import Item, Principal
from hub.core.ports import Catalog, Endpoint
from hub.downstream.definitions import KINDS
from hub.downstream.pool import Pool
from policies import authorize, endpoint
from policies.detectors.scan import RuleDetector

log = logging.getLogger(__name__)

MAX_CHARS: Final = 8192  # of one server: a model reads them whole, before anything else


class Instructions:
    def __init__(self, current: Current, catalogue: Catalog, pool: Pool) -> None:
        self._current, self._catalogue, self._pool = current, catalogue, pool

    def of(self, name: str, who: Principal) -> str | None:
        """The servers' own, each under its name; names only where tools carry a prefix."""
        chosen = self._current.config.endpoints.get(name)
        if chosen is None:  # it was taken out a moment ago
            return None
        if chosen.instructions is not None:
            return chosen.instructions
        told = self._told(chosen, who)
        if not told:
            return None
        if chosen.prefix == "none":
            return told[0][1]
        return "\n\n".join(f"{server} (its tools start with {server}__): {text}" for server, text in told)

    def _told(self, chosen: Endpoint, who: Principal) -> list[tuple[str, str]]:
        blocks = self._current.config.screening.descriptions
        given = {
            h.server: h.peer.instructions[:MAX_CHARS] for h in self._pool.health() if h.peer and h.peer.instructions
        }
        seen = self._seen(chosen, who, set(given))
        return [
            (server, text)
            for server, text in given.items()
            if server in seen and (blocks == "off" or not _findings(server, text) or blocks == "flag")
        ]

    def _seen(self, chosen: Endpoint, who: Principal, wanted: set[str]) -> set[str]:
        """Of these servers, those with at least one item that this caller is shown here."""
        seen: set[str] = set()
        for kind in KINDS:
            for item in self._catalogue.items(chosen.name, kind, who.account):
                if item.server in wanted and item.server not in seen and _shown(chosen, who, item):
                    seen.add(item.server)
        return seen


def _shown(chosen: Endpoint, who: Principal, item: Item) -> bool:
    return not item.changed and endpoint.refusal(chosen, item) is None and authorize.refusal(who, item) is None


@lru_cache(maxsize=512)
def _findings(server: str, text: str) -> tuple[str, ...]:
    """Judged and reported once per text."""
    found = tuple(finding.rule for finding in RuleDetector().scan(text, "description"))
    if found:
        log.warning("the instructions of %s read like an attack: %s", server, ", ".join(found))
    return found
