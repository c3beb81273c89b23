from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from hub.core.call import Call, Denied, Done, Item, Outcome
from hub.core.ports import Change, Endpoint
from hub.edge.conversation import Conversation
from hub.edge.outbox import Outbox
from hub.wire.revisions import SUPPORTED
from tests.edge.fakes import CLIENT, FakeCatalog, FakeChanges, FakePipeline, Seen, eventually, fake_ports, item

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
README = "demo+file:///readme"


class Talk:
    """A conversation and what came out of it."""

    def __init__(self, conversation: Conversation, outbox: Outbox, ports: Any) -> None:
        self.conversation, self._outbox, self.ports = conversation, outbox, ports
        self.stands = True
        self.pipeline: FakePipeline = ports.handle
        self.changes: FakeChanges = ports.changes

    async def send(self, message: Any) -> tuple[str, ...]:
        return await self.conversation.receive(message, 100)

    async def read(self) -> Any:
        with anyio.fail_after(5):
            data = await self._outbox.take()
        return None if data is None else json.loads(data)

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.read()

    async def silent(self) -> bool:
        """Nothing is on its way but the answer to a ping."""
        answer = await self.ask(request("ping", id="probe") if not self.modern else listing("probe"))
        return bool(answer["id"] == "probe")

    modern = False


@asynccontextmanager
async def talk(
    handle: Callable[[Call], Awaitable[Outcome]] | None = None,
    transport: Literal["sse", "stdio"] = "stdio",
    messages: int = 256,
    **overrides: Any,
) -> AsyncIterator[Talk]:
    ports = fake_ports(handle, **overrides)
    outbox = Outbox(messages, stall_s=0.05)
    async with anyio.create_task_group() as tasks:
        made: list[Talk] = []
        conversation = Conversation(
            ports, CLIENT, Endpoint(""), transport, outbox=outbox, tasks=tasks, stands=lambda: made[0].stands
        )
        made.append(Talk(conversation, outbox, ports))
        yield made[0]
        conversation.close()
        tasks.cancel_scope.cancel()


def request(method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:
    made = {"jsonrpc": "2.0", "id": id, "method": method}
    return made if params is None else {**made, "params": params}


def note(method: str, params: Any = None) -> dict[str, Any]:
    made = {"jsonrpc": "2.0", "method": method}
    return made if params is None else {**made, "params": params}


def call(name: str, id: Any = 1, modern: bool = False, meta: Any = None, **arguments: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": f"demo__{name}", "arguments": arguments}
    if modern or meta:
        params["_meta"] = {**(MODERN if modern else {}), **(meta or {})}
    return request("tools/call", params, id)


def listing(id: Any = 1) -> dict[str, Any]:
    return request("tools/list", {"_meta": MODERN}, id)


def initialize(version: str = "2025-11-25") -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return request("initialize", params, "init")


async def opened(conversation: Talk, version: str = "2025-11-25") -> None:
    await conversation.ask(initialize(version))
    await conversation.send(note("notifications/initialized"))


def code(answer: Any) -> str:
    return str(answer["error"]["data"]["_meta"]["io.mcp-hub/code"])


# ---- which era


async def test_initialize_opens_a_legacy_conversation_and_says_what_the_hub_offers() -> None:
    async with talk() as t:
        answer = await t.ask(initialize("2025-06-18"))
        assert answer["id"] == "init"
        assert answer["result"]["protocolVersion"] == "2025-06-18"
        assert answer["result"]["serverInfo"]["name"] == "mcp-hub"
        assert answer["result"]["instructions"] == "call the tools"
        assert answer["result"]["capabilities"]["tools"] == {"listChanged": True}
        assert answer["result"]["capabilities"]["logging"] == {}


@pytest.mark.parametrize("version", ["2026-07-28", "1999-01-01", ""])
async def test_a_revision_that_initialize_cannot_negotiate_gets_the_newest_legacy_one(version: str) -> None:
    async with talk() as t:
        assert (await t.ask(initialize(version)))["result"]["protocolVersion"] == "2025-11-25"


async def test_discover_and_calls_with_the_envelope_are_answered_in_modern_form() -> None:
    async with talk() as t:
        found = (await t.ask(request("server/discover", {"_meta": MODERN})))["result"]
        assert found["supportedVersions"] == [*SUPPORTED]
        assert found["resultType"] == "complete"
        assert found["cacheScope"] == "private"
        answer = (await t.ask(call("echo", 2, modern=True, text="hi")))["result"]
        assert answer["resultType"] == "complete"
        assert answer["content"] == [{"type": "text", "text": "hi"}]
        assert t.pipeline.calls[-1].client.era == "modern"
        assert t.pipeline.calls[-1].client.transport == "stdio"


async def test_a_probe_does_not_decide_the_era() -> None:
    async with talk() as t:
        await t.ask(request("server/discover", {"_meta": MODERN}))
        assert (await t.ask(initialize()))["result"]["protocolVersion"] == "2025-11-25"


async def test_a_probe_for_an_unknown_revision_is_told_the_known_ones() -> None:
    async with talk() as t:
        meta = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2031-01-01"}
        error = (await t.ask(request("server/discover", {"_meta": meta})))["error"]
        assert error["code"] == -32022
        assert "2026-07-28" in error["data"]["supported"]


async def test_initialize_after_a_modern_call_is_refused_with_the_revisions() -> None:
    async with talk() as t:
        await t.ask(call("echo", modern=True))
        error = (await t.ask(initialize()))["error"]
        assert error["code"] == -32022
        assert error["data"]["requested"] == "2025-11-25"


async def test_a_modern_request_in_a_legacy_conversation_is_refused() -> None:
    async with talk() as t:
        await opened(t)
        error = (await t.ask(call("echo", modern=True)))["error"]
        assert error["code"] == -32600
        assert "2025-11-25" in error["message"]
        assert t.pipeline.calls == []


async def test_a_legacy_request_in_a_modern_conversation_lacks_its_envelope() -> None:
    async with talk() as t:
        await t.ask(call("echo", modern=True))
        assert (await t.ask(call("echo")))["error"]["code"] == -32602


async def test_before_initialize_only_a_ping_is_answered() -> None:
    async with talk() as t:
        assert (await t.ask(request("ping")))["result"] == {}
        error = (await t.ask(call("echo", 2)))["error"]
        assert error["code"] == -32600
        assert "initialize" in error["message"]
        assert t.pipeline.calls == []


async def test_a_second_initialize_is_refused() -> None:
    async with talk() as t:
        await opened(t)
        assert "already" in (await t.ask(initialize()))["error"]["message"]


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"protocolVersion": 1},
        {"protocolVersion": "2025-11-25", "capabilities": []},
        {"protocolVersion": "2025-11-25", "clientInfo": "me"},
    ],
)
async def test_an_initialize_of_the_wrong_shape_is_refused_and_may_be_tried_again(params: Any) -> None:
    async with talk() as t:
        assert (await t.ask(request("initialize", params)))["error"]["code"] == -32602
        assert "result" in await t.ask(initialize())


# ---- messages that are none


@pytest.mark.parametrize("message", [1, "x", None, {}, {"jsonrpc": "1.0", "id": 1, "method": "ping"}])
async def test_what_is_no_message_is_answered_with_an_error(message: Any) -> None:
    async with talk() as t:
        answer = await t.ask(message)
        assert answer["error"]["code"] == -32600
        assert answer["error"]["data"]["_meta"]["io.mcp-hub/call"]


async def test_the_error_names_the_id_where_one_can_be_read() -> None:
    async with talk() as t:
        assert (await t.ask({"jsonrpc": "2.0", "id": "mine", "method": 5}))["id"] == "mine"


async def test_answers_to_what_was_never_asked_are_dropped() -> None:
    async with talk() as t:
        await opened(t)
        await t.send({"jsonrpc": "2.0", "id": 9, "result": {}})
        assert await t.silent()


# ---- requests


async def test_requests_run_at_once_and_every_answer_finds_its_own() -> None:
    async with talk() as t:
        await opened(t)
        await t.send(call("hang", 1))
        await eventually(t.pipeline.hanging.is_set)
        assert (await t.ask(call("echo", "1", text="a")))["id"] == "1"
        t.pipeline.release.set()
        assert (await t.read())["id"] == 1


async def test_an_id_that_is_in_flight_is_refused() -> None:
    async with talk() as t:
        await opened(t)
        await t.send(call("hang", 1))
        assert "another id" in (await t.ask(call("echo", 1)))["error"]["message"]


async def test_the_257th_request_in_flight_is_told_to_wait() -> None:
    async with talk() as t:
        await opened(t)
        for n in range(256):
            await t.send(call("hang", n))
        assert "wait" in (await t.ask(call("echo", 256)))["error"]["message"]


@pytest.mark.parametrize("modern", [True, False])
async def test_a_cancelled_request_is_cancelled_and_never_answered(modern: bool) -> None:
    async with talk() as t:
        t.modern = modern
        if not modern:
            await opened(t)
        await t.send(call("hang", 1, modern))
        await eventually(t.pipeline.hanging.is_set)
        await t.send(note("notifications/cancelled", {"requestId": 1}))
        await eventually(lambda: len(t.pipeline.cancelled) == 1)
        assert await t.silent()


async def test_a_cancellation_that_overtakes_its_request_still_stops_the_answer() -> None:
    async with talk() as t:
        await opened(t)
        await t.send(call("echo", 1))
        await t.send(note("notifications/cancelled", {"requestId": 1}))
        assert await t.silent()


async def test_a_cancellation_of_something_else_changes_nothing() -> None:
    async with talk() as t:
        await opened(t)
        await t.send(call("hang", 1))
        for id in ("1", 2, True, None, [1]):
            await t.send(note("notifications/cancelled", {"requestId": id}))
        await t.send(note("notifications/cancelled"))
        t.pipeline.release.set()
        assert (await t.read())["id"] == 1


@pytest.mark.parametrize("modern", [True, False])
async def test_progress_carries_the_clients_token_and_comes_before_the_answer(modern: bool) -> None:
    async with talk() as t:
        if not modern:
            await opened(t)
        await t.send(call("talk", 1, modern, meta={"progressToken": "mine"}))
        told = [await t.read() for _ in range(4)]
        assert [m["params"]["progress"] for m in told[:3]] == [1, 2, 3]
        assert {m["params"]["progressToken"] for m in told[:3]} == {"mine"}
        assert told[3]["id"] == 1


async def test_log_messages_come_from_the_level_the_legacy_session_set() -> None:
    async with talk() as t:
        await opened(t)
        assert (await t.ask(call("talk", 1)))["id"] == 1  # none before it asked
        assert (await t.ask(request("logging/setLevel", {"level": "error"}, 2)))["result"] == {}
        await t.send(call("talk", 3))
        told = await t.read()
        assert told["method"] == "notifications/message"
        assert told["params"]["level"] == "error"
        assert (await t.read())["id"] == 3
        assert t.pipeline.calls[-1].client.log_level == "error"


async def test_a_modern_request_sets_its_own_log_level() -> None:
    async with talk() as t:
        await t.send(call("talk", 1, modern=True, meta={"io.modelcontextprotocol/logLevel": "error"}))
        assert (await t.read())["params"]["level"] == "error"
        assert (await t.read())["id"] == 1


@pytest.mark.parametrize("level", ["loud", 3, None, ["error"]])
async def test_a_level_that_is_none_is_refused(level: Any) -> None:
    async with talk() as t:
        await opened(t)
        assert (await t.ask(request("logging/setLevel", {"level": level})))["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["tools/destroy", "server/discover", "subscriptions/listen"])
async def test_an_unknown_method_of_the_era_is_an_error(method: str) -> None:
    async with talk() as t:
        await opened(t)
        assert (await t.ask(request(method)))["error"]["code"] == -32601


@pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe"])
async def test_methods_that_the_modern_era_removed_are_unknown_there(method: str) -> None:
    async with talk() as t:
        assert (await t.ask(request(method, {"_meta": MODERN})))["error"]["code"] == -32601


async def test_a_refusal_of_the_pipeline_carries_the_call_id() -> None:
    async with talk() as t:
        await opened(t)
        ids = await t.send(call("fail"))
        result = (await t.read())["result"]
        assert result["isError"] is True
        assert result["_meta"]["io.mcp-hub/call"] == ids[0] == t.pipeline.calls[0].id


async def test_lists_are_paged_and_a_foreign_cursor_is_refused() -> None:
    async with talk() as t:
        await opened(t)
        assert len((await t.ask(request("tools/list")))["result"]["tools"]) == 4
        assert code(await t.ask(request("tools/list", {"cursor": "forged"}, 2))) == "gone"


async def test_a_bug_below_is_an_error_that_says_nothing_of_it() -> None:
    async def broken(call: Call) -> Outcome:
        raise RuntimeError("secret detail")

    async with talk(broken) as t:
        await opened(t)
        answer = await t.ask(call("echo"))
        assert code(answer) == "internal"
        assert "secret" not in json.dumps(answer)
        assert (await t.ask(request("ping", id=2)))["result"] == {}


async def test_refusals_are_counted() -> None:
    seen = Seen()
    async with talk(refused=seen.refused.append) as t:
        await t.ask(call("echo"))
        await t.ask(5)
    assert seen.refused == ["invalid_request", "invalid_request"]


async def test_a_revoked_caller_is_cut_off() -> None:
    async with talk() as t:
        await opened(t)
        t.stands = False
        await t.send(call("echo"))
        assert await t.read() is None
        assert t.pipeline.calls == []


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with talk(messages=1) as t:
        await t.send(initialize())
        await t.send(initialize())  # its refusal finds no room
        assert await t.read() is None


# ---- batches


async def test_a_batch_is_answered_with_one_array() -> None:
    async with talk() as t:
        await opened(t, "2025-03-26")
        batch = [
            call("echo", 1, text="a"),
            note("notifications/whatever"),
            {"jsonrpc": "2.0", "id": 3},
            request("ping", id=2),
        ]
        ids = await t.send(batch)
        answers = await t.read()
        assert len(ids) == len(set(ids)) == 4
        assert {a.get("id") for a in answers} == {1, 2, 3}
        assert await t.silent()


async def test_a_batch_of_notifications_is_not_answered() -> None:
    async with talk() as t:
        await opened(t, "2025-03-26")
        await t.send([note("notifications/whatever")])
        assert await t.silent()


@pytest.mark.parametrize("size", [0, 51])
async def test_a_batch_is_bounded(size: int) -> None:
    async with talk() as t:
        await opened(t, "2025-03-26")
        assert "50" in (await t.ask([request("ping", id=n) for n in range(size)]))["error"]["message"]


async def test_a_batch_cannot_hold_an_initialize_or_a_batch() -> None:
    async with talk() as t:
        await opened(t, "2025-03-26")
        answers = await t.ask([initialize(), [request("ping")]])
        assert [a["error"]["code"] for a in answers] == [-32600, -32600]


@pytest.mark.parametrize("version", [None, "2025-06-18", "2025-11-25"])
async def test_batches_are_refused_outside_their_one_revision(version: str | None) -> None:
    async with talk() as t:
        if version is not None:
            await opened(t, version)
        assert "2025-03-26" in (await t.ask([request("ping")]))["error"]["message"]


# ---- changes


def readme() -> Item:
    return item("resource", "file:///readme")


async def test_changes_are_told_to_legacy_clients_after_initialized_only() -> None:
    async with talk() as t:
        await t.ask(initialize())
        t.changes.emit(Change("tool"))
        await t.send(note("notifications/initialized"))
        await t.send(note("notifications/initialized"))
        t.changes.emit(Change("prompt"))
        t.changes.emit(Change("template"))
        assert (await t.read())["method"] == "notifications/prompts/list_changed"
        assert (await t.read())["method"] == "notifications/resources/list_changed"
        assert await t.silent()


async def test_updates_are_told_of_subscribed_resources_only() -> None:
    async with talk() as t:
        await opened(t)
        t.changes.emit(Change("resource", readme()))
        assert (await t.ask(request("resources/subscribe", {"uri": README})))["result"] == {}
        t.changes.emit(Change("resource", item("resource", "file:///other")))
        t.changes.emit(Change("resource", readme()))
        assert (await t.read())["params"] == {"uri": README}
        assert (await t.ask(request("resources/unsubscribe", {"uri": README}, 2)))["result"] == {}
        t.changes.emit(Change("resource", readme()))
        assert await t.silent()


async def test_a_subscription_is_judged_again_for_every_update() -> None:
    pipeline, denied = FakePipeline(FakeCatalog()), False

    async def handle(call: Call) -> Outcome:
        return Denied("unknown_item", "not any more") if denied else await pipeline(call)

    async with talk(handle) as t:
        await opened(t)
        await t.ask(request("resources/subscribe", {"uri": README}))
        denied = True
        t.changes.emit(Change("resource", readme()))
        assert await t.silent()


async def test_a_hidden_resource_cannot_be_subscribed_to() -> None:
    async with talk() as t:
        await opened(t)
        assert code(await t.ask(request("resources/subscribe", {"uri": "demo+file:///none"}))) == "unknown_item"
        assert (await t.ask(request("resources/subscribe", {"uri": 5}, 2)))["error"]["code"] == -32602


async def test_subscriptions_of_a_session_are_bounded() -> None:
    many = tuple(item("resource", f"file:///{n}") for n in range(1001))

    async def handle(call: Call) -> Outcome:
        return Done({})

    async with talk(handle, catalog=FakeCatalog(many)) as t:
        await opened(t)
        for n in range(1000):
            assert "result" in await t.ask(request("resources/subscribe", {"uri": many[n].name}, n))
        assert code(await t.ask(request("resources/subscribe", {"uri": many[1000].name}, 1000))) == "too_many"


async def test_a_revoked_caller_hears_of_no_change() -> None:
    async with talk() as t:
        await opened(t)
        await t.ask(request("ping"))
        t.stands = False
        t.changes.emit(Change("tool"))
        assert await t.read() is None


# ---- listens


def listen(id: Any = 1, **wanted: Any) -> dict[str, Any]:
    return request("subscriptions/listen", {"_meta": MODERN, "notifications": wanted}, id)


async def test_a_listen_is_acknowledged_with_what_is_honoured_and_every_frame_names_it() -> None:
    async with talk() as t:
        asked = listen(7, toolsListChanged=True, promptsListChanged=False, resourceSubscriptions=[README, "demo+x"])
        ack = await t.ask(asked)
        assert ack["method"] == "notifications/subscriptions/acknowledged"
        assert ack["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": [README]}
        assert ack["params"]["_meta"] == {SUBSCRIPTION: 7}
        t.changes.emit(Change("prompt"))
        t.changes.emit(Change("resource", item("resource", "file:///other")))
        t.changes.emit(Change("tool"))
        t.changes.emit(Change("resource", readme()))
        told = [await t.read(), await t.read()]
        assert [m["method"] for m in told] == [
            "notifications/tools/list_changed",
            "notifications/resources/updated",
        ]
        assert all(m["params"]["_meta"] == {SUBSCRIPTION: 7} for m in told)


@pytest.mark.parametrize("transport", ["stdio", "sse"])
async def test_the_end_of_the_hub_gives_a_listen_its_result(transport: Literal["stdio", "sse"]) -> None:
    async with talk(transport=transport) as t:
        await t.ask(listen("l", toolsListChanged=True))
        await t.conversation.settle(5)
        closing = await t.read()
        assert closing["result"]["resultType"] == "complete"
        assert closing["result"]["_meta"][SUBSCRIPTION] == "l"
        if transport == "stdio":
            assert (await t.read())["params"] == {"requestId": "l"}


async def test_a_cancelled_listen_ends_without_a_result() -> None:
    async with talk() as t:
        t.modern = True
        await t.ask(listen("l", toolsListChanged=True))
        await t.send(note("notifications/cancelled", {"requestId": "l"}))
        await eventually(lambda: not t.changes.watchers)
        assert await t.silent()


@pytest.mark.parametrize("wanted", [None, {"toolsListChanged": "yes"}, {"resourceSubscriptions": "x"}])
async def test_a_listen_of_the_wrong_shape_is_refused(wanted: Any) -> None:
    async with talk() as t:
        answer = await t.ask(request("subscriptions/listen", {"_meta": MODERN, "notifications": wanted}))
        assert answer["error"]["code"] == -32602
        assert t.changes.watchers == {}


async def test_the_end_of_a_conversation_leaves_no_watcher() -> None:
    async with talk() as t:
        await opened(t)
        changes = t.changes
        assert len(changes.watchers) == 1
    assert changes.watchers == {}
