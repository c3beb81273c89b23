"""Legacy HTTP+SSE, without a server in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hub.core.call import Principal
from hub.core.ports import Change, Endpoint
from hub.edge.mcp_sse import SseEdge
from hub.edge.ports import EdgePorts, Limits
from tests.edge.asgi import Reply, ask, make_request
from tests.edge.fakes import (
    CLIENT,
    CLIENT_TOKEN,
    OTHER,
    FakeAuthenticator,
    FakeChanges,
    FakePipeline,
    Seen,
    eventually,
    fake_ports,
)
from tests.edge.test_legacy import call, initialize, note, request


class Stream:
    def __init__(self, ports: EdgePorts, edge: SseEdge, reply: Reply, endpoint: Endpoint) -> None:
        self.ports, self.edge, self.reply, self.endpoint = ports, edge, reply, endpoint
        assert isinstance(ports.handle, FakePipeline)
        assert isinstance(ports.changes, FakeChanges)
        self.pipeline, self.changes = ports.handle, ports.changes

    @property
    def address(self) -> str:
        return self.reply.events[0][1]

    async def post(self, message: Any, query: str | None = None, **how: Any) -> Reply:
        query = self.address.partition("?")[2] if query is None else query
        return await ask(self.edge.post, message, query=query, **{"endpoint": self.endpoint, **how})

    async def ask(self, message: Any) -> Any:
        before = len(self.reply.messages)
        assert (await self.post(message)).status == 202
        await eventually(lambda: len(self.reply.messages) > before)
        return self.reply.messages[-1]


@asynccontextmanager
async def stream(endpoint: str = "", **overrides: Any) -> AsyncIterator[Stream]:
    ports = fake_ports(**overrides)
    edge = SseEdge(ports)
    target = Endpoint(endpoint)
    reply = Reply(edge.open, make_request(method="GET", endpoint=target))
    await eventually(lambda: bool(reply.events))
    try:
        yield Stream(ports, edge, reply, target)
    finally:
        reply.leave()
        await reply.finished()


@pytest.mark.parametrize(("endpoint", "path"), [("", "/messages"), ("team", "/team/messages")])
async def test_the_stream_begins_with_the_address_to_post_to(endpoint: str, path: str) -> None:
    async with stream(endpoint) as s:
        assert s.reply.status == 200
        assert s.reply.headers["hub-call-id"]
        event, address = s.reply.events[0]
        assert event == "endpoint"
        assert address.startswith(f"{path}?session_id=")
        assert len(address.partition("=")[2]) >= 43


async def test_a_message_is_accepted_with_its_call_id_and_answered_on_the_stream() -> None:
    async with stream() as s:
        await s.ask(initialize())
        await s.post(note("notifications/initialized"))
        posted = await s.post(call("echo", text="hi"))
        assert posted.status == 202
        await eventually(lambda: len(s.reply.messages) == 2)
        assert s.reply.messages[1]["result"]["content"][0]["text"] == "hi"
        assert posted.headers["hub-call-id"] == s.pipeline.calls[0].id
        assert s.pipeline.calls[0].client.transport == "sse"


async def test_a_batch_gets_one_call_id_each() -> None:
    async with stream() as s:
        await s.ask(initialize("2025-03-26"))
        posted = await s.post([request("ping"), note("notifications/x")])
        assert len(posted.headers["hub-call-id"].split(",")) == 2


async def test_changes_are_told_on_the_stream() -> None:
    async with stream() as s:
        await s.ask(initialize())
        await s.post(note("notifications/initialized"))
        s.changes.emit(Change("tool"))
        await eventually(lambda: len(s.reply.messages) == 2)
        assert s.reply.messages[1]["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("who", [OTHER, replace(CLIENT, tenant="elsewhere")])
async def test_another_caller_cannot_post_into_a_session(who: Principal) -> None:
    async with stream() as s:
        stolen = await s.post(call("echo"), who=who)
        unknown = await s.post(call("echo"), query="session_id=" + "x" * 43, who=who)
        assert stolen.status == unknown.status == 404
        assert stolen.json["error"]["message"] == unknown.json["error"]["message"]
        assert s.pipeline.calls == []
        assert (await s.post(call("echo"), endpoint=Endpoint("team"))).status == 404


async def test_a_post_without_a_session_is_told_to_open_a_stream() -> None:
    reply = await ask(SseEdge(fake_ports()).post, request("ping", id="mine"))
    assert (reply.status, reply.json["id"]) == (400, "mine")
    assert reply.headers["hub-call-id"]


async def test_the_end_of_the_stream_ends_the_session_and_cancels_its_calls() -> None:
    seen = Seen()
    async with stream(connected=seen.connected) as s:
        await s.ask(initialize())
        await s.post(note("notifications/initialized"))
        await s.post(call("hang"))
        await eventually(s.pipeline.hanging.is_set)
        assert seen.connections == {"sse": 1}
        address = s.address
        s.reply.leave()
        await s.reply.finished()
        assert len(s.pipeline.cancelled) == 1
        assert s.changes.watchers == {}
        assert (await s.post(request("ping"), query=address.partition("?")[2])).status == 404
    assert seen.connections == {"sse": 0}


async def test_the_stream_is_kept_awake() -> None:
    async with stream(limits=replace(Limits(), keepalive_s=0.01)) as s:
        await eventually(lambda: b": \n\n" in s.reply.body)


async def test_a_stream_whose_client_never_says_anything_ends_after_the_idle_time() -> None:
    async with stream(limits=replace(Limits(), keepalive_s=0.01, session_idle_s=0.05)) as s:
        await s.reply.finished()
        assert s.reply.done


async def test_a_stream_in_use_outlives_the_idle_time() -> None:
    async with stream(limits=replace(Limits(), keepalive_s=0.01, session_idle_s=0.02)) as s:
        await s.ask(initialize())
        await eventually(lambda: s.reply.body.count(b": \n\n") > 5)
        assert not s.reply.done


async def test_a_revoked_credential_ends_the_stream() -> None:
    authenticator = FakeAuthenticator()
    async with stream(authenticator=authenticator, limits=replace(Limits(), keepalive_s=0.01)) as s:
        await s.ask(initialize())
        del authenticator.principals[CLIENT_TOKEN]
        await s.reply.finished()


async def test_a_stream_that_breaks_ends_the_session_quietly() -> None:
    async with stream() as s:
        s.reply.broken = True
        await s.post(request("ping"))
        await s.reply.finished()


async def test_the_end_of_the_hub_answers_what_is_in_flight_and_ends_the_streams() -> None:
    async with stream() as s:
        await s.ask(initialize())
        await s.post(call("hang", 5))
        await eventually(s.pipeline.hanging.is_set)
        s.pipeline.release.set()
        await s.edge.aclose()
        await s.reply.finished()
        assert s.reply.messages[-1]["id"] == 5
        assert s.reply.done


async def test_beyond_its_sessions_the_hub_refuses_a_stream() -> None:
    async with stream(limits=replace(Limits(), sessions=1)) as s:
        refused = await ask(s.edge.open, method="GET")
        assert refused.status == 503
        assert json.loads(refused.body)["error"]["data"]["_meta"]["io.mcp-hub/code"] == "full"


async def test_a_stream_must_be_accepted() -> None:
    reply = await ask(SseEdge(fake_ports()).open, method="GET", headers={"accept": "application/json"})
    assert reply.status == 406
