from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.core.call import Call, Denied, Done, Outcome
from hub.core.ports import Change
from hub.edge.listen import Filter, read_filter
from hub.edge.ports import Limits
from hub.wire.decode import Refusal
from tests.edge.fakes import ITEMS, FakeAuthenticator, FakeChanges, eventually, fake_ports
from tests.edge.harness import Door, Wire, ask, door, modern, modern_headers, scope

KEY = "io.modelcontextprotocol/subscriptionId"
README = "demo+file:///readme"
RESOURCE = next(i for i in ITEMS if i.kind == "resource")
METHOD = "subscriptions/listen"


class Hearing:
    """A pipeline that lets resources be heard of, while it does."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Outcome:
        self.calls.append(call)
        heard = [uri for uri in call.params["uris"] if uri in self.allowed]
        return Done({"uris": heard}) if heard else Denied("unknown_item", "hidden")


@asynccontextmanager
async def listening(it: Door, request_id: Any = "L", **notifications: Any) -> AsyncIterator[Wire]:
    wire = Wire(json.dumps(modern(METHOD, request_id, notifications=notifications)).encode())
    running = asyncio.create_task(it.app(scope("POST", "/mcp", modern_headers(METHOD)), wire.receive, wire.send))
    await eventually(lambda: len(wire.sent) >= 2)
    try:
        yield wire
    finally:
        wire.left.set()
        async with asyncio.timeout(5):
            await running


def made(**overrides: Any) -> tuple[Door, FakeChanges, Hearing]:
    hearing = Hearing(README)
    changes = FakeChanges()
    return door(fake_ports(**{"handle": hearing, "changes": changes, **overrides})), changes, hearing


@pytest.mark.parametrize("request_id", ["L", 7])
async def test_the_first_frame_acknowledges_what_is_honoured(request_id: Any) -> None:
    seen: list[int] = []
    it, changes, hearing = made(connected=lambda transport, change: seen.append(change))
    wanted = {"toolsListChanged": True, "promptsListChanged": False, "unknown": True}
    async with listening(it, request_id, **wanted, resourceSubscriptions=[README, "demo+hidden"]) as wire:
        (frame,) = wire.answer.events
        assert frame["method"] == "notifications/subscriptions/acknowledged"
        assert frame["params"] == {
            "notifications": {"toolsListChanged": True, "resourceSubscriptions": [README]},
            "_meta": {KEY: request_id},
        }
        assert wire.answer.headers["hub-call-id"] == hearing.calls[0].id
        assert len(changes.watchers) == 1
        assert seen == [1]
    assert len(changes.watchers) == 0
    assert seen == [1, -1]


async def test_a_listen_for_lists_alone_passes_the_pipeline_and_may_be_refused_there() -> None:
    async def refuse(call: Call) -> Outcome:
        assert call.params == {"uris": []}
        return Denied("rate_limited", "bucket empty", retry_after_s=2.0)

    it = door(fake_ports(handle=refuse))
    async with listening(it, toolsListChanged=True) as wire:
        error = wire.answer.json["error"]
        assert error["data"]["_meta"]["io.mcp-hub/code"] == "rate_limited"
        assert error["data"]["_meta"]["io.mcp-hub/call"] == wire.answer.headers["hub-call-id"]


async def test_only_what_was_asked_for_is_told() -> None:
    it, changes, _ = made()
    async with listening(it, toolsListChanged=True, resourcesListChanged=True) as wire:
        for kind in ("prompt", "tool", "template", "resource"):
            changes.emit(Change(kind))
        changes.emit(Change("resource", RESOURCE))
        await eventually(lambda: len(wire.answer.events) == 3)
        changes.emit(Change("tool"))
        await eventually(lambda: len(wire.answer.events) == 4)
        told = wire.answer.events[1:]
    assert [e["method"] for e in told] == [
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        "notifications/tools/list_changed",
    ]
    assert all(e["params"]["_meta"] == {KEY: "L"} for e in told)


async def test_a_resource_is_told_of_under_the_clients_own_uri_while_the_pipeline_allows_it() -> None:
    it, changes, hearing = made()
    async with listening(it, resourceSubscriptions=[README], toolsListChanged=True) as wire:
        changes.emit(Change("resource", RESOURCE))
        await eventually(lambda: len(wire.answer.events) == 2)
        assert wire.answer.events[1]["params"] == {"uri": README, "_meta": {KEY: "L"}}
        hearing.allowed.clear()
        changes.emit(Change("resource", RESOURCE))
        changes.emit(Change("tool"))
        await eventually(lambda: len(wire.answer.events) == 3)
        assert wire.answer.events[2]["method"] == "notifications/tools/list_changed"
    assert len({call.id for call in hearing.calls}) == 3
    assert {call.method for call in hearing.calls} == {METHOD}


async def test_a_drain_closes_the_stream_with_its_result() -> None:
    it, _, _ = made()
    async with listening(it, toolsListChanged=True) as wire:
        await it.app.drain(5)
        assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        last = wire.answer.events[-1]
        assert last["id"] == "L"
        assert last["result"]["resultType"] == "complete"
        assert last["result"]["_meta"][KEY] == "L"
    async with listening(it, toolsListChanged=True) as wire:
        await eventually(lambda: "result" in wire.answer.events[-1])


async def test_a_revoked_credential_ends_its_stream() -> None:
    authenticator = FakeAuthenticator()
    it, changes, _ = made(authenticator=authenticator)
    async with listening(it, toolsListChanged=True) as wire:
        authenticator.principals.clear()
        changes.emit(Change("tool"))
        await eventually(lambda: "result" in wire.answer.events[-1])
        assert len(wire.answer.events) == 2


async def test_a_silent_stream_is_kept_alive() -> None:
    it, changes, _ = made(limits=Limits(keepalive_s=0.01))
    async with listening(it, toolsListChanged=True) as wire:
        await eventually(lambda: sum(m.get("body") == b": \n\n" for m in wire.sent) >= 3)
        changes.emit(Change("tool"))
        await eventually(lambda: len(wire.answer.events) == 2)


async def test_what_a_client_sends_late_is_not_its_leaving() -> None:
    it, changes, _ = made()
    async with listening(it, toolsListChanged=True) as wire:
        before = wire.receives
        wire.push({"type": "http.request", "body": b"", "more_body": False})
        await eventually(lambda: wire.receives > before)
        changes.emit(Change("tool"))
        await eventually(lambda: len(wire.answer.events) == 2)


async def test_what_the_endpoint_does_not_declare_is_not_honoured() -> None:
    class Bare:
        def capabilities(self, endpoint: str, account: str = "") -> Any:
            return {"tools": {}}

    it, _, _ = made(catalog=Bare())
    async with listening(it, toolsListChanged=True, promptsListChanged=True) as wire:
        assert wire.answer.events[0]["params"]["notifications"] == {}


async def test_a_listen_needs_a_stream() -> None:
    it, changes, _ = made()
    body = modern(METHOD, notifications={})
    answer = await ask(it.app, body=body, headers=modern_headers(METHOD, accept="application/json"))
    assert (answer.status, answer.json["error"]["data"]["_meta"]["io.mcp-hub/code"]) == (406, "not_acceptable")
    assert changes.watchers == {}


@pytest.mark.parametrize(
    "notifications",
    [
        None,
        [],
        {"toolsListChanged": 1},
        {"resourceSubscriptions": "x"},
        {"resourceSubscriptions": [1]},
        {"resourceSubscriptions": {}},
        {"resourceSubscriptions": ["x"] * 257},
    ],
)
async def test_a_malformed_filter_is_refused(notifications: Any) -> None:
    assert isinstance(read_filter({"notifications": notifications}), Refusal)
    it, _, _ = made()
    answer = await ask(it.app, body=modern(METHOD, notifications=notifications), headers=modern_headers(METHOD))
    assert (answer.status, answer.json["error"]["code"]) == (400, -32602)


def test_a_filter_is_read_without_doubles_and_unknown_kinds() -> None:
    asked = {"promptsListChanged": True, "x": 1, "resourceSubscriptions": ["b", "a", "b"]}
    assert read_filter({"notifications": asked}) == Filter(("promptsListChanged",), ("b", "a"))
