"""The last step: native names down, public uris up, nothing of the hop either way, and the truth about effects."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import pytest

from hub.core.call import (
    UNRESOLVED,
    Call,
    Client,
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
    Principal,
    Route,
    Several,
    Target,
)
from hub.core.errors import (
    DownstreamError,
    Garbled,
    Late,
    Lost,
    NeedsLogin,
    Oversize,
    Refused,
    Unreachable,
)
from hub.core.ports import Endpoint, Offers
from hub.downstream.dispatch import Dispatch
from hub.downstream.link import Link, ServerSpec, Timeouts
from hub.downstream.own_catalog import OwnCatalogue
from hub.wire.encode import answer
from hub.wire.pages import Pages
from tests.downstream.catalog_fakes import FakeLink, Hub, link, peer, prompt, resource, spec, template, tool, until

BARE = Endpoint("bare", frozenset({"srv"}), "none")
WHO = Principal("local", "local:client", "c", frozenset({"mcp"}))


@dataclass
class FakeLinks:
    """One link a server, whoever calls; where an account was named it is noted."""

    links: dict[str, FakeLink]
    specs: dict[str, ServerSpec]
    down: dict[str, DownstreamError] = field(default_factory=dict)
    starting: set[str] = field(default_factory=set)  # comes up when it is waited for
    waits: list[tuple[str, float]] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)  # servers where every account has a connection of its own

    def link(self, server: str, account: str) -> FakeLink:
        self.accounts.append(account)
        if server in self.down:
            raise self.down[server]
        return self.links[server]

    async def started(self, server: str, account: str, timeout_s: float) -> FakeLink:
        self.waits.append((server, timeout_s))
        if server in self.starting:
            del self.down[server]
        return self.link(server, account)

    def connected(self, server: str, account: str) -> bool:
        return server in self.holds

    def spec(self, server: str) -> ServerSpec | None:
        return self.specs.get(server)


class NoAccounts:
    """Nobody has a connection of his own."""

    def shared(self, server: str) -> None: ...

    def own(self, server: str, account: str) -> None: ...


async def nothing_opened(server: str, account: str) -> Link:
    raise AssertionError("there are no accounts")


class Rig:
    """A started catalogue with one server, and a dispatch over it."""

    def __init__(self, offers: Offers | None = None, **given: Any) -> None:
        self.spec = spec(**given)
        canary = spec("canary", variant_of="srv")
        self.hub = Hub(self.spec, canary, endpoints=(Endpoint(""), BARE))
        self.up, self.canary = link([tool()], [prompt()], [resource()], [template()]), link()
        self.pool = FakeLinks({"srv": self.up, "canary": self.canary}, {"srv": self.spec, "canary": canary})
        self.catalog = OwnCatalogue(self.hub.catalog, NoAccounts(), nothing_opened)
        self.dispatch = Dispatch(self.catalog, self.pool, None, offers, cold_s=0.01, cold_stdio_s=5.0)

    async def __aenter__(self) -> Rig:
        await self.hub.__aenter__()
        await self.hub.up(self.up)
        self.up.asked.clear()
        self.up.exchanges.clear()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.catalog.aclose()
        await self.hub.__aexit__()

    def item(self, kind: Any = "tool", endpoint: str = "") -> Item:
        return self.hub.catalog.items(endpoint, kind)[0]

    async def ask(self, method: str, params: Json, target: Target, **given: Any) -> Outcome:
        return await self.dispatch(a_call(method, params, target, **given), no_next)


def a_call(method: str, params: Json, target: Target, **given: Any) -> Call:
    given = {"endpoint": "", "client": Client("modern", "2026-07-28"), "deadline": monotonic() + 60, **given}
    return Call("1", WHO, method=method, params=params, target=target, **given)


async def no_next(call: Call) -> Outcome:
    raise AssertionError("dispatch has no next")


@pytest.mark.parametrize(
    ("method", "kind", "params", "sent"),
    [
        (
            "tools/call",
            "tool",
            {"name": "srv__t", "arguments": {"a": 1}, "x": 2},
            {"name": "t", "arguments": {"a": 1}, "x": 2},
        ),
        ("prompts/get", "prompt", {"name": "srv__p"}, {"name": "p"}),
        ("resources/read", "resource", {"uri": "srv+doc://r"}, {"uri": "doc://r"}),
        (
            "completion/complete",
            "prompt",
            {"ref": {"type": "ref/prompt", "name": "srv__p", "title": "P"}, "argument": {"name": "a", "value": ""}},
            {"ref": {"type": "ref/prompt", "name": "p", "title": "P"}, "argument": {"name": "a", "value": ""}},
        ),
        (
            "completion/complete",
            "template",
            {"ref": {"type": "ref/resource", "uri": "srv+doc://{id}"}, "argument": {"name": "id", "value": "1"}},
            {"ref": {"type": "ref/resource", "uri": "doc://{id}"}, "argument": {"name": "id", "value": "1"}},
        ),
    ],
)
async def test_the_downstream_reads_its_own_names(method: str, kind: Any, params: Any, sent: Any) -> None:
    async with Rig() as rig:
        before = repr(params)
        outcome = await rig.ask(method, params, One(rig.item(kind)))
        assert outcome == Done({}, size_bytes=10)
        assert rig.up.asked == [(method, sent)]
        assert repr(params) == before


async def test_the_first_call_waits_for_a_server_whose_list_is_from_before_the_start() -> None:
    """Else everything that a restarted hub lists would fail until its servers are up."""
    async with Rig() as rig:
        rig.pool.down["srv"] = Unreachable("srv", "it is still starting")
        rig.pool.starting.add("srv")
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert outcome == Done({}, size_bytes=10)
        assert rig.pool.waits == [("srv", 0.01)]
        await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert len(rig.pool.waits) == 1


async def test_metadata_of_the_hop_stays_and_the_clients_own_goes_down() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
        "progressToken": 7,
        "traceparent": "00-1-2-01",
        "com.example/tenant": "x",
    }
    async with Rig() as rig:
        params = {"name": "srv__t", "_meta": meta, "task": {}}
        await rig.ask("tools/call", params, One(rig.item()))
        await rig.ask("tools/call", {"name": "srv__t", "_meta": {"progressToken": 1}}, One(rig.item()))
        await rig.ask("tools/call", {"name": "srv__t", "_meta": 5}, One(rig.item()))
        assert rig.up.asked == [
            ("tools/call", {"name": "t", "_meta": {"com.example/tenant": "x"}}),
            ("tools/call", {"name": "t"}),
            ("tools/call", {"name": "t"}),
        ]


async def test_the_result_is_whole_and_its_structured_uris_are_public() -> None:
    result = {
        "content": [{"type": "resource_link", "uri": "doc://r", "odd": 1}, {"type": "text", "text": "doc://r"}],
        "structuredContent": None,
        "odd": 2**70,
        "isError": True,
    }
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [result, result]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Done)
        link_block, text = outcome.result["content"]
        assert link_block == {"type": "resource_link", "uri": "srv+doc://r", "odd": 1}
        assert text == {"type": "text", "text": "doc://r"}
        assert {k: v for k, v in outcome.result.items() if k != "content"} == {
            "structuredContent": None,
            "odd": 2**70,
            "isError": True,
        }
        bare = await rig.ask("tools/call", {"name": "t"}, One(rig.item(endpoint="bare")), endpoint="bare")
        assert isinstance(bare, Done)
        assert bare.result is result


@pytest.mark.parametrize(("era", "ttl"), [("legacy", 0), ("modern", 900)])
async def test_only_what_a_modern_server_promises_is_promised_of_what_was_read(era: Any, ttl: int) -> None:
    async with Rig() as rig:
        rig.up.peer = peer(era=era)
        rig.up.answers["resources/read"] = [{"contents": [], "ttlMs": 900, "cacheScope": "public"}]
        call = a_call("resources/read", {"uri": "srv+doc://r"}, One(rig.item("resource")))
        outcome = await rig.dispatch(call, no_next)
        made = answer(call, outcome, request_id=1, server_info={}, pages=Pages(b"k" * 32)).message["result"]
        assert (made["ttlMs"], made["cacheScope"]) == (ttl, "private")


async def test_a_routed_call_goes_to_the_variant_under_the_names_of_the_server() -> None:
    async with Rig() as rig:
        rig.canary.answers["tools/call"] = [{"content": [{"type": "resource_link", "uri": "doc://r"}]}]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()), route=Route("canary", "test"))
        assert rig.up.asked == []
        assert rig.canary.asked == [("tools/call", {"name": "t"})]
        assert isinstance(outcome, Done)
        assert outcome.result["content"][0]["uri"] == "srv+doc://r"


async def test_a_route_to_nowhere_is_down_and_nothing_was_sent() -> None:
    async with Rig() as rig:
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()), route=Route("gone", "test"))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("downstream_down", Effect.NONE)


async def test_a_router_reaches_no_server_that_the_caller_was_not_judged_for() -> None:
    async with Rig() as rig:
        other = replace(rig.item(), server="elsewhere", name="elsewhere__t")
        outcome = await rig.ask("tools/call", {"name": "elsewhere__t"}, One(other), route=Route("canary", "a bug"))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("internal", Effect.NONE)
        assert rig.canary.asked == rig.up.asked == []


async def test_limits_and_the_way_back_are_those_of_the_spec_and_the_client() -> None:
    async with Rig(timeouts=Timeouts(call_s=7, hard_s=20), max_result_bytes=123) as rig:
        quiet = Client("modern", "2026-07-28")
        item = One(rig.item())
        for client in (quiet, replace(quiet, wants_progress=True), replace(quiet, log_level="info")):
            await rig.ask("tools/call", {"name": "srv__t"}, item, client=client, trace={"traceparent": "x"})
        silent, progress, logs = rig.up.exchanges
        assert (silent.timeout_s, silent.max_bytes, silent.trace) == (7, 123, {"traceparent": "x"})
        assert silent.hard_deadline == pytest.approx(monotonic() + 20, abs=5)
        assert silent.notice is None
        assert progress.notice == quiet.back.notify
        assert (logs.notice, logs.log_level) == (quiet.back.notify, "info")
        soon = monotonic() + 3
        await rig.ask("tools/call", {"name": "srv__t"}, item, deadline=soon)
        assert rig.up.exchanges[-1].hard_deadline == soon


async def test_parameter_headers_are_made_from_the_arguments_for_http_only() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    for transport, headers in (("http", {"Mcp-Param-Region": "eu"}), ("stdio", {})):
        async with Rig() as rig:
            rig.pool.specs["srv"] = replace(rig.spec, transport=transport)  # type: ignore[arg-type]
            item = replace(rig.item(), definition=tool(inputSchema=schema), sha256=f"schema-{transport}")
            await rig.ask("tools/call", {"name": "srv__t", "arguments": {"region": "eu"}}, One(item))
            assert rig.up.exchanges[-1].headers == headers
            await rig.ask("prompts/get", {"name": "srv__p", "arguments": {"region": "eu"}}, One(rig.item("prompt")))
            assert rig.up.exchanges[-1].headers == {}


@pytest.mark.parametrize(
    ("raised", "code", "effect"),
    [
        (Unreachable("srv", "secret-host:1 refused"), "downstream_down", Effect.NONE),
        (NeedsLogin("srv", "secret 401"), "needs_login", Effect.NONE),
        (Late("srv", "secret"), "downstream_late", Effect.UNKNOWN),
        (Lost("srv", "secret"), "downstream_lost", Effect.UNKNOWN),
        (Oversize("srv", "secret"), "too_large", Effect.UNKNOWN),
        (Garbled("srv", "secret"), "downstream_garbled", Effect.UNKNOWN),
        (DownstreamError("srv", "secret"), "downstream_garbled", Effect.UNKNOWN),
    ],
)
async def test_a_failure_names_the_server_and_says_what_is_known_of_the_effect(
    raised: DownstreamError, code: str, effect: Effect
) -> None:
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [raised]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect, outcome.relayed) == (code, effect, None)
        assert "'srv'" in str(outcome.told)
        assert "secret" not in str(outcome.told)
        assert "secret" in outcome.reason


async def test_a_server_without_a_link_is_down() -> None:
    async with Rig() as rig:
        rig.pool.down["srv"] = Unreachable("srv", "exited at once")
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("downstream_down", Effect.NONE)
        assert "mcp-hub servers test srv" in str(outcome.told)


@pytest.mark.parametrize("result", [None, [], "x", {"resultType": "task"}, {"resultType": 5}])
async def test_what_is_no_result_of_a_call_is_garbled(result: Any) -> None:
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [result]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("downstream_garbled", Effect.UNKNOWN)


@pytest.mark.parametrize(
    ("error", "relayed"),
    [
        ({"code": -32602, "message": "no such tool"}, {"code": -32602, "message": "no such tool"}),
        ({"code": 7, "message": "m", "data": None, "odd": 1}, {"code": 7, "message": "m", "data": None}),
        ({"code": -32603, "message": "x" * 9999}, {"code": -32603, "message": "x" * 4096}),
    ],
)
async def test_an_error_about_the_call_is_relayed(error: Json, relayed: Json) -> None:
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [Refused("srv", error)]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect, outcome.relayed) == ("downstream_error", Effect.DONE, relayed)


@pytest.mark.parametrize("code", [-32700, -32600, -32601, -32020, -32021, -32022, -32042, True, None, [], 1.5, "x"])
async def test_an_error_about_the_hop_is_the_hubs_to_tell(code: Any) -> None:
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [Refused("srv", {"code": code, "message": "re-initialize against the hub"})]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.relayed, outcome.effect) == ("downstream_error", None, Effect.UNKNOWN)
        assert "re-initialize" not in str(outcome.told)


async def test_an_error_without_a_message_is_not_relayed() -> None:
    async with Rig() as rig:
        rig.up.answers["tools/call"] = [Refused("srv", {"code": 5})]
        outcome = await rig.ask("tools/call", {"name": "srv__t"}, One(rig.item()))
        assert isinstance(outcome, Denied)
        assert outcome.relayed is None


@pytest.mark.parametrize("code", [-32002, -32602])
async def test_a_resource_that_the_server_does_not_know_does_not_exist(code: int) -> None:
    async with Rig() as rig:
        rig.up.answers["resources/read"] = [
            Refused("srv", {"code": code, "message": "not found", "data": {"uri": "x"}})
        ]
        outcome = await rig.ask("resources/read", {"uri": "srv+doc://r"}, One(rig.item("resource")))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.told, outcome.relayed) == ("unknown_item", None, None)


async def test_a_server_without_completions_is_said_to_have_none() -> None:
    async with Rig() as rig:
        rig.up.answers["completion/complete"] = [Refused("srv", {"code": -32601, "message": "x"})]
        ref = {"type": "ref/prompt", "name": "srv__p"}
        outcome = await rig.ask("completion/complete", {"ref": ref}, One(rig.item("prompt")))
        assert isinstance(outcome, Denied)
        assert outcome.code == "unsupported"


async def test_a_cancelled_call_is_cancelled_downstream() -> None:
    async with Rig() as rig:
        rig.up.gates["tools/call"] = asyncio.Event()
        asking = asyncio.create_task(rig.ask("tools/call", {"name": "srv__t"}, One(rig.item())))
        await until(lambda: bool(rig.up.asked))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_list_is_the_whole_catalogue_of_the_endpoint() -> None:
    async with Rig() as rig:
        assert await rig.ask("tools/list", {}, Listing("tool")) == Listed((rig.item(),))
        bare = await rig.ask("tools/list", {}, Listing("tool"), endpoint="bare")
        assert bare == Listed((rig.item(endpoint="bare"),))
        assert rig.up.asked == []


@pytest.mark.parametrize(("transport", "listed"), [("http", 0), ("stdio", 1)])
async def test_a_first_list_waits_for_cold_servers_longer_on_stdio(transport: Any, listed: int) -> None:
    rig = Rig()
    async with rig.hub:
        client = Client("modern", "2026-07-28", transport=transport)
        asking = asyncio.create_task(rig.ask("tools/list", {}, Listing("tool"), client=client))
        if transport == "http":
            assert await asking == Listed(())
        await rig.hub.up(rig.up)
        outcome = await asyncio.wait_for(asking, 5)
        assert isinstance(outcome, Listed)
        assert len(outcome.items) == listed


async def test_what_is_the_hubs_own_reaches_nobody() -> None:
    async with Rig() as rig:
        assert await rig.ask("x", {}, HubOwned()) == Done({})
        unresolved = await rig.ask("x", {}, UNRESOLVED)
        assert isinstance(unresolved, Denied)
        assert (unresolved.code, unresolved.effect) == ("internal", Effect.NONE)
        assert rig.up.asked == []


# Subscriptions.


def reports(rig: Rig) -> None:
    rig.up.peer = replace(rig.up.peer, capabilities={"resources": {"subscribe": True}})


async def test_a_subscription_is_made_downstream_and_an_unsubscription_is_not() -> None:
    async with Rig() as rig:
        reports(rig)
        item = rig.item("resource")
        assert await rig.ask("resources/subscribe", {}, Several((item,))) == Done({"uris": ["srv+doc://r"]})
        assert await rig.ask("resources/unsubscribe", {}, Several((item,))) == Done({})
        assert rig.up.asked == [("resources/subscribe", {"uri": "doc://r"})]


async def test_a_subscription_to_a_server_that_does_not_report_is_refused() -> None:
    async with Rig() as rig:
        outcome = await rig.ask("resources/subscribe", {}, Several((rig.item("resource"),)))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("unsupported", Effect.NONE)


async def test_a_subscription_that_fails_says_so() -> None:
    async with Rig() as rig:
        reports(rig)
        rig.up.answers["resources/subscribe"] = [Late("srv", "x")]
        outcome = await rig.ask("resources/subscribe", {}, Several((rig.item("resource"),)))
        assert isinstance(outcome, Denied)
        assert outcome.code == "downstream_late"


async def test_a_listen_honours_what_can_be_heard() -> None:
    async with Rig() as rig:
        reports(rig)
        item = rig.item("resource")
        other = replace(item, name="srv+doc://s", native="doc://s", shown={"uri": "srv+doc://s"})
        away = replace(item, server="away", name="away+doc://r", shown={"uri": "away+doc://r"})
        rig.pool.down["away"] = Unreachable("away", "x")
        rig.up.answers["resources/subscribe"] = [Refused("srv", {"code": -32002, "message": "x"}), {}]
        outcome = await rig.ask("subscriptions/listen", {}, Several((item, other, away)))
        assert outcome == Done({"uris": ["srv+doc://s"]})
