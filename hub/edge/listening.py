"""One `subscriptions/listen` on a duplex channel: how much of it is honoured, and the frames it gets.

Knows nothing of what carries the frames. What a client may hear of a resource is the pipeline's to say, when it
subscribes and again for every event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hub.core.call import EMPTY, Call, Denied, Done, Json, Kind, Outcome
from hub.core.ids import new_call_id
from hub.core.ports import Change
from hub.edge.announcements import Announcements
from hub.edge.listen import Filter
from hub.edge.ports import EdgePorts
from hub.wire import jsonrpc
from hub.wire.decode import SUBSCRIPTION_KEY

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
UPDATED: Final = "notifications/resources/updated"

_GROUPS: Final[Mapping[str, str]] = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
_FLAGS: Final[Mapping[Kind, str]] = {
    "tool": "toolsListChanged",
    "prompt": "promptsListChanged",
    "resource": "resourcesListChanged",
    "template": "resourcesListChanged",
}


class NotHeard(Exception):
    """The listen is refused before anything is told."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.code)
        self.denied = denied


class Listening:
    """Open with `honour`, read with `next` until it gives None, and always `close`."""

    def __init__(self, ports: EdgePorts, call: Call, request_id: jsonrpc.Id) -> None:
        self._ports, self._call, self._id = ports, call, request_id
        self._flags: frozenset[str] = frozenset()
        self._uris: dict[tuple[str, str], str] = {}  # (server, native uri): the uri as this client knows it
        self._news = Announcements()
        self._unwatch = ports.changes.watch(call.endpoint, self._note, call.who.account)

    async def honour(self, asked: Filter) -> dict[str, Any]:
        """The acknowledgement, with the subset that will be told: the first frame. Raises `NotHeard`."""
        catalog, account = self._ports.catalog, self._call.who.account
        capabilities = catalog.capabilities(self._call.endpoint, account)
        self._flags = frozenset(flag for flag in asked.flags if _declares_changes(capabilities, _GROUPS[flag]))
        outcome = await self._ask(self._call.id, asked.uris)  # also without uris: it is limited, and logged
        if isinstance(outcome, Denied) and outcome.code != "unknown_item":
            raise NotHeard(outcome)
        for uri in _heard(outcome, asked.uris):
            item = catalog.resolve(self._call.endpoint, "resource", uri, account)
            if item is not None:
                self._uris[(item.server, item.native)] = uri
        granted: dict[str, Any] = {flag: True for flag in _GROUPS if flag in self._flags}
        if self._uris:
            granted["resourceSubscriptions"] = list(self._uris.values())
        return jsonrpc.notification(ACKNOWLEDGED, self._stamped({"notifications": granted}))

    async def next(self) -> dict[str, Any] | None:
        """The next frame; None once it is to end with its closing result."""
        while (frame := await self._news.next()) is not None:
            uri = frame["params"].get("uri")
            if uri is None or _heard(await self._ask(new_call_id(), [uri]), [uri]):
                return frame
        return None

    def end(self) -> None:
        self._news.close()

    def close(self) -> None:
        self._unwatch()

    def closing(self) -> Json:
        """The result that ends it, before the era's own envelope."""
        return self._stamped(EMPTY)

    def _note(self, change: Change) -> None:
        if change.item is None:
            flag = _FLAGS[change.kind]
            if flag in self._flags:
                self._news.add(f"notifications/{_GROUPS[flag]}/list_changed", self._stamped(EMPTY))
        elif (uri := self._uris.get((change.item.server, change.item.native))) is not None:
            self._news.add(UPDATED, self._stamped({"uri": uri}))

    async def _ask(self, call_id: str, uris: Sequence[str]) -> Outcome:
        return await self._ports.handle(replace(self._call, id=call_id, params={"uris": list(uris)}))

    def _stamped(self, params: Json) -> dict[str, Any]:
        return {**params, "_meta": {SUBSCRIPTION_KEY: self._id}}


def _heard(outcome: Outcome, uris: Sequence[str]) -> list[str]:
    """Those of the uris that this caller may hear of now."""
    heard = outcome.result.get("uris", ()) if isinstance(outcome, Done) else ()
    return [uri for uri in uris if uri in heard]


def _declares_changes(capabilities: Json, group: str) -> bool:
    settings = capabilities.get(group)
    return isinstance(settings, Mapping) and settings.get("listChanged") is True
