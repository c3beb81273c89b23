"""Legacy Streamable HTTP, one request at a time, without a server in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hub.core.call import Call, Done, Outcome, Principal
from hub.core.ports import Change, Endpoint
from hub.edge.mcp_legacy import LegacyEdge
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
    item,
)

README = "demo+file:///readme"


def request(method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:
    made = {"jsonrpc": "2.0", "id": id, "method": method}
    return made if params is None else {**made, "params": params}


def note(method: str, params: Any = None) -> dict[str, Any]:
    made = request(method, params)
    del made["id"]
    return made


def call(name: str, id: Any = 1, meta: Any = None, **arguments: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": f"demo__{name}", "arguments": arguments}
    return request("tools/call", {**params, "_meta": meta} if meta else params, id)


def initialize(version: str = "2025-11-25") -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return request("initialize", params, "init")


class Session:
    """A client with an open session."""

    def __init__(self, ports: EdgePorts, edge: LegacyEdge, id: str) -> None:
        self.ports, self.edge, self.id = ports, edge, id
        assert isinstance(ports.handle, FakePipeline)
        assert isinstance(ports.changes, FakeChanges)
        self.pipeline, self.changes = ports.handle, ports.changes

    async def post(self, message: Any, **how: Any) -> Reply:
        return await ask(self.edge.post, message, **{**how, "headers": self._headers(how)})

    def begin(self, message: Any, **how: Any) -> Reply:
        return Reply(self.edge.post, make_request(message, **{**how, "headers": self._headers(how)}))

    def listen(self, **how: Any) -> Reply:
        return Reply(self.edge.get, make_request(method="GET", **{**how, "headers": self._headers(how)}))

    async def delete(self, **how: Any) -> Reply:
        return await ask(self.edge.delete, method="DELETE", **{**how, "headers": self._headers(how)})

    def _headers(self, how: dict[str, Any]) -> dict[str, str]:
        return {"mcp-session-id": self.id, **how.get("headers", {})}


async def session(version: str = "2025-11-25", **overrides: Any) -> Session:
    ports = fake_ports(**overrides)
    edge = LegacyEdge(ports)
    opening = await ask(edge.post, initialize(version))
    made = Session(ports, edge, opening.headers["mcp-session-id"])
    assert (await made.post(note("notifications/initialized"))).status == 202
    return made


def code(reply: Reply) -> str:
    return str(reply.json["error"]["data"]["_meta"]["io.mcp-hub/code"])


# ---- opening and ending


async def test_initialize_opens_a_session() -> None:
    edge = LegacyEdge(fake_ports())
    reply = await ask(edge.post, initialize("2025-06-18"))
    assert reply.status == 200
    assert len(reply.headers["mcp-session-id"]) >= 43
    assert reply.headers["hub-call-id"]
    assert reply.json["result"]["protocolVersion"] == "2025-06-18"


async def test_initialize_for_the_modern_revision_is_answered_with_the_newest_legacy_one() -> None:
    reply = await ask(LegacyEdge(fake_ports()).post, initialize("2026-07-28"))
    assert reply.json["result"]["protocolVersion"] == "2025-11-25"


async def test_an_initialize_of_the_wrong_shape_opens_nothing() -> None:
    edge = LegacyEdge(fake_ports())
    reply = await ask(edge.post, request("initialize", {"protocolVersion": 1}))
    assert (reply.status, reply.json["error"]["code"]) == (200, -32602)
    assert "mcp-session-id" not in reply.headers
    assert (await ask(edge.post, note("initialize", {"protocolVersion": "x"}))).status == 400


async def test_a_deleted_session_is_gone_and_its_calls_are_cancelled() -> None:
    s = await session()
    running = s.begin(call("hang"))
    await eventually(s.pipeline.hanging.is_set)
    reply = await s.delete()
    assert reply.status == 200
    assert reply.headers["hub-call-id"]
    await running.finished()
    assert len(s.pipeline.cancelled) == 1
    assert (await s.post(request("ping"))).status == 404
    assert s.changes.watchers == {}


async def test_an_idle_session_is_gone_after_its_time() -> None:
    edge = LegacyEdge(fake_ports(limits=replace(Limits(), session_idle_s=-1.0)))
    id = (await ask(edge.post, initialize())).headers["mcp-session-id"]
    reply = await ask(edge.post, request("ping"), headers={"mcp-session-id": id})
    assert (reply.status, code(reply)) == (404, "gone")
    assert "initialize" in reply.json["error"]["message"]


async def test_sessions_are_counted_while_they_last() -> None:
    seen = Seen()
    s = await session(connected=seen.connected)
    assert seen.connections == {"http": 1}
    await s.edge.aclose()
    assert seen.connections == {"http": 0}


async def test_with_every_session_in_use_another_one_is_refused() -> None:
    s = await session(limits=replace(Limits(), sessions=1))
    running = s.begin(call("hang"))
    await eventually(s.pipeline.hanging.is_set)
    assert (await ask(s.edge.post, initialize())).status == 503
    s.pipeline.release.set()
    await running.finished()


# ---- whose session it is


@pytest.mark.parametrize("who", [OTHER, replace(CLIENT, tenant="elsewhere"), replace(CLIENT, credential="cred-new")])
async def test_another_callers_session_answers_exactly_as_none(who: Principal) -> None:
    s = await session()
    stolen = await s.post(call("echo"), who=who)
    unknown = await s.post(call("echo"), who=who, headers={"mcp-session-id": "x" * 43})
    assert stolen.status == unknown.status == 404
    for reply in (stolen, unknown):
        reply.json["error"]["data"]["_meta"].pop("io.mcp-hub/call")
    assert stolen.json["error"]["message"] == unknown.json["error"]["message"]
    assert s.pipeline.calls == []
    assert (await s.delete(who=who)).status == 404
    assert (await s.listen(who=who).finished()).status == 404
    assert (await s.post(request("ping"))).status == 200


async def test_a_role_that_was_taken_away_is_gone_in_a_session_that_was_opened_with_it() -> None:
    s = await session()
    narrowed = replace(CLIENT, within=())  # the same credential, found anew
    await s.post(call("echo"), who=narrowed)
    assert s.pipeline.calls[-1].who is narrowed


async def test_a_session_belongs_to_its_endpoint() -> None:
    s = await session()
    assert (await s.post(request("ping"), endpoint=Endpoint("team"))).status == 404


async def test_a_request_without_a_session_id_is_told_to_initialize() -> None:
    edge = LegacyEdge(fake_ports())
    reply = await ask(edge.post, request("ping", id="mine"))
    assert (reply.status, reply.json["id"]) == (400, "mine")
    assert "initialize" in reply.json["error"]["message"]
    assert reply.headers["hub-call-id"] == reply.json["error"]["data"]["_meta"]["io.mcp-hub/call"]


# ---- headers


async def test_a_version_header_of_another_legacy_revision_is_taken() -> None:
    s = await session()
    assert (await s.post(request("ping"), headers={"mcp-protocol-version": "2025-06-18"})).status == 200


@pytest.mark.parametrize("version", ["", "2024", "2026-07-28"])
async def test_a_version_header_that_sessions_do_not_speak_is_refused(version: str) -> None:
    s = await session()
    reply = await s.post(request("ping"), headers={"mcp-protocol-version": version})
    assert reply.status == 400
    assert "2025-11-25" in reply.json["error"]["message"]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html", ""])
async def test_a_post_must_accept_both_forms_of_answer(accept: str) -> None:
    s = await session()
    assert (await s.post(request("ping"), headers={"accept": accept})).status == 406


async def test_a_stream_must_be_accepted() -> None:
    s = await session()
    assert (await s.listen(headers={"accept": "application/json"}).finished()).status == 406


# ---- messages


async def test_a_call_is_answered_as_json() -> None:
    s = await session()
    reply = await s.post(call("echo", text="hi"))
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["result"]["content"] == [{"type": "text", "text": "hi"}]
    assert reply.headers["hub-call-id"] == s.pipeline.calls[0].id
    made = s.pipeline.calls[0]
    assert (made.who, made.client.era, made.client.revision) == (CLIENT, "legacy", "2025-11-25")
    assert made.size_bytes > 50


async def test_a_call_that_tells_first_is_answered_as_a_stream() -> None:
    s = await session()
    reply = await s.post(call("talk", meta={"progressToken": 5}))
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["hub-call-id"]
    assert [m["params"]["progress"] for m in reply.messages[:-1]] == [1, 2, 3]
    assert {m["params"]["progressToken"] for m in reply.messages[:-1]} == {5}
    assert reply.messages[-1]["result"]["content"][0]["text"] == "talked"
    assert reply.done


async def test_a_client_that_wants_progress_and_gets_none_is_answered_as_json() -> None:
    s = await session()
    assert (await s.post(call("echo", meta={"progressToken": 5}))).headers["content-type"] == "application/json"


async def test_log_messages_follow_the_level_of_the_session() -> None:
    s = await session()
    assert (await s.post(request("logging/setLevel", {"level": "info"}))).json["result"] == {}
    reply = await s.post(call("talk"))
    assert [m["params"]["level"] for m in reply.messages[:-1]] == ["info", "info", "error"]


async def opened_with(handle: Any, **overrides: Any) -> tuple[LegacyEdge, dict[str, str]]:
    """An edge over this pipeline, and the headers of a session in it."""
    edge = LegacyEdge(fake_ports(handle, **overrides))
    opening = await ask(edge.post, initialize())
    return edge, {"mcp-session-id": opening.headers["mcp-session-id"]}


async def test_an_open_answer_is_kept_awake() -> None:
    async def handle(made: Call) -> Outcome:
        made.client.back.notify("notifications/progress", {"progress": 1})
        await eventually(lambda: b": \n\n" in running.body)
        return Done({"content": []})

    edge, headers = await opened_with(handle, limits=replace(Limits(), keepalive_s=0.01))
    running = Reply(edge.post, make_request(call("echo", meta={"progressToken": 1}), headers=headers))
    assert "result" in (await running.finished()).messages[-1]


async def test_what_is_told_in_the_last_moment_still_comes_before_the_answer() -> None:
    async def handle(made: Call) -> Outcome:
        made.client.back.notify("notifications/progress", {"progress": 1})
        return Done({"content": []})

    edge, headers = await opened_with(handle)
    reply = await ask(edge.post, call("echo", meta={"progressToken": 1}), headers=headers)
    assert [message.get("method", "answer") for message in reply.messages] == ["notifications/progress", "answer"]


async def test_silence_alone_does_not_open_a_stream() -> None:
    async def handle(made: Call) -> Outcome:
        await asyncio.sleep(0.05)  # several silences long
        return Done({"content": []})

    edge, headers = await opened_with(handle, limits=replace(Limits(), keepalive_s=0.01))
    reply = await ask(edge.post, call("echo", meta={"progressToken": 1}), headers=headers)
    assert reply.headers["content-type"] == "application/json"


async def test_a_client_that_leaves_does_not_cancel_its_call() -> None:
    s = await session()
    running = s.begin(call("hang"))
    await eventually(s.pipeline.hanging.is_set)
    running.leave()
    running.broken = True
    s.pipeline.release.set()
    await running.finished()
    assert s.pipeline.cancelled == []
    assert (await s.post(request("ping"))).status == 200


async def test_a_client_that_leaves_its_stream_does_not_cancel_its_call() -> None:
    finished = False

    async def handle(made: Call) -> Outcome:
        nonlocal finished
        made.client.back.notify("notifications/progress", {"progress": 1})
        await eventually(lambda: running.status == 200)
        running.broken = True
        for value in (2, 3):
            made.client.back.notify("notifications/progress", {"progress": value})
            await asyncio.sleep(0)
        finished = True
        return Done({"content": []})

    edge, headers = await opened_with(handle)
    running = Reply(edge.post, make_request(call("echo", meta={"progressToken": 1}), headers=headers))
    await running.finished()
    assert finished


async def test_a_cancelled_request_gets_no_answer() -> None:
    s = await session()
    running = s.begin(call("hang", 1))
    await eventually(s.pipeline.hanging.is_set)
    reply = await s.post(note("notifications/cancelled", {"requestId": 1}))
    assert (reply.status, reply.body) == (202, b"")
    await running.finished()
    assert running.messages == []
    assert running.done
    assert len(s.pipeline.cancelled) == 1


async def test_a_cancellation_does_not_cross_sessions() -> None:
    s = await session()
    running = s.begin(call("hang", 1))
    await eventually(s.pipeline.hanging.is_set)
    other = (await ask(s.edge.post, initialize())).headers["mcp-session-id"]
    await ask(s.edge.post, note("notifications/cancelled", {"requestId": 1}), headers={"mcp-session-id": other})
    s.pipeline.release.set()
    assert (await running.finished()).json["id"] == 1


async def test_an_id_in_flight_is_refused() -> None:
    s = await session()
    running = s.begin(call("hang", 1))
    await eventually(s.pipeline.hanging.is_set)
    assert "another id" in (await s.post(call("echo", 1))).json["error"]["message"]
    s.pipeline.release.set()
    await running.finished()


async def test_responses_and_notifications_are_accepted() -> None:
    s = await session()
    for message in (note("notifications/roots/list_changed"), {"jsonrpc": "2.0", "id": 4, "result": {}}):
        reply = await s.post(message)
        assert (reply.status, reply.body) == (202, b"")
        assert reply.headers["hub-call-id"]


@pytest.mark.parametrize("message", [5, {"jsonrpc": "2.0", "id": None, "method": "ping"}, {"id": 1}])
async def test_what_is_no_message_is_refused(message: Any) -> None:
    s = await session()
    reply = await s.post(message)
    assert (reply.status, reply.json["error"]["code"]) == (400, -32600)


async def test_unknown_methods_and_second_initialize_are_errors() -> None:
    s = await session()
    reply = await s.post(request("tools/destroy"))
    assert (reply.status, reply.json["error"]["code"]) == (200, -32601)


# ---- batches


async def test_a_batch_is_answered_with_an_array_and_one_call_id_each() -> None:
    s = await session("2025-03-26")
    batch = [
        call("echo", 1, text="a"),
        note("notifications/x"),
        request("ping", id=2),
        {"id": 3},
    ]
    reply = await s.post(batch)
    assert reply.status == 200
    assert [a.get("id") for a in reply.json] == [1, 2, 3]
    ids = reply.headers["hub-call-id"].split(",")
    assert len(set(ids)) == 4
    assert s.pipeline.calls[0].id == ids[0]


async def test_the_level_of_a_session_holds_in_a_batch_too() -> None:
    s = await session("2025-03-26")
    await s.post(request("logging/setLevel", {"level": "error"}))
    await s.post([call("echo")])
    assert s.pipeline.calls[-1].client.log_level == "error"


async def test_a_batch_cannot_hold_an_initialize_or_a_batch() -> None:
    s = await session("2025-03-26")
    reply = await s.post([initialize(), [request("ping")]])
    assert [answer["error"]["code"] for answer in reply.json] == [-32600, -32600]


async def test_an_id_may_come_once_in_a_batch() -> None:
    s = await session("2025-03-26")
    running = s.begin([call("hang", 1), call("hang", 1)])
    await eventually(s.pipeline.hanging.is_set)
    s.pipeline.release.set()
    answers = (await running.finished()).json
    assert "result" in answers[0]
    assert "another id" in answers[1]["error"]["message"]


async def test_a_batch_of_notifications_is_accepted() -> None:
    s = await session("2025-03-26")
    reply = await s.post([note("notifications/x"), {"jsonrpc": "2.0", "id": 1, "result": {}}])
    assert (reply.status, reply.body) == (202, b"")
    assert len(reply.headers["hub-call-id"].split(",")) == 2


@pytest.mark.parametrize("size", [0, 51])
async def test_a_batch_is_bounded(size: int) -> None:
    s = await session("2025-03-26")
    assert (await s.post([request("ping", id=n) for n in range(size)])).status == 400


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
async def test_later_revisions_have_no_batches(version: str) -> None:
    s = await session(version)
    assert (await s.post([request("ping")])).status == 400


# ---- the stream of a session


async def test_the_stream_carries_what_changed() -> None:
    s = await session()
    await s.post(request("resources/subscribe", {"uri": README}))
    stream = await s.listen().started()
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["hub-call-id"]
    s.changes.emit(Change("tool"))
    s.changes.emit(Change("resource", item("resource", "file:///readme")))
    await eventually(lambda: len(stream.messages) == 2)
    assert [m["method"] for m in stream.messages] == [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ]
    stream.leave()
    await stream.finished()


async def test_what_changed_before_the_stream_was_opened_is_told_once() -> None:
    s = await session()
    for _ in range(3):
        s.changes.emit(Change("tool"))
    stream = await s.listen().started()
    await eventually(lambda: len(stream.messages) == 1)
    s.changes.emit(Change("prompt"))
    await eventually(lambda: len(stream.messages) == 2)
    stream.leave()
    await stream.finished()


async def test_a_session_has_one_stream_at_a_time() -> None:
    s = await session()
    first = await s.listen().started()
    assert (await s.listen().finished()).status == 409
    first.leave()
    await first.finished()
    again = await s.listen().started()
    assert again.status == 200
    again.leave()
    await again.finished()


async def test_an_open_stream_is_kept_awake_and_holds_its_session() -> None:
    s = await session(limits=replace(Limits(), keepalive_s=0.01))
    stream = await s.listen().started()
    await eventually(lambda: b": \n\n" in stream.body)
    stream.leave()
    await stream.finished()


async def test_the_end_of_a_session_ends_its_stream() -> None:
    s = await session()
    stream = await s.listen().started()
    await s.delete()
    await stream.finished()
    assert stream.done


async def test_the_end_of_the_hub_ends_every_stream() -> None:
    s = await session()
    stream = await s.listen().started()
    await s.edge.aclose()
    assert (await stream.finished()).done


async def test_a_revoked_credential_ends_the_stream() -> None:
    authenticator = FakeAuthenticator()
    s = await session(authenticator=authenticator, limits=replace(Limits(), keepalive_s=0.01))
    stream = await s.listen().started()
    del authenticator.principals[CLIENT_TOKEN]
    await stream.finished()


async def test_a_stream_that_breaks_ends_quietly() -> None:
    s = await session()
    stream = await s.listen().started()
    stream.broken = True
    s.changes.emit(Change("tool"))
    await stream.finished()
    assert (await s.post(request("ping"))).status == 200
