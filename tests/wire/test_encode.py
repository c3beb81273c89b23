from __future__ import annotations

from typing import Any

import pytest
from mcp_types.methods import validate_server_result

from hub.core.call import Asked, Client, Denied, Done, Listed, Outcome
from hub.wire import encode, jsonrpc
from hub.wire.decode import Refusal
from hub.wire.pages import Pages
from hub.wire.revisions import LEGACY
from tests.wire.samples import INFO, MODERN, call, item, legacy

PAGES = Pages(b"k" * 32)
STAMP = {"io.modelcontextprotocol/serverInfo": INFO}
TOOL = item("demo__echo", inputSchema={"type": "object"})
PROMPT = item("demo__greet", "prompt")


def encoded(
    method: str, outcome: Outcome, client: Client = MODERN, params: Any = None, size: int = 10, ttl_ms: int = 0
) -> encode.Encoded:
    made = call(method, params if params is not None else {"name": "x", "uri": "u"}, client)
    return encode.answer(made, outcome, request_id=7, server_info=INFO, pages=PAGES, page_size=size, ttl_ms=ttl_ms)


def read(made: encode.Encoded) -> Any:
    """The result as a client reads it: what stands in it may be written already."""
    return jsonrpc.loads(jsonrpc.dumps(made.message))["result"]


def test_a_modern_result_is_complete_and_signed_by_the_hub() -> None:
    done = Done({"content": [], "x": 1, "_meta": {"k": 1, "io.modelcontextprotocol/serverInfo": {"name": "theirs"}}})
    made = encoded("tools/call", done)
    assert made.message == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"content": [], "x": 1, "_meta": {"k": 1, **STAMP}, "resultType": "complete"},
    }
    assert (made.status, made.headers) == (200, {"hub-call-id": "id-1"})


def test_a_legacy_result_is_as_the_downstream_sent_it() -> None:
    result = {"content": [], "x": 1}
    assert encoded("tools/call", Done(result), legacy()).message["result"] is result


@pytest.mark.parametrize(
    ("given", "ttl"), [({}, 0), ({"ttlMs": 9}, 9), ({"ttlMs": -1}, 0), ({"ttlMs": True}, 0), ({"ttlMs": "9"}, 0)]
)
def test_what_was_read_keeps_its_time_and_is_private(given: Any, ttl: int) -> None:
    made = encoded("resources/read", Done({"contents": [], "cacheScope": "public", **given}))
    assert (made.message["result"]["ttlMs"], made.message["result"]["cacheScope"]) == (ttl, "private")


def test_a_tool_result_has_no_caching_hints() -> None:
    result = encoded("tools/call", Done({"content": [], "ttlMs": 5, "cacheScope": "public"})).message["result"]
    assert "ttlMs" not in result
    assert "cacheScope" not in result


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ],
)
def test_lists_are_under_their_key_in_both_eras(method: str, key: str) -> None:
    modern = read(encoded(method, Listed((TOOL,)), params={}))
    assert modern == {key: [TOOL.shown], "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": STAMP}
    assert read(encoded(method, Listed((TOOL,)), legacy(), {})) == {key: [TOOL.shown]}


@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"])
def test_every_page_of_a_list_says_how_long_it_may_be_kept_and_by_nobody_else(method: str) -> None:
    items = (item("demo__a"), item("demo__b"))
    params: dict[str, Any] = {}
    for _ in items:
        result = encoded(method, Listed(items), params=params, size=1, ttl_ms=700).message["result"]
        assert (result["ttlMs"], result["cacheScope"]) == (700, "private")
        params = {"cursor": result.get("nextCursor")}
    assert params == {"cursor": None}


def test_the_time_of_lists_is_of_lists_and_of_the_modern_era_only() -> None:
    assert encoded("resources/read", Done({"contents": []}), ttl_ms=700).message["result"]["ttlMs"] == 0
    assert "ttlMs" not in encoded("tools/call", Done({"content": []}), ttl_ms=700).message["result"]
    assert "ttlMs" not in encoded("tools/call", Denied("policy", ""), ttl_ms=700).message["result"]
    assert read(encoded("tools/list", Listed((TOOL,)), legacy(), {}, ttl_ms=700)) == {"tools": [TOOL.shown]}


def test_a_long_list_is_cut_and_its_cursor_leads_on() -> None:
    items = (TOOL, item("demo__more"))
    first = read(encoded("tools/list", Listed(items), params={}, size=1))
    assert [t["name"] for t in first["tools"]] == ["demo__echo"]
    second = read(encoded("tools/list", Listed(items), params={"cursor": first["nextCursor"]}, size=1))
    assert [t["name"] for t in second["tools"]] == ["demo__more"]
    assert "nextCursor" not in second


def test_a_bad_cursor_is_the_hubs_own_error() -> None:
    made = encoded("tools/list", Listed((TOOL,)), params={"cursor": ""})
    assert made.message["error"]["code"] == -32602
    assert made.message["error"]["data"] == {"_meta": {"io.mcp-hub/call": "id-1", "io.mcp-hub/code": "gone"}}


def test_a_denied_tool_call_is_a_complete_result_in_the_modern_era() -> None:
    result = encoded("tools/call", Denied("policy", "")).message["result"]
    assert (result["isError"], result["resultType"]) == (True, "complete")
    assert result["_meta"] == {"io.mcp-hub/call": "id-1", "io.mcp-hub/code": "policy", **STAMP}
    old = encoded("tools/call", Denied("policy", ""), legacy()).message["result"]
    assert old["_meta"] == {"io.mcp-hub/call": "id-1", "io.mcp-hub/code": "policy"}
    assert "resultType" not in old


def test_an_error_has_its_http_status_in_the_modern_era_only() -> None:
    assert encoded("tools/call", Denied("header_mismatch", "")).status == 400
    assert encoded("tools/call", Denied("unsupported", "")).status == 404
    assert encoded("tools/call", Denied("unsupported", ""), legacy()).status == 200


@pytest.mark.parametrize("state", [None, "opaque"])
def test_a_question_is_asked_of_a_modern_client(state: str | None) -> None:
    result = encoded("tools/call", Asked({"k": {"method": "roots/list"}}, state)).message["result"]
    assert (result["resultType"], result["inputRequests"]) == ("input_required", {"k": {"method": "roots/list"}})
    assert result.get("requestState") == state
    assert ("requestState" in result) is (state is not None)


def test_a_question_without_requests_has_no_requests_and_no_question_has_hints() -> None:
    result = encoded("resources/read", Asked({}, "s")).message["result"]
    assert result == {"resultType": "input_required", "requestState": "s", "_meta": STAMP}


def test_a_question_no_legacy_client_can_be_asked_is_an_error_result() -> None:
    assert encoded("tools/call", Asked({}, None), legacy()).message["result"]["isError"] is True


def test_a_refusal_carries_its_data_and_the_call_id() -> None:
    made = encode.refused(Refusal(-32022, "m", {"supported": []}), request_id=None, call_id="c")
    meta = {"io.mcp-hub/call": "c", "io.mcp-hub/code": "unsupported_version"}
    assert made.message == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32022, "message": "m", "data": {"supported": [], "_meta": meta}},
    }
    assert (made.status, made.headers) == (400, {"hub-call-id": "c"})
    assert encode.refused(Refusal(-32601, "m", None, 404), request_id=1, call_id="c", era="legacy").status == 200


def test_a_result_of_the_hubs_own_has_the_envelope_of_its_era() -> None:
    given: dict[str, Any] = {"supportedVersions": []}
    modern = encode.own_result(MODERN, "server/discover", given, INFO)
    assert modern == {**given, "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": STAMP}
    assert encode.own_result(MODERN, "server/discover", given, INFO, 700) == {**modern, "ttlMs": 700}
    assert encode.own_result(legacy(), "ping", {}, INFO) == {}


OUTCOMES: list[tuple[str, Outcome]] = [
    ("tools/call", Done({"structuredContent": [1, None]})),
    ("tools/call", Done({"content": [{"type": "audio", "data": "AA==", "mimeType": "audio/wav"}]})),
    ("tools/call", Done({"content": [{"type": "resource_link", "uri": "demo+x", "name": "x"}]})),
    ("tools/call", Denied("policy", "")),
    ("prompts/get", Done({"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}]})),
    ("resources/read", Done({"contents": [{"uri": "demo+x", "text": "x"}]})),
    ("completion/complete", Done({"completion": {"values": []}})),
    ("tools/list", Listed((TOOL, item("t", inputSchema={"type": "object"}, outputSchema={"type": "array"})))),
    ("prompts/list", Listed((PROMPT,))),
]


@pytest.mark.parametrize("client", [MODERN, *(legacy(r) for r in LEGACY)], ids=lambda c: c.revision)
@pytest.mark.parametrize(("method", "outcome"), OUTCOMES)
def test_every_answer_is_valid_in_its_revision(client: Client, method: str, outcome: Outcome) -> None:
    params: dict[str, Any] | None = {} if method.endswith("/list") else None
    validate_server_result(method, client.revision, read(encoded(method, outcome, client, params)))
