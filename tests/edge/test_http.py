from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hub.edge.ports import Limits
from hub.edge.request import Message, Receive, Scope, Send
from tests.edge.fakes import CLIENT_TOKEN, READER_TOKEN, FakeJournal, eventually, fake_ports
from tests.edge.harness import (
    MODERN_HEADERS,
    Door,
    Wire,
    ask,
    ask_modern,
    door,
    modern,
    modern_headers,
    scope,
)

LEGACY_HEADERS = {k: v for k, v in MODERN_HEADERS.items() if k != "mcp-protocol-version"}
INIT = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}


def made(**overrides: Any) -> tuple[Door, list[str]]:
    refused: list[str] = []
    ports = fake_ports(refused=refused.append, **overrides)
    return door(ports), refused


def without(*names: str) -> dict[str, str]:
    return {k: v for k, v in MODERN_HEADERS.items() if k not in names}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({**MODERN_HEADERS, "host": "evil.example"}, 403, "forbidden_host"),
        (without("host"), 403, "forbidden_host"),
        ({**MODERN_HEADERS, "origin": "https://evil.example"}, 403, "forbidden_origin"),
        ({**MODERN_HEADERS, "origin": "null"}, 403, "forbidden_origin"),
        (without("authorization"), 401, "unauthenticated"),
        ({**MODERN_HEADERS, "authorization": "Bearer wrong"}, 401, "unauthenticated"),
        ({**MODERN_HEADERS, "authorization": f"Basic {CLIENT_TOKEN}"}, 401, "unauthenticated"),
        ({**MODERN_HEADERS, "authorization": CLIENT_TOKEN}, 401, "unauthenticated"),
        ({**MODERN_HEADERS, "authorization": f"Bearer {READER_TOKEN}"}, 403, "insufficient_scope"),
        ({**MODERN_HEADERS, "content-length": str(5 * 1024 * 1024)}, 413, "too_large"),
        ({**MODERN_HEADERS, "content-length": "9" * 30}, 413, "too_large"),
        ({**MODERN_HEADERS, "content-length": "-1"}, 413, "too_large"),
        ({**MODERN_HEADERS, "content-type": "text/plain"}, 415, "unsupported_media"),
        ([*MODERN_HEADERS.items(), ("Mcp-Method", "a"), ("Mcp-Method", "a")], 400, "doubled_header"),
        ([*MODERN_HEADERS.items(), ("mcp-param-x", "a"), ("Mcp-Param-X", "a")], 400, "doubled_header"),
        ([*MODERN_HEADERS.items(), ("Host", "127.0.0.1")], 400, "doubled_header"),
        ([*MODERN_HEADERS.items(), ("Authorization", "Bearer x")], 400, "doubled_header"),
        ([*MODERN_HEADERS.items(), ("MCP-Protocol-Version", "2025-11-25")], 400, "doubled_header"),
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/team/mcp"])
async def test_what_may_not_pass_is_told_why_with_a_call_id(headers: Any, status: int, code: str, path: str) -> None:
    it, refused = made()
    answer = await ask(it.app, path=path, body=modern("tools/list"), headers=headers)
    assert (answer.status, refused) == (status, [code])
    meta = answer.json["error"]["data"]["_meta"]
    assert meta == {"io.mcp-hub/call": answer.headers["hub-call-id"], "io.mcp-hub/code": code}
    assert it.ports.handle.calls == []  # type: ignore[attr-defined]
    await it.app.drain(1)


async def test_an_unknown_endpoint_is_a_404_only_to_those_who_may_call() -> None:
    it, _ = made()
    known = await ask(it.app, path="/nowhere/mcp", body=modern("tools/list"))
    assert (known.status, known.json["error"]["data"]["_meta"]["io.mcp-hub/code"]) == (404, "not_found")
    assert (await ask(it.app, path="/nowhere/mcp", headers=without("authorization"))).status == 401


async def test_a_challenge_names_the_realm_and_the_scope() -> None:
    it, _ = made()
    answer = await ask(it.app, headers=without("authorization"))
    assert answer.headers["www-authenticate"] == 'Bearer realm="mcp-hub", scope="mcp"'
    answer = await ask(it.app, headers={**MODERN_HEADERS, "authorization": f"Bearer {READER_TOKEN}"})
    assert answer.headers["www-authenticate"] == 'Bearer realm="mcp-hub", error="insufficient_scope", scope="mcp"'


async def test_a_request_without_a_token_guesses_nothing_and_is_never_held_up() -> None:
    journal = FakeJournal()
    it, _ = made(journal=journal)
    answers = [await ask(it.app, headers=without("authorization")) for _ in range(60)]
    assert {a.status for a in answers} == {401}
    await it.app.drain(1)
    assert sum(e[4]["count"] for e in journal.events) == 60


async def test_failed_logins_are_logged_and_limited_and_never_lock_a_valid_token_out() -> None:
    journal = FakeJournal()
    it, refused = made(journal=journal)
    guess = {**MODERN_HEADERS, "authorization": "Bearer a-guess"}
    answers = [await ask(it.app, headers=guess) for _ in range(40)]
    assert {a.status for a in answers[:30]} == {401}
    assert {a.status for a in answers[30:]} == {429}
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert refused.count("too_many_logins") == 10
    assert (await ask_modern(it.app, "tools/list")).status == 200
    await eventually(lambda: bool(journal.events))
    await it.app.drain(1)
    assert {e[:3] for e in journal.events} == {("auth", "anonymous", "denied:unauthenticated")}
    assert sum(e[4]["count"] for e in journal.events) == 40


async def test_a_caller_without_an_address_is_limited_too() -> None:
    it, _ = made()
    wire = Wire()
    await it.app({**scope("POST", "/mcp", without("authorization")), "client": None}, wire.receive, wire.send)
    assert wire.answer.status == 401


@pytest.mark.parametrize(
    ("body", "rpc", "code"),
    [
        (b"", -32700, "parse_error"),
        (b"{", -32700, "parse_error"),
        (b'{"a": NaN}', -32700, "parse_error"),
        (b"[" * 5000, -32700, "parse_error"),
        (b"7", -32600, "invalid_request"),
        (json.dumps([modern("tools/list")]).encode(), -32600, "invalid_request"),
    ],
)
async def test_a_body_that_is_no_message_is_a_400(body: bytes, rpc: int, code: str) -> None:
    it, refused = made()
    answer = await ask(it.app, body=body)
    assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (400, rpc, None)
    assert (answer.json["error"]["data"]["_meta"]["io.mcp-hub/code"], refused) == (code, [code])
    assert answer.json["error"]["data"]["_meta"]["io.mcp-hub/call"] == answer.headers["hub-call-id"]


async def test_a_legacy_header_on_a_modern_body_is_answered_under_its_id() -> None:
    it, _ = made()
    headers = {**MODERN_HEADERS, "mcp-protocol-version": "2025-11-25"}
    answer = await ask(it.app, body=modern("tools/list", id="x"), headers=headers)
    assert (answer.status, answer.json["id"], answer.json["error"]["code"]) == (400, "x", -32020)
    bad_id = {**modern("tools/list"), "id": [1]}
    assert (await ask(it.app, body=bad_id, headers=headers)).json["id"] is None
    assert it.legacy.seen == []


async def test_a_body_over_the_cap_is_refused_though_no_length_was_declared() -> None:
    it, _ = made(limits=Limits(body_bytes=10))
    wire = Wire(b"x" * 6, b"y" * 6)
    await it.app(scope("POST", "/mcp", MODERN_HEADERS), wire.receive, wire.send)
    assert wire.answer.status == 413


async def test_a_body_in_pieces_is_put_together() -> None:
    it, _ = made()
    text = json.dumps(modern("server/discover")).encode()
    wire = Wire(*(text[n : n + 7] for n in range(0, len(text), 7)))
    await it.app(scope("POST", "/mcp", modern_headers("server/discover")), wire.receive, wire.send)
    assert wire.answer.status == 200


async def test_a_body_that_never_ends_is_a_408() -> None:
    it, refused = made(limits=Limits(body_s=0.01))

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    wire = Wire()
    await it.app(scope("POST", "/mcp", MODERN_HEADERS), never, wire.send)
    assert (wire.answer.status, refused) == (408, ["slow_body"])


async def test_a_client_that_leaves_in_mid_body_is_answered_by_nobody() -> None:
    it, refused = made()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    wire = Wire()
    await it.app(scope("POST", "/mcp", MODERN_HEADERS), gone, wire.send)
    assert (wire.sent, refused) == ([], [])


@pytest.mark.parametrize(
    ("method", "path", "edge", "name"),
    [
        ("POST", "/mcp", "post", ""),
        ("POST", "/team/mcp", "post", "team"),
        ("GET", "/mcp", "get", ""),
        ("DELETE", "/team/mcp", "delete", "team"),
        ("GET", "/sse", "open", ""),
        ("GET", "/team/sse", "open", "team"),
        ("POST", "/messages", "post", ""),
        ("POST", "/team/messages", "post", "team"),
    ],
)
async def test_legacy_requests_reach_their_edge(method: str, path: str, edge: str, name: str) -> None:
    it, _ = made()
    headers = {**LEGACY_HEADERS, "x-blank": " \tpadded\t "}
    answer = await ask(it.app, method, path, INIT if method == "POST" else b"", headers)
    assert answer.json == {"door": edge}
    ((_, request),) = it.legacy.seen or it.sse.seen
    assert (request.endpoint.name, request.method, request.who.name) == (name, method, "local:client")
    assert request.message == (INIT if method == "POST" else None)
    assert request.headers["x-blank"] == "padded"
    assert bool(it.sse.seen) is (path.endswith(("sse", "messages")))


async def test_a_batch_without_a_modern_header_is_for_the_legacy_edge() -> None:
    it, _ = made()
    await ask(it.app, body=[INIT], headers=LEGACY_HEADERS)
    assert it.legacy.seen[0][1].message == [INIT]


@pytest.mark.parametrize(
    ("method", "path", "headers", "allow"),
    [
        ("GET", "/mcp", MODERN_HEADERS, "POST"),
        ("DELETE", "/mcp", MODERN_HEADERS, "POST"),
        ("PUT", "/mcp", LEGACY_HEADERS, "GET, POST, DELETE"),
        ("POST", "/sse", LEGACY_HEADERS, "GET"),
        ("GET", "/messages", LEGACY_HEADERS, "POST"),
        ("HEAD", "/mcp", LEGACY_HEADERS, "GET, POST, DELETE"),
    ],
)
async def test_other_methods_are_a_405(method: str, path: str, headers: Any, allow: str) -> None:
    it, _ = made()
    answer = await ask(it.app, method, path, headers=headers)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert "hub-call-id" in answer.headers


@pytest.mark.parametrize(
    "path", ["/api/v1/status", "/", "//mcp", "/a/b/mcp", "/mcp/", "/MCP", "/mcpx", "/ui/sse/x", ""]
)
async def test_everything_else_is_for_the_rest_and_its_caller_is_verified(path: str) -> None:
    it, _ = made()
    answer = await ask(it.app, "GET", path, headers=LEGACY_HEADERS)
    assert answer.json == {"path": path, "who": "local:client"}
    refused = await ask(it.app, "GET", path, headers={"host": "localhost"})
    assert (refused.status, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.json["call"] == refused.headers["hub-call-id"]


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_is_open_to_all_and_trusts_nobody(path: str) -> None:
    it, _ = made()
    answer = await ask(it.app, "GET", path, headers={"host": "10.1.2.3", "authorization": f"Bearer {CLIENT_TOKEN}"})
    assert answer.json == {"path": path, "who": None}


async def test_metrics_are_open_only_where_the_hub_says_so() -> None:
    open_door = door(fake_ports(), metrics_open=True)
    assert (await ask(open_door.app, "GET", "/metrics", headers={"host": "localhost"})).json["who"] is None
    assert (await ask(open_door.app, "GET", "/metrics", headers={"host": "evil.example"})).status == 403
    shut = door(fake_ports())
    assert (await ask(shut.app, "GET", "/metrics", headers={"host": "localhost"})).status == 401


async def test_a_browser_of_an_allowed_origin_is_told_so() -> None:
    it, _ = made()
    preflight = {
        "host": "localhost",
        "origin": "http://localhost:6274",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, mcp-method",
    }
    answer = await ask(it.app, "OPTIONS", headers=preflight)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "http://localhost:6274")
    assert answer.headers["access-control-allow-headers"] == "authorization, mcp-method"
    answer = await ask(
        it.app,
        body=modern("server/discover"),
        headers=modern_headers("server/discover", origin="http://localhost:6274"),
    )
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:6274")
    assert (await ask(it.app, "OPTIONS", headers=LEGACY_HEADERS)).status == 405


async def test_a_bug_behind_the_door_is_a_500_without_its_words() -> None:
    async def broken(call: Any) -> Any:
        raise ValueError("secret detail")

    it, _ = made(handle=broken)
    answer = await ask_modern(it.app, "tools/list")
    assert (answer.status, answer.json["error"]["code"]) == (500, -32603)
    assert b"secret" not in answer.body
    assert "hub-call-id" in answer.headers


async def test_a_bug_after_the_answer_began_is_left_to_the_server() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("secret detail")

    it = door(fake_ports(), rest_app=broken)
    sent: list[Message] = []

    async def once(message: Message) -> None:
        if sent:
            raise RuntimeError("already started")
        sent.append(message)

    await it.app(scope("GET", "/x", LEGACY_HEADERS), Wire().receive, once)
    assert [m["status"] for m in sent] == [200]


async def test_only_http_is_answered() -> None:
    it, _ = made()
    wire = Wire()
    await it.app({"type": "websocket"}, wire.receive, wire.send)
    assert wire.sent == []


async def test_draining_waits_for_requests_in_flight_and_then_ends_the_sessions() -> None:
    it, _ = made()
    pipeline: Any = it.ports.handle
    call = asyncio.create_task(ask_modern(it.app, "tools/call", name="demo__hang"))
    await pipeline.hanging.wait()
    draining = asyncio.create_task(it.app.drain(5))
    await asyncio.sleep(0)
    assert not it.legacy.closed
    pipeline.release.set()
    assert (await call).status == 200
    await draining
    assert it.legacy.closed
    assert it.sse.closed


async def test_draining_ends_in_time_and_survives_an_edge_that_fails_to_close() -> None:
    it, _ = made()

    async def broken() -> None:
        raise OSError

    it.legacy.aclose = broken  # type: ignore[method-assign]
    pipeline: Any = it.ports.handle
    call = asyncio.create_task(ask_modern(it.app, "tools/call", name="demo__hang"))
    await pipeline.hanging.wait()
    await it.app.drain(0.01)
    assert it.sse.closed
    pipeline.release.set()
    await call
