from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.inbound import InboundModernRoute, classify_inbound_request
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from hub.core.call import Call, Client, Mute
from hub.wire import revisions
from hub.wire.decode import (
    CAPABILITIES_KEY,
    INFO_KEY,
    LEVEL_KEY,
    VERSION_KEY,
    Refusal,
    decode,
    legacy_client,
    modern_client,
    progress_token,
    trace,
)
from tests.wire.samples import MODERN, WHO

META = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}
BACK = Mute()


def read(method: str, params: Any = None) -> Call | Refusal:
    message = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        message["params"] = params
    return decode(message, call_id="c", who=WHO, endpoint="e", client=MODERN, size_bytes=7, deadline=3.0)


REF = {"type": "ref/prompt", "name": "p"}
ARGUMENT = {"name": "a", "value": ""}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", None),
        ("tools/list", {"cursor": ""}),
        ("prompts/list", {}),
        ("resources/list", {"cursor": "x"}),
        ("resources/templates/list", {}),
        ("tools/call", {"name": ""}),
        ("tools/call", {"name": "t", "arguments": {}}),
        ("prompts/get", {"name": "p", "arguments": {"a": "b"}}),
        ("resources/read", {"uri": "x"}),
        ("completion/complete", {"ref": REF, "argument": ARGUMENT}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "u"}, "argument": ARGUMENT, "context": {}}),
        ("completion/complete", {"ref": REF, "argument": ARGUMENT, "context": {"arguments": {"x": "y"}}}),
    ],
)
def test_a_well_formed_request_is_a_call(method: str, params: Any) -> None:
    made = read(method, params)
    assert isinstance(made, Call)
    assert (made.id, made.who, made.endpoint, made.method) == ("c", WHO, "e", method)
    assert (made.params, made.size_bytes, made.deadline) == (params or {}, 7, 3.0)


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("tools/list", {"cursor": 1}, "cursor"),
        ("tools/list", {"cursor": None}, "cursor"),
        ("tools/call", None, "name"),
        ("tools/call", {"name": 1}, "name"),
        ("tools/call", {"name": "t", "arguments": []}, "arguments"),
        ("tools/call", {"name": "t", "arguments": None}, "arguments"),
        ("tools/call", {"name": "t", "arguments": "{}"}, "arguments"),
        ("prompts/get", {"arguments": {}}, "name"),
        ("resources/read", {"uri": None}, "uri"),
        ("completion/complete", {"argument": ARGUMENT}, "ref"),
        ("completion/complete", {"ref": "p", "argument": ARGUMENT}, "ref"),
        ("completion/complete", {"ref": {"type": []}, "argument": ARGUMENT}, "ref"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "u"}, "argument": ARGUMENT}, "ref"),
        ("completion/complete", {"ref": REF}, "argument"),
        ("completion/complete", {"ref": REF, "argument": {"name": "a"}}, "argument"),
        ("completion/complete", {"ref": REF, "argument": ARGUMENT, "context": []}, "context"),
        ("completion/complete", {"ref": REF, "argument": ARGUMENT, "context": {"arguments": []}}, "context"),
    ],
)
def test_a_malformed_request_is_told_which_part_is_wrong(method: str, params: Any, words: str) -> None:
    made = read(method, params)
    assert isinstance(made, Refusal)
    assert (made.code, made.status) == (-32602, 400)
    assert words in made.message


@pytest.mark.parametrize("method", ["ping", "initialize", "logging/setLevel", "tasks/get", "", "__class__"])
def test_a_method_that_is_no_call_is_not_found(method: str) -> None:
    made = read(method, {})
    assert isinstance(made, Refusal)
    assert (made.code, made.status) == (-32601, 404)


def test_the_trace_context_is_lifted_out_of_the_metadata() -> None:
    given = {"traceparent": "00-1", "tracestate": "a=b", "baggage": "k=v", "progressToken": 1}
    made = read("tools/list", {"_meta": given})
    assert isinstance(made, Call)
    assert made.trace == {"traceparent": "00-1", "tracestate": "a=b", "baggage": "k=v"}


@pytest.mark.parametrize("meta", [None, [], {}, {"traceparent": 1}, {"baggage": "x" * 8193}])
def test_what_is_no_trace_context_is_left_out(meta: Any) -> None:
    assert trace({"_meta": meta}) == {}


@pytest.mark.parametrize(
    ("params", "token"),
    [({}, None), ({"_meta": 1}, None), ({"_meta": {"progressToken": "t"}}, "t"), ({"_meta": {"progressToken": 0}}, 0)],
)
def test_the_progress_token_is_read(params: Any, token: Any) -> None:
    assert progress_token(params) == token


def test_a_modern_client_is_read_from_the_envelope() -> None:
    info = {"name": "ide", "version": "1", "icons": [], "title": "x" * 2000}
    meta = {**META, CAPABILITIES_KEY: {"roots": {}, "extensions": {"a": {}}}, INFO_KEY: info, LEVEL_KEY: "info"}
    headers = (("mcp-param-x", "1"),)
    made = modern_client({"_meta": {**meta, "progressToken": 1}}, BACK, "http", headers)
    assert made == Client(
        era="modern",
        revision="2026-07-28",
        capabilities={"roots": {}, "extensions": {"a": {}}},
        info={"name": "ide", "version": "1"},
        log_level="info",
        wants_progress=True,
        transport="http",
        param_headers=headers,
        back=BACK,
    )


def test_a_bare_envelope_asks_for_nothing() -> None:
    made = modern_client({"_meta": META}, BACK, "stdio")
    assert made == Client("modern", "2026-07-28", transport="stdio", back=BACK)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "_meta"),
        ({"_meta": []}, "_meta"),
        ({"_meta": {VERSION_KEY: "2026-07-28"}}, CAPABILITIES_KEY),
        ({"_meta": {CAPABILITIES_KEY: {}}}, VERSION_KEY),
        ({"_meta": {**META, VERSION_KEY: 7}}, "string"),
        ({"_meta": {**META, CAPABILITIES_KEY: []}}, "object"),
        ({"_meta": {**META, CAPABILITIES_KEY: {"roots": True}}}, "every capability"),
        ({"_meta": {**META, CAPABILITIES_KEY: {"extensions": {"x": 1}}}}, "extensions"),
        ({"_meta": {**META, INFO_KEY: "ide"}}, INFO_KEY),
        ({"_meta": {**META, LEVEL_KEY: "loud"}}, "one of"),
        ({"_meta": {**META, LEVEL_KEY: []}}, "one of"),
        ({"_meta": {**META, "progressToken": True}}, "progressToken"),
        ({"_meta": {**META, "progressToken": None}}, "progressToken"),
    ],
)
def test_a_malformed_envelope_is_refused(params: Any, words: str) -> None:
    made = modern_client(params, BACK, "http")
    assert isinstance(made, Refusal)
    assert (made.code, made.status) == (-32602, 400)
    assert words in made.message


@pytest.mark.parametrize("version", ["2025-11-25", "1999-01-01", "", "9" * 5000])
def test_an_unknown_version_is_told_what_is_supported(version: str) -> None:
    made = modern_client({"_meta": {**META, VERSION_KEY: version}}, BACK, "http")
    assert isinstance(made, Refusal)
    assert (made.code, made.status) == (-32022, 400)
    assert made.data == {"supported": [*revisions.MODERN, *revisions.LEGACY], "requested": version[:1024]}


@pytest.mark.parametrize(
    "meta", [META, None, {}, {VERSION_KEY: "2026-07-28"}, {**META, VERSION_KEY: "2025-11-25"}, {**META, VERSION_KEY: 1}]
)
def test_envelopes_are_judged_as_the_reference_sdk_judges_them(meta: Any) -> None:
    theirs = classify_inbound_request({"method": "tools/list", "params": {"_meta": meta}})
    ours = modern_client({"_meta": meta}, BACK, "http")
    if isinstance(theirs, InboundModernRoute):
        assert isinstance(ours, Client)
    else:
        assert isinstance(ours, Refusal)
        assert ours.code == theirs.code


@pytest.mark.parametrize(
    ("params", "revision", "capabilities", "info"),
    [
        ({"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}}, "2025-06-18", {"roots": {}}, {}),
        ({"protocolVersion": "2026-07-28", "clientInfo": {"name": "x"}}, "2025-11-25", {}, {"name": "x"}),
        ({"protocolVersion": 5, "capabilities": [], "clientInfo": 1}, "2025-11-25", {}, {}),
        ({}, "2025-11-25", {}, {}),
    ],
)
def test_a_legacy_client_is_read_from_its_initialize(params: Any, revision: str, capabilities: Any, info: Any) -> None:
    made = legacy_client(params, "sse", BACK)
    assert made == Client("legacy", revision, capabilities, info, transport="sse", back=BACK)


def test_the_revisions_are_those_of_the_reference_sdk() -> None:
    assert revisions.MODERN == MODERN_PROTOCOL_VERSIONS
    assert tuple(reversed(revisions.LEGACY)) == HANDSHAKE_PROTOCOL_VERSIONS
    assert (revisions.LATEST_MODERN, revisions.LATEST_LEGACY) == ("2026-07-28", "2025-11-25")


@pytest.mark.parametrize(
    ("requested", "offered"),
    [("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2026-07-28", "2025-11-25"), ("x", "2025-11-25")],
)
def test_initialize_is_offered_the_same_or_the_latest_legacy_revision(requested: str, offered: str) -> None:
    assert revisions.counter_offer(requested) == offered


def test_revisions_are_ordered_and_unknown_ones_are_below_all() -> None:
    assert revisions.is_modern("2026-07-28")
    assert not revisions.is_modern("2025-11-25")
    assert revisions.is_legacy("2024-11-05")
    assert not revisions.is_legacy("2026-07-28")
    assert revisions.at_least("2026-07-28", "2025-06-18")
    assert revisions.at_least("2025-06-18", "2025-06-18")
    assert not revisions.at_least("2025-03-26", "2025-06-18")
    assert not revisions.at_least("zzz", "2025-06-18")


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_a_malformed_retry_is_refused_and_a_well_formed_one_is_a_call(method: str) -> None:
    named = {"name": "n", "uri": "u"}
    fine = {**named, "inputResponses": {"k": {"action": "accept"}}, "requestState": "s"}
    made = read(method, fine)
    assert isinstance(made, Call)
    assert made.params == fine
    for wrong in ({"inputResponses": None}, {"inputResponses": {"k": 12345}}, {"requestState": 7}):
        refused = read(method, {**named, **wrong})
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.status) == (-32602, 400)


def test_legacy_clients_and_methods_that_ask_nothing_may_use_those_words_as_they_like() -> None:
    params = {"name": "n", "inputResponses": 5, "requestState": 5}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    client = legacy_client({}, "http", BACK)
    made = decode(message, call_id="c", who=WHO, endpoint="e", client=client, size_bytes=7, deadline=3.0)
    assert isinstance(made, Call)
    assert isinstance(read("tools/list", {"inputResponses": 5}), Call)
