"""What the stdio bridge knows of a conversation, so that it survives the hub it was held with.

Owns which requests wait for an answer and what a new hub must be told first. Must not read, write or wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hub.wire import jsonrpc

Id = str | int

STOPPED: Final = "hub_stopped"
UNREACHED: Final = "hub_unreachable"
_CODE: Final = "io.mcp-hub/code"
_REPLAY: Final = "mcp-hub-bridge-"
_LISTS: Final = ("tools", "prompts", "resources")


@dataclass(frozen=True, slots=True)
class _Sent:
    message: dict[str, Any]
    size_bytes: int


class Remembered:
    """Feed it every line that passes; it never fails on one, because judging lines is the hub's part."""

    def __init__(self) -> None:
        self._pending: dict[Id, _Sent] = {}
        self._initialize: dict[str, Any] | None = None  # as the client sent it, once a hub has accepted it
        self._initialized = False
        self._capabilities: dict[str, Any] = {}
        self._level: dict[str, Any] | None = None
        self._subscribed: dict[str, dict[str, Any]] = {}
        self._replayed = 0

    @property
    def waits(self) -> bool:
        """Whether a client that will say no more still waits for an answer; a listen is never done."""
        return any(sent.message["method"] != "subscriptions/listen" for sent in self._pending.values())

    def sent(self, line: bytes) -> None:
        """A line of the client, about to be passed on."""
        for message in _messages(line):
            if jsonrpc.shape(message) == "request":
                self._pending[message["id"]] = _Sent(message, len(line))
            elif message.get("method") == "notifications/initialized":
                self._initialized = True
            elif message.get("method") == "notifications/cancelled":
                self._forget(message.get("params"))

    def received(self, line: bytes) -> bytes | None:
        """A line of the hub: what the client gets of it, or None when it is the bridge's own."""
        for message in _messages(line):
            if "method" in message:
                continue
            id = message.get("id")
            if isinstance(id, str) and id.startswith(_REPLAY):
                return None
            if id is None:
                return self._without_id(message, line)
            sent = self._pending.pop(id, None) if isinstance(id, str | int) else None
            if sent is not None and isinstance(message.get("result"), dict):
                self._settle(sent.message, message["result"])
        return line

    def lost(self) -> list[bytes]:
        """Answers for what was in flight when the hub went away. An `initialize` is kept: it is asked again."""
        answers = [
            jsonrpc.dumps(_stopped(id, sent.message["method"]))
            for id, sent in self._pending.items()
            if sent.message["method"] != "initialize"
        ]
        self._pending = {id: sent for id, sent in self._pending.items() if sent.message["method"] == "initialize"}
        return answers

    def replay(self) -> list[bytes]:
        """What a new hub is told before anything else: the client's legacy session, under ids of the bridge's own."""
        opening = [jsonrpc.dumps(sent.message) for sent in self._pending.values()]
        if self._initialize is None:
            return opening
        requests = [self._initialize, *filter(None, [self._level]), *self._subscribed.values()]
        first, *others = [jsonrpc.dumps({**request, "id": self._own_id()}) for request in requests]
        if not self._initialized:
            return [first, *opening]
        return [first, jsonrpc.dumps(jsonrpc.notification("notifications/initialized", {})), *others, *opening]

    def changed(self) -> list[bytes]:
        """What the client is told once a new hub has taken over: every list it holds may be another one."""
        if not self._initialized:
            return []
        declared = [kind for kind in _LISTS if _declares_changes(self._capabilities.get(kind))]
        return [jsonrpc.dumps(jsonrpc.notification(f"notifications/{kind}/list_changed", {})) for kind in declared]

    def unanswered(self) -> list[bytes]:
        """Answers for what never reached a hub, when none can be reached."""
        text = "no hub can be reached, so nothing was sent; start one with `mcp-hub serve` and try again"
        data = {"_meta": {_CODE: UNREACHED}}
        answers = [jsonrpc.dumps(jsonrpc.error(id, -32603, text, data)) for id in self._pending]
        self._pending = {}
        return answers

    def _forget(self, params: Any) -> None:
        """A cancelled request gets no answer."""
        id = params.get("requestId") if isinstance(params, dict) else None
        if isinstance(id, str | int):
            self._pending.pop(id, None)

    def _settle(self, request: dict[str, Any], result: dict[str, Any]) -> None:
        params = request.get("params")
        uri = params.get("uri") if isinstance(params, dict) else None
        match request["method"]:
            case "initialize":
                self._initialize = request
                capabilities = result.get("capabilities")
                self._capabilities = capabilities if isinstance(capabilities, dict) else {}
            case "logging/setLevel":
                self._level = request
            case "resources/subscribe" if isinstance(uri, str):
                self._subscribed[uri] = request
            case "resources/unsubscribe" if isinstance(uri, str):
                self._subscribed.pop(uri, None)

    def _without_id(self, message: dict[str, Any], line: bytes) -> bytes:
        """The hub could not read the id of a line that was too long for it: the longest that waits is the one."""
        error = message.get("error")
        data = error.get("data") if isinstance(error, dict) else None
        meta = data.get("_meta") if isinstance(data, dict) else None
        if not self._pending or not isinstance(meta, dict) or meta.get(_CODE) != "too_large":
            return line
        id = max(self._pending, key=lambda id: self._pending[id].size_bytes)
        del self._pending[id]
        return jsonrpc.dumps({**message, "id": id})

    def _own_id(self) -> str:
        self._replayed += 1
        return f"{_REPLAY}{self._replayed}"


def _stopped(id: Id, method: str) -> dict[str, Any]:
    """The answer to a request whose hub went away before it answered."""
    text = "the hub stopped before it answered; send the request again"
    if method == "tools/call":
        text = "the hub stopped during this call: whether it took effect is unknown; check before you repeat it"
    return jsonrpc.error(id, -32603, text, {"_meta": {_CODE: STOPPED}})


def _declares_changes(capability: Any) -> bool:
    return isinstance(capability, dict) and capability.get("listChanged") is True


def _messages(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        message = jsonrpc.loads(line)
    except jsonrpc.Malformed:
        return
    yield from (m for m in (message if isinstance(message, list) else [message]) if isinstance(m, dict))
