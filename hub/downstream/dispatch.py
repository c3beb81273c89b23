"""The last step of every call: the one part of the pipeline that reaches a downstream.

Puts native names in on the way down and public uris on the way up, and says for every failure what is known of its
effect. It judges nobody, retries nothing, and passes on neither the client's protocol metadata nor errors of the hop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol, assert_never

from hub.core.call import (
    EMPTY,
    Asked,
    Call,
    Denied,
    Done,
    Effect,
    HubOwned,
    Item,
    Json,
    Listed,
    Listing,
    One,
    Outcome,
    Several,
    Unresolved,
)
from hub.core.errors import DownstreamError, Garbled, Late, Lost, NeedsLogin, Oversize, Refused, Unreachable
from hub.core.names import public_uri, publish_result
from hub.core.ports import Catalog, Next, Offer, Offers, PrefixRule
from hub.downstream import login_offer
from hub.downstream.link import Exchange, Link, ServerSpec
from hub.downstream.login_tool import NATIVE as LOG_IN
from hub.downstream.login_tool import is_login_tool
from hub.downstream.rounds import Rounds, answers_of
from hub.wire.asking import (
    MAY_ASK,
    MISSING_CAPABILITY,
    RESPONSES,
    STATE,
    Undeclared,
    missing,
    questions,
    relayable,
)
from hub.wire.headers import param_headers
from hub.wire.seal import Opened

_HOP_META: Final = "io.modelcontextprotocol/"
_HOP_META_KEYS: Final = frozenset({"progressToken", "traceparent", "tracestate", "baggage"})
_HOP_PARAMS: Final = frozenset({"_meta", "task", "inputResponses", "requestState"})  # they need state of the other side
_METHOD_NOT_FOUND: Final = -32601
_HOP_CODES: Final = frozenset({-32700, -32600, _METHOD_NOT_FOUND})
_HOP_RANGE: Final = range(-32099, -32019)  # the protocol's own: headers, versions, capabilities, elicitation
_NO_RESOURCE: Final = frozenset({-32002, -32602})  # legacy, modern; of resources/read only
_MAX_MESSAGE: Final = 4096
_LISTENERS_AT_ONCE: Final = 16


class Links(Protocol):
    """What reaches downstreams. `account` is whose account there a call uses; "" where that makes no difference."""

    def link(self, server: str, account: str) -> Link:
        """The link in force. Raises Unreachable or NeedsLogin."""

    async def started(self, server: str, account: str, timeout_s: float) -> Link:
        """As `link`, but a server in its first start is waited for, and a link of the account's own is opened."""

    def connected(self, server: str, account: str) -> bool:
        """Whether the account has a connection of its own there."""

    def spec(self, server: str) -> ServerSpec | None: ...


class Shelves(Catalog, Protocol):
    """The catalogue, as dispatch needs it."""

    def prefix(self, endpoint: str) -> PrefixRule: ...

    async def subscribe(self, item: Item, link: Link, account: str = "") -> bool:
        """False when the server does not report on resources. Raises DownstreamError."""


class Dispatch:
    name = "dispatch"

    def __init__(
        self,
        catalog: Shelves,
        links: Links,
        rounds: Rounds | None = None,
        offers: Offers | None = None,
        *,
        cold_s: float = 3.0,
        cold_stdio_s: float = 10.0,
    ) -> None:
        """`cold_s`: how long a list or call waits for servers in their first start; longer where hosts start it.

        Without `rounds`, questions that are open end with this process; without `offers`, nobody can log in.
        """
        self._catalog, self._links, self._rounds = catalog, links, rounds or Rounds.of_this_process()
        self._offers = offers
        self._cold_s, self._cold_stdio_s = cold_s, cold_stdio_s

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        match call.target:  # in the order of how often they come
            case One(item):
                if (STATE in call.params or RESPONSES in call.params) and call.client.era == "modern":
                    return await self._again(call, item)
                return await self._one(call, item)
            case Listing(kind):
                account = call.who.account
                await self._catalog.settled(call.endpoint, self._patience_s(call), account)
                return Listed(self._catalog.items(call.endpoint, kind, account))
            case Several(items):
                return await self._several(call, items)
            case HubOwned():
                return Done(EMPTY)
            case Unresolved():
                return Denied("internal", "dispatch: target was never resolved", effect=Effect.NONE)
            case other:
                assert_never(other)

    async def _again(self, call: Call, item: Item) -> Outcome:
        """A call with answers to what its server asked: they go to that server, and nowhere else.

        What answers the hub's own question, whether to log in, goes nowhere: then the call goes on as a new one.
        """
        if call.method not in MAY_ASK:
            return await self._one(call, item)
        opened = self._rounds.retried(call, item)
        if isinstance(opened, Denied):
            return opened
        if opened is not None and opened.login is not None:
            outcome = await self._after_login(call, item, opened.server, opened.login)
        else:
            outcome = await self._one(call, item, opened, answers_of(call, opened))
        if opened is not None and isinstance(outcome, Denied) and outcome.effect is Effect.NONE:
            self._rounds.give_back(call, item, opened)
        return outcome

    async def _one(self, call: Call, item: Item, opened: Opened | None = None, answers: Json = EMPTY) -> Outcome:
        server = item.server if call.route is None else call.route.server
        if opened is not None:
            server = opened.server
        spec = self._links.spec(server)
        if spec is None:
            return denial(call, Unreachable(server, "is not configured"))
        if server != item.server and spec.variant_of != item.server:  # the caller's grants were judged for that one
            return Denied("internal", f"route: {server} is no variant of {item.server}", effect=Effect.NONE)
        if item.native == LOG_IN and is_login_tool(item):
            return await self._log_in(call, item)
        exchange = _exchange(call, item, spec)
        try:
            link = await self._link(call, spec)
            params = _params(call, item)
            if answers and link.peer.era == "modern":
                params = {**params, **answers}
            elif opened is not None and link.peer.era != "modern":  # it could not hear what the user answered
                return Denied("state_refused", "its server speaks another protocol now", effect=Effect.NONE)
            result = await link.request(call.method, params, exchange)
            if _is_question(call, link, server, result):
                return self._asked(call, item, server, result)
        except DownstreamError as exc:
            return self._failed(call, item, exc)
        if self._catalog.prefix(call.endpoint) == "server":  # names stay those of the item's own server
            result = publish_result(result, partial(public_uri, item.server))
        if link.peer.era == "legacy" and "ttlMs" in result:  # means nothing in that era: no promise to any client
            result = {key: value for key, value in result.items() if key != "ttlMs"}
        return Done(result, size_bytes=exchange.size_bytes)

    def _asked(self, call: Call, item: Item, server: str, result: Json) -> Outcome:
        """The question, under the hub's own seal; a client that cannot be asked is told so."""
        client = call.client
        asked = questions(result, client.capabilities if client.era == "modern" else EMPTY)
        if isinstance(asked, str):
            raise Garbled(server, f"it asks what nobody can answer: {asked}")
        if client.era == "legacy":
            return _unheard(server, "it asks for input")
        if isinstance(asked, Undeclared):
            return _lacking(server, asked.required, "it asks for what the client did not declare")
        return Asked(asked.requests, self._rounds.asked(call, item, server, asked.state))

    def _failed(self, call: Call, item: Item, exc: DownstreamError) -> Outcome:
        """Where a login is what is missing, and its caller can make it: the page for it."""
        if type(exc) is NeedsLogin and self._offers is not None:
            spec = self._links.spec(exc.server)
            offer = self._offers.offer(call.who, exc.server) if spec is not None and spec.auth is not None else None
            if offer is not None:
                return self._offered(call, item, exc.server, offer, str(exc))
        return denial(call, exc)

    def _offered(self, call: Call, item: Item, server: str, offer: Offer, reason: str) -> Outcome:
        if login_offer.can_be_asked(call):
            return login_offer.asked(server, offer, self._rounds.offered(call, item, server, offer.id))
        return login_offer.denied(server, offer, reason)

    async def _after_login(self, call: Call, item: Item, server: str, login: str) -> Outcome:
        """The user was asked to log in: the call goes on if he did, or is asked again."""
        offers = self._offers
        if login_offer.is_declined(call.params):
            return login_offer.declined(server)
        if offers is not None and await offers.finished(login, login_offer.patience_s(call)):
            return login_offer.connected(server) if is_login_tool(item) else await self._one(call, item)
        if offers is None or self._links.connected(server, call.who.account):  # by a page that this hub knows no more
            return await self._one(call, item)
        offer = offers.offer(call.who, server)
        if offer is None:
            return await self._one(call, item)
        return self._offered(call, item, server, offer, "the login has not ended yet")

    async def _log_in(self, call: Call, item: Item) -> Outcome:
        """The hub's own tool. Whether a connection still is one, its server knows: it is asked for its list."""
        server, account = item.server, call.who.account
        try:
            spec = self._links.spec(server)
            if spec is None or not self._links.connected(server, account):
                raise NeedsLogin(server, "the caller has no account connected there")
            link = await self._link(call, spec)
            if "tools" in link.peer.capabilities:
                list_s = spec.timeouts.list_s
                await link.request("tools/list", {}, Exchange(list_s, monotonic() + list_s, spec.max_result_bytes))
        except DownstreamError as exc:
            return self._failed(call, item, exc)
        return login_offer.connected_already(server)

    async def _link(self, call: Call, spec: ServerSpec) -> Link:
        """Items of the last-known list are callable before their server is up: the first call waits for it."""
        account = "" if spec.auth is None else call.who.account
        try:
            return self._links.link(spec.id, account)
        except Unreachable:
            return await self._links.started(spec.id, account, self._patience_s(call))

    def _patience_s(self, call: Call) -> float:
        return self._cold_stdio_s if call.client.transport == "stdio" else self._cold_s

    async def _several(self, call: Call, items: tuple[Item, ...]) -> Outcome:
        """`Done.result["uris"]`: those of the resources whose updates will be told, as this client calls them."""
        if call.method == "resources/unsubscribe":
            return Done(EMPTY)  # others may still listen; the edge tells this client no more
        gate = asyncio.Semaphore(_LISTENERS_AT_ONCE)
        answers = await asyncio.gather(*(self._subscribe(call, gate, item) for item in items))
        if call.method == "resources/subscribe":
            for answer in answers:
                if isinstance(answer, DownstreamError):
                    return self._failed(call, items[0], answer)
                if not answer:
                    told = f"Server '{items[0].server}' does not report on its resources."
                    return Denied("unsupported", "no resource subscriptions", told, effect=Effect.NONE)
        heard = [item.shown["uri"] for item, answer in zip(items, answers, strict=True) if answer is True]
        return Done({"uris": heard})

    async def _subscribe(self, call: Call, gate: asyncio.Semaphore, item: Item) -> bool | DownstreamError:
        account = call.who.account
        async with gate:
            try:
                if self._links.connected(item.server, account):  # a link that is open while it is used
                    link = await self._links.started(item.server, account, self._patience_s(call))
                    return await self._catalog.subscribe(item, link, account)
                return await self._catalog.subscribe(item, self._links.link(item.server, ""))
            except DownstreamError as exc:
                return exc


def _exchange(call: Call, item: Item, spec: ServerSpec) -> Exchange:
    client, timeouts, hard = call.client, spec.timeouts, monotonic() + spec.timeouts.hard_s
    return Exchange(
        timeouts.call_s,
        hard if hard < call.deadline else call.deadline,
        spec.max_result_bytes,
        client.back.notify if client.wants_progress or client.log_level is not None else None,
        call.trace,
        client.log_level,
        headers=_headers(call, item) if spec.transport == "http" and item.kind == "tool" else EMPTY,
        capabilities=_declared(call) if client.capabilities else EMPTY,
    )


def _declared(call: Call) -> Json:
    """The client's capabilities as its server may rely on them: legacy ones belong to a session, not to a request."""
    client = call.client
    return relayable(client.capabilities) if client.era == "modern" and call.method in MAY_ASK else EMPTY


def _headers(call: Call, item: Item) -> Mapping[str, str]:
    return param_headers(item.sha256, item.definition["inputSchema"], call.arguments)


def _params(call: Call, item: Item) -> Json:
    """The client's params under the downstream's names, without what was said to the hub alone."""
    given = call.params
    params: dict[str, Any] = {key: value for key, value in given.items() if key not in _HOP_PARAMS}
    if call.method == "completion/complete":
        params["ref"] = {**given["ref"], ("name" if item.kind == "prompt" else "uri"): item.native}
    else:
        params["uri" if call.method == "resources/read" else "name"] = item.native
    meta = given.get("_meta")
    if meta is not None and isinstance(meta, Mapping):
        kept = [key for key in meta if not key.startswith(_HOP_META) and key not in _HOP_META_KEYS]
        if kept:
            params["_meta"] = {key: meta[key] for key in kept}
    return params


def _is_question(call: Call, link: Link, server: str, result: object) -> bool:
    if not isinstance(result, Mapping):
        raise Garbled(server, "the result is no object")
    kind = result.get("resultType", "complete")
    if kind == "complete":
        return False
    if kind != "input_required" or link.peer.era != "modern" or call.method not in MAY_ASK:
        raise Garbled(server, "the result is of a type that was not asked for")
    return True


def _unheard(server: str, reason: str) -> Denied:
    return Denied("input_required", f"{server}: {reason}", f"It is server '{server}'; nothing was done.", Effect.NONE)


def _lacking(server: str, required: Json, reason: str) -> Denied:
    """`required`: capabilities of the client, by names that the hub relays."""
    told = f"It is server '{server}'; it needs {' and '.join(sorted(required))}."
    relayed = {"code": MISSING_CAPABILITY, "message": told, "data": {"requiredCapabilities": required}}
    return Denied("missing_capability", f"{server}: {reason}", told, Effect.NONE, relayed=relayed)


def denial(call: Call, exc: DownstreamError) -> Denied:
    """What a downstream's failure is to the caller: the server named, and none of the hop's own words.

    `told` stands between what the row of the code says and its next step.
    """
    reason, name = str(exc), f"'{exc.server}'"
    match exc:
        case Refused():
            return _refused(call, exc, reason)
        case Unreachable():
            told = f"It is server {name}; its operator sees the cause with `mcp-hub servers test {exc.server}`."
            return Denied("downstream_down", reason, told, Effect.NONE)
        case NeedsLogin():
            return Denied("needs_login", reason, f"It is server {name}; nothing was done.", Effect.NONE)
        case Late():
            return Denied("downstream_late", reason, f"It is server {name}.", Effect.UNKNOWN)
        case Lost():
            return Denied("downstream_lost", reason, f"It is server {name}.", Effect.UNKNOWN)
        case Oversize():
            return Denied("too_large", reason, f"It came from server {name}.", Effect.UNKNOWN)
        case _:
            return Denied("downstream_garbled", reason, f"It is server {name}.", Effect.UNKNOWN)


def _refused(call: Call, exc: Refused, reason: str) -> Denied:
    code, message = exc.error.get("code"), exc.error.get("message")
    if isinstance(code, bool) or not isinstance(code, int):
        code = None
    if call.method == "resources/read" and code in _NO_RESOURCE:
        return Denied("unknown_item", reason, effect=Effect.DONE)
    if call.method == "completion/complete" and code == _METHOD_NOT_FOUND:
        return Denied("unsupported", reason, f"Server '{exc.server}' has no completions.", Effect.DONE)
    if code == MISSING_CAPABILITY and call.method in MAY_ASK:
        modern, data = call.client.era == "modern", exc.error.get("data")
        required = data.get("requiredCapabilities") if isinstance(data, Mapping) else None
        lacking = missing(required, call.client.capabilities if modern else EMPTY)
        if lacking:
            return _lacking(exc.server, lacking, reason) if modern else _unheard(exc.server, reason)
    if code is None or code in _HOP_CODES or code in _HOP_RANGE or not isinstance(message, str):
        told = f"Server '{exc.server}' does not take such requests from the hub; its operator should look at it."
        return Denied("downstream_error", reason, told, Effect.UNKNOWN)
    relayed: dict[str, Any] = {"code": code, "message": message[:_MAX_MESSAGE]}
    if "data" in exc.error:
        relayed["data"] = exc.error["data"]
    return Denied("downstream_error", reason, f"It is server '{exc.server}'.", Effect.DONE, relayed=relayed)
