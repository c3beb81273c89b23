from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request

from hub.core.call import Call, Denied, Done, Outcome
from hub.core.ports import Endpoint
from hub.edge.ports import Limits
from hub.wire.decode import CAPABILITIES_KEY, INFO_KEY, LEVEL_KEY, VERSION_KEY
from hub.wire.revisions import SUPPORTED
from tests.edge.fakes import FakePipeline, eventually, fake_ports
from tests.edge.harness import META, MODERN_HEADERS, Door, Wire, ask, ask_modern, door, modern, modern_headers, scope


def made(**overrides: Any) -> tuple[Door, FakePipeline]:
    ports = fake_ports(**overrides)
    return door(ports), ports.handle  # type: ignore[return-value]


async def test_a_call_reaches_the_pipeline_as_its_verified_caller_made_it() -> None:
    it, pipeline = made()
    meta = {
        **META,
        INFO_KEY: {"name": "ide", "version": "2"},
        CAPABILITIES_KEY: {"roots": {}},
        "traceparent": "00-abc",
        LEVEL_KEY: "warning",
        "progressToken": "p",
    }
    body = json.dumps(modern("tools/call", 7, meta, name="demo__echo", arguments={"text": "hi"})).encode()
    headers = modern_headers(
        "tools/call", "demo__echo", mcp_param_region="eu", authorization=MODERN_HEADERS["authorization"]
    )
    answer = await ask(it.app, path="/team/mcp", body=body, headers=headers)
    assert (answer.status, answer.json["id"], answer.json["result"]["content"][0]["text"]) == (200, 7, "hi")
    (call,) = pipeline.calls
    assert (call.who.name, call.endpoint, call.method, call.arguments) == (
        "local:client",
        "team",
        "tools/call",
        {"text": "hi"},
    )
    assert (call.id, call.size_bytes, call.trace) == (
        answer.headers["hub-call-id"],
        len(body),
        {"traceparent": "00-abc"},
    )
    client = call.client
    assert (client.era, client.revision, client.transport) == ("modern", "2026-07-28", "http")
    assert (client.info, client.capabilities) == ({"name": "ide", "version": "2"}, {"roots": {}})
    assert (client.log_level, client.wants_progress, client.param_headers) == (
        "warning",
        True,
        (("mcp-param-region", "eu"),),
    )


async def test_every_answer_has_an_id_of_its_own() -> None:
    it, pipeline = made()
    ids = {(await ask_modern(it.app, "tools/list")).headers["hub-call-id"] for _ in range(20)}
    assert ids == {call.id for call in pipeline.calls}
    assert len(ids) == 20


async def test_lists_are_paged_by_the_endpoints_page_size() -> None:
    it, _ = made(endpoints={"": Endpoint("", page_size=3)})
    first = (await ask_modern(it.app, "tools/list")).json["result"]
    second = (await ask_modern(it.app, "tools/list", cursor=first["nextCursor"])).json["result"]
    assert [t["name"] for t in first["tools"]] == ["demo__echo", "demo__fail", "demo__hang"]
    assert [t["name"] for t in second["tools"]] == ["demo__talk"]
    assert "nextCursor" not in second
    forged = await ask_modern(it.app, "prompts/list", cursor=first["nextCursor"])
    assert forged.json["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("method", "params", "key"),
    [
        ("prompts/get", {"name": "demo__greet"}, "messages"),
        ("resources/read", {"uri": "demo+file:///readme"}, "contents"),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": ""}},
            "completion",
        ),
        ("resources/templates/list", {}, "resourceTemplates"),
    ],
)
async def test_every_method_of_the_pipeline_is_answered(method: str, params: Any, key: str) -> None:
    it, _ = made()
    answer = await ask_modern(it.app, method, **params)
    assert answer.status == 200
    assert key in answer.json["result"]
    assert answer.json["result"]["resultType"] == "complete"


async def test_discovery_names_every_version_newest_first_and_is_the_endpoints_own() -> None:
    it, pipeline = made()
    result = (await ask_modern(it.app, "server/discover")).json["result"]
    assert result["supportedVersions"] == [*SUPPORTED]
    assert result["capabilities"] == it.ports.catalog.capabilities("")
    assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (0, "private", "complete")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mcp-hub"
    assert result["instructions"] == "call the tools"
    assert "instructions" not in (await ask_modern(it.app, "server/discover", path="/team/mcp")).json["result"]
    assert pipeline.calls == []


@pytest.mark.parametrize(
    "method", ["ping", "initialize", "logging/setLevel", "resources/subscribe", "roots/list", "tasks/get", "x"]
)
async def test_a_method_that_is_not_of_this_revision_is_a_404(method: str) -> None:
    it, pipeline = made()
    answer = await ask_modern(it.app, method)
    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (404, -32601, 1)
    assert pipeline.calls == []


@pytest.mark.parametrize(
    ("body", "headers", "rpc"),
    [
        (modern("tools/list", meta={}), modern_headers("tools/list"), -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, modern_headers("tools/list"), -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}, modern_headers("initialize"), -32602),
        (modern("tools/list", meta={VERSION_KEY: "2026-07-28"}), modern_headers("tools/list"), -32602),
        (modern("tools/list"), MODERN_HEADERS, -32020),
        (modern("tools/list"), modern_headers("tools/call"), -32020),
        (modern("tools/list"), modern_headers("tools/list", mcp_protocol_version="1999-01-01"), -32020),
        (modern("tools/call", name="demo__echo"), modern_headers("tools/call"), -32020),
        (modern("tools/call", name="demo__echo"), modern_headers("tools/call", "demo__talk"), -32020),
        (modern("resources/read", uri="a"), modern_headers("resources/read", "b"), -32020),
        (
            modern("tools/list", meta={**META, VERSION_KEY: "1999-01-01"}),
            modern_headers("tools/list", mcp_protocol_version="1999-01-01"),
            -32022,
        ),
        (modern("tools/call", arguments={}), modern_headers("tools/call"), -32602),
        (modern("tools/call", name="demo__echo", arguments=[]), modern_headers("tools/call", "demo__echo"), -32602),
    ],
)
async def test_a_malformed_request_is_a_400_as_with_the_reference_sdk(body: Any, headers: Any, rpc: int) -> None:
    it, pipeline = made()
    answer = await ask(it.app, body=body, headers=headers)
    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (400, rpc, 1)
    assert pipeline.calls == []
    assert it.legacy.seen == []
    theirs = classify_inbound_request(body, headers=headers)
    if isinstance(theirs, InboundLadderRejection):
        assert theirs.code == rpc


@pytest.mark.parametrize(
    "body",
    [
        {**modern("tools/list"), "id": None},
        {**modern("tools/list"), "id": 1.5},
        {**modern("tools/list"), "id": {}},
        {**modern("tools/list"), "jsonrpc": "1.0"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "method": 5},
        {},
    ],
)
async def test_a_malformed_envelope_is_an_invalid_request_without_an_id(body: Any) -> None:
    it, _ = made()
    answer = await ask(it.app, body=body, headers=modern_headers("tools/list"))
    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (400, -32600, None)


async def test_a_request_with_a_modern_body_and_no_header_never_falls_to_the_legacy_road() -> None:
    it, pipeline = made()
    headers = {k: v for k, v in modern_headers("tools/list").items() if k != "mcp-protocol-version"}
    answer = await ask(it.app, body=modern("tools/list"), headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32020)
    assert (pipeline.calls, it.legacy.seen) == ([], [])


async def test_trailing_blanks_of_headers_do_not_count() -> None:
    it, _ = made()
    headers = modern_headers("tools/call", "demo__echo \t")
    answer = await ask(it.app, body=modern("tools/call", name="demo__echo"), headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize(("version", "status"), [("2026-07-28", 202), ("1999-01-01", 400)])
async def test_a_notification_is_accepted_and_dropped(version: str, status: int) -> None:
    it, pipeline = made()
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    answer = await ask(it.app, body=body, headers={**MODERN_HEADERS, "mcp-protocol-version": version})
    assert answer.status == status
    assert "hub-call-id" in answer.headers
    assert pipeline.calls == []


@pytest.mark.parametrize(("name", "rpc"), [("demo__nothing", -32602), ("", -32602)])
async def test_an_unknown_tool_is_an_error_at_200(name: str, rpc: int) -> None:
    it, _ = made()
    answer = await ask_modern(it.app, "tools/call", name=name)
    assert (answer.status, answer.json["error"]["code"]) == (200, rpc)


@pytest.mark.parametrize(("code", "status"), [("header_mismatch", 400), ("unsupported", 404), ("internal", 200)])
async def test_some_denials_have_the_http_status_of_their_code(code: str, status: int) -> None:
    async def deny(call: Call) -> Outcome:
        return Denied(code, "because")

    it, _ = made(handle=deny)
    assert (await ask_modern(it.app, "tools/call", name="x")).status == status


def talking(level: str | None = "info", token: Any = "t") -> dict[str, Any]:
    meta = dict(META)
    if level is not None:
        meta[LEVEL_KEY] = level
    if token is not None:
        meta["progressToken"] = token
    return modern("tools/call", 1, meta, name="demo__talk")


async def test_what_is_told_before_the_answer_makes_it_a_stream() -> None:
    it, _ = made()
    answer = await ask(it.app, body=talking(), headers=modern_headers("tools/call", "demo__talk"))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert "hub-call-id" in answer.headers
    *told, last = answer.events
    progress = [e["params"] for e in told if e["method"] == "notifications/progress"]
    assert progress == [{"progress": n, "total": 3, "progressToken": "t"} for n in (1, 2, 3)]
    assert [e["params"]["data"] for e in told if e["method"] == "notifications/message"] == [
        "step 1",
        "step 2",
        "step 3",
    ]
    assert last["result"]["content"][0]["text"] == "talked"


async def test_log_messages_below_the_level_asked_for_are_not_told() -> None:
    it, _ = made()
    answer = await ask(it.app, body=talking("error", None), headers=modern_headers("tools/call", "demo__talk"))
    assert [e["params"]["data"] for e in answer.events if "method" in e] == ["step 3"]


@pytest.mark.parametrize(
    ("body", "accept"),
    [(talking(None, None), "application/json, text/event-stream"), (talking(), "application/json"), (talking(), "")],
)
async def test_who_asked_for_nothing_or_takes_no_stream_gets_json(body: Any, accept: str) -> None:
    it, _ = made()
    answer = await ask(it.app, body=body, headers=modern_headers("tools/call", "demo__talk", accept=accept))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["result"]["content"][0]["text"] == "talked"


async def test_a_call_that_is_silent_for_long_becomes_a_stream_that_is_kept_alive() -> None:
    it, pipeline = made(limits=Limits(keepalive_s=0.01))
    wire = Wire(json.dumps(modern("tools/call", name="demo__hang")).encode())
    running = asyncio.create_task(
        it.app(scope("POST", "/mcp", modern_headers("tools/call", "demo__hang")), wire.receive, wire.send)
    )
    await eventually(lambda: sum(m.get("body") == b": \n\n" for m in wire.sent) >= 2)
    pipeline.release.set()
    await running
    assert wire.answer.headers["content-type"] == "text/event-stream"
    assert wire.answer.events[-1]["result"]["content"][0]["text"] == "released"


async def test_a_client_that_leaves_cancels_its_call_and_is_not_answered() -> None:
    seen: list[int] = []
    it, pipeline = made(connected=lambda transport, change: seen.append(change))
    wire = Wire(json.dumps(modern("tools/call", name="demo__hang")).encode())
    running = asyncio.create_task(
        it.app(scope("POST", "/mcp", modern_headers("tools/call", "demo__hang")), wire.receive, wire.send)
    )
    await pipeline.hanging.wait()
    wire.left.set()
    async with asyncio.timeout(5):
        await running
    assert [c.method for c in pipeline.cancelled] == ["tools/call"]
    assert wire.sent == []
    assert seen == [1, -1]


async def test_a_client_that_leaves_in_mid_stream_cancels_its_call() -> None:
    hanging = asyncio.Event()

    async def talk_and_hang(call: Call) -> Outcome:
        call.client.back.notify("notifications/progress", {"progress": 1})
        hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    it, _ = made(handle=talk_and_hang)
    wire = Wire(json.dumps(talking()).encode())
    running = asyncio.create_task(
        it.app(scope("POST", "/mcp", modern_headers("tools/call", "demo__talk")), wire.receive, wire.send)
    )
    await hanging.wait()
    await eventually(lambda: len(wire.sent) == 3)  # the head, nothing to push it out, and what was told
    wire.left.set()
    async with asyncio.timeout(5):
        await running
    assert len(wire.sent) == 3


async def test_cancelling_the_server_is_not_taken_for_a_client_that_left() -> None:
    it, pipeline = made()
    wire = Wire(json.dumps(modern("tools/call", name="demo__hang")).encode())
    running = asyncio.create_task(
        it.app(scope("POST", "/mcp", modern_headers("tools/call", "demo__hang")), wire.receive, wire.send)
    )
    await pipeline.hanging.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert wire.sent == []


async def test_a_call_that_is_answered_at_once_is_never_watched() -> None:
    it, _ = made()
    wire = Wire(json.dumps(modern("tools/list")).encode())
    await it.app(scope("POST", "/mcp", modern_headers("tools/list")), wire.receive, wire.send)
    assert wire.receives == 1


async def test_what_is_told_after_the_answer_is_dropped() -> None:
    kept: list[Call] = []

    async def keep(call: Call) -> Outcome:
        kept.append(call)
        return Done({"content": []})

    it, _ = made(handle=keep)
    answer = await ask(it.app, body=talking(), headers=modern_headers("tools/call", "demo__talk"))
    kept[0].client.back.notify("notifications/progress", {"progress": 1})
    await asyncio.sleep(0)
    assert answer.headers["content-type"] == "application/json"


async def test_a_flood_of_notifications_is_bounded_and_the_answer_still_comes() -> None:
    async def flood(call: Call) -> Outcome:
        for n in range(10_000):
            call.client.back.notify("notifications/progress", {"progress": n})
        return Done({"content": []})

    it, _ = made(handle=flood, limits=replace(Limits(), back_queue=16))
    answer = await ask(it.app, body=talking(), headers=modern_headers("tools/call", "demo__talk"))
    assert len(answer.events) == 17
    assert answer.events[-1]["result"]["resultType"] == "complete"


async def test_a_client_that_takes_no_stream_is_watched_too_and_what_it_sends_late_is_not_its_leaving() -> None:
    it, pipeline = made(limits=Limits(keepalive_s=0.01))
    headers = modern_headers("tools/call", "demo__hang", accept="application/json")
    wire = Wire(json.dumps(modern("tools/call", name="demo__hang")).encode())
    running = asyncio.create_task(it.app(scope("POST", "/mcp", headers), wire.receive, wire.send))
    await pipeline.hanging.wait()
    wire.push({"type": "http.request", "body": b"", "more_body": False})
    await eventually(lambda: wire.receives >= 3)
    pipeline.release.set()
    await running
    assert wire.answer.json["result"]["content"][0]["text"] == "released"


async def test_a_stream_that_has_begun_is_kept_alive_by_its_own_writer() -> None:
    released = asyncio.Event()

    async def talk_and_wait(call: Call) -> Outcome:
        call.client.back.notify("notifications/progress", {"progress": 1})
        await released.wait()
        return Done({"content": []})

    it, _ = made(handle=talk_and_wait, limits=Limits(keepalive_s=0.06))
    wire = Wire(json.dumps(talking()).encode())
    headers = modern_headers("tools/call", "demo__talk")
    running = asyncio.create_task(it.app(scope("POST", "/mcp", headers), wire.receive, wire.send))
    await eventually(lambda: sum(m.get("body") == b": \n\n" for m in wire.sent) >= 3)
    released.set()
    await running
    assert len(wire.answer.events) == 2
