"""One legacy client from its `initialize` on: what it negotiated, its log level, its subscriptions.

Answers requests and collects news; knows neither what carries the messages nor how long the session lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from hub.core.call import EMPTY, Back, Call, Client, Done, Json, Kind, Mute, Outcome, Principal
from hub.core.ids import new_call_id
from hub.core.ports import Change, Endpoint
from hub.edge.announcements import Announcements
from hub.edge.ports import EdgePorts
from hub.edge.refused import invalid, refuse
from hub.wire import encode, jsonrpc
from hub.wire.decode import LOG_LEVELS, Refusal, Transport, decode, legacy_client, progress_token, trace
from hub.wire.jsonrpc import INVALID_PARAMS
from hub.wire.pages import Pages

SUBSCRIPTIONS: Final = 1000  # of one session
BATCH_REVISION: Final = "2025-03-26"  # the only one in which messages may come in batches

Message = dict[str, Any]

LIST_CHANGED: Final[Mapping[Kind, str]] = {
    "tool": "notifications/tools/list_changed",
    "prompt": "notifications/prompts/list_changed",
    "resource": "notifications/resources/list_changed",
    "template": "notifications/resources/list_changed",
}
UPDATED: Final = "notifications/resources/updated"
_SUBSCRIBING: Final = frozenset({"resources/subscribe", "resources/unsubscribe"})


def initialize_fault(message: Json) -> str | None:
    """Why this `initialize` request cannot be accepted, in words for the client."""
    params = message.get("params", EMPTY)
    if not isinstance(params.get("protocolVersion"), str):
        return "params.protocolVersion must be a string"
    if not isinstance(params.get("capabilities", EMPTY), Mapping):
        return "params.capabilities must be an object"
    if not isinstance(params.get("clientInfo", EMPTY), Mapping):
        return "params.clientInfo must be an object"
    return None


class LegacySession:
    def __init__(
        self, ports: EdgePorts, who: Principal, endpoint: Endpoint, transport: Transport, params: Json, pages: Pages
    ) -> None:
        """`params` are those of the `initialize`; `initialize_fault` found nothing wrong with them."""
        self.client: Client = legacy_client(params, transport, Mute())
        self.level: str | None = None  # of log messages; a session that never set one gets none
        self._ports, self._endpoint, self._pages = ports, endpoint, pages
        self.who = who  # as the last request found its caller: what a credential reaches may change under a session
        self._subscribed: dict[tuple[str, str], str] = {}  # (server, native uri): the uri as this client knows it
        self.news = Announcements()  # whoever carries them asks `may_tell` first
        self._unwatch: Callable[[], None] | None = None

    @property
    def takes_batches(self) -> bool:
        return self.client.revision == BATCH_REVISION

    def opening(self) -> Message:
        """The result of the `initialize`."""
        ports, name = self._ports, self._endpoint.name
        result: Message = {
            "protocolVersion": self.client.revision,
            "capabilities": {**ports.catalog.capabilities(name, self.who.account), "logging": {}},
            "serverInfo": ports.server_info,
        }
        if (instructions := ports.instructions(name, self.who)) is not None:
            result["instructions"] = instructions
        return result

    def begin(self) -> bool:
        """The client is ready: collect news for it from now on, until `end`. False when it had begun already."""
        if self._unwatch is not None:
            return False
        self._unwatch = self._ports.changes.watch(self._endpoint.name, self._note, self.who.account)
        return True

    def end(self) -> None:
        self.news.close()
        self._subscribed.clear()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    async def may_tell(self, news: Json) -> bool:
        """Whether the client may still hear this: the pipeline judges again, so that a revocation reaches it."""
        uri = news["params"].get("uri")
        if uri is None:
            return True
        name, deadline = self._endpoint.name, monotonic() + self._ports.limits.call_s
        call = Call(new_call_id(), self.who, name, "resources/subscribe", {"uri": uri}, self.client, deadline)
        return isinstance(await self._ports.handle(call), Done)

    async def answer(self, message: Json, *, call_id: str, size_bytes: int, back: Back | None) -> Message:
        """The response to one well-formed request."""
        method: str = message["method"]
        params: Json = message.get("params", EMPTY)
        request_id: jsonrpc.Id = message["id"]
        if method == "ping":
            return jsonrpc.result(request_id, {})
        if method == "initialize":
            return self._refuse(request_id, call_id, invalid("this session is initialized already"))
        if method == "logging/setLevel":
            return self._set_level(request_id, call_id, params)
        client = self._heard(params, back)
        deadline = monotonic() + self._ports.limits.call_s
        if method in _SUBSCRIBING:
            if not isinstance(params.get("uri"), str):
                return self._refuse(request_id, call_id, Refusal(INVALID_PARAMS, "params.uri must be a string"))
            name = self._endpoint.name
            call = Call(call_id, self.who, name, method, params, client, deadline, size_bytes, trace(params))
            return await self._subscribe(request_id, call)
        decoded = decode(
            message,
            call_id=call_id,
            who=self.who,
            endpoint=self._endpoint.name,
            client=client,
            size_bytes=size_bytes,
            deadline=deadline,
        )
        if isinstance(decoded, Refusal):
            return self._refuse(request_id, call_id, decoded)
        return self._encoded(request_id, decoded, await self._ports.handle(decoded))

    def _heard(self, params: Json, back: Back | None) -> Client:
        """The client as one request of it wants to be told things; most want nothing."""
        wants_progress = progress_token(params) is not None
        if back is None and self.level is None and not wants_progress:
            return self.client
        heard = self.client.back if back is None else back
        return replace(self.client, back=heard, log_level=self.level, wants_progress=wants_progress)

    def _set_level(self, request_id: jsonrpc.Id, call_id: str, params: Json) -> Message:
        level = params.get("level")
        if level not in LOG_LEVELS:
            text = f"params.level must be one of {', '.join(LOG_LEVELS)}"
            return self._refuse(request_id, call_id, Refusal(INVALID_PARAMS, text))
        self.level = level
        return jsonrpc.result(request_id, {})

    async def _subscribe(self, request_id: jsonrpc.Id, call: Call) -> Message:
        """The pipeline judges; what it allows is remembered here."""
        uri: str = call.params["uri"]
        subscribes = call.method == "resources/subscribe"
        if subscribes and len(self._subscribed) >= SUBSCRIPTIONS:
            text = f"a session may hold {SUBSCRIPTIONS} subscriptions; unsubscribe from some first"
            return self._refuse(request_id, call.id, invalid(text), "too_many")
        outcome = await self._ports.handle(call)
        if not isinstance(outcome, Done):
            return self._encoded(request_id, call, outcome)
        item = self._ports.catalog.resolve(self._endpoint.name, "resource", uri, self.who.account)
        if item is not None and subscribes:
            self._subscribed[(item.server, item.native)] = uri
        elif item is not None:
            self._subscribed.pop((item.server, item.native), None)
        return jsonrpc.result(request_id, {})

    def _note(self, change: Change) -> None:
        if change.item is None:
            self.news.add(LIST_CHANGED[change.kind], {})
        elif (uri := self._subscribed.get((change.item.server, change.item.native))) is not None:
            self.news.add(UPDATED, {"uri": uri})

    def _encoded(self, request_id: jsonrpc.Id, call: Call, outcome: Outcome) -> Message:
        encoded = encode.answer(
            call,
            outcome,
            request_id=request_id,
            server_info=self._ports.server_info,
            pages=self._pages,
            page_size=self._endpoint.page_size,
        )
        return dict(encoded.message)

    def _refuse(self, request_id: jsonrpc.Id, call_id: str, refusal: Refusal, code: str | None = None) -> Message:
        return refuse(self._ports, refusal, request_id=request_id, call_id=call_id, code=code)
