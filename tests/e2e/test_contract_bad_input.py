"""Bad input and failure: each gets the error a person can act on, in its era's form, within its deadline."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Lines, Place, is_call_id, raw_server, until
from tests.e2e.raw_http import (
    CALL,
    CODE,
    META,
    MODERN,
    Answer,
    Http,
    Session,
    SseSession,
    modern_message,
    raw_exchange,
)

pytestmark = pytest.mark.e2e

TIMEOUTS = {"connect": 2, "initialize": 2, "list": 2, "call": 1, "hard": 3}
OTHERS_S = 2.0  # how long a call to a healthy server may take beside a sick one, on a loaded machine


def server(mode: str, *more: str, **options: Any) -> dict[str, Any]:
    return {**raw_server(mode, *more), "timeouts": TIMEOUTS, **options}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    config = {
        "edge": {"body_bytes": 100_000},
        "limits": {"per_caller": {"per_minute": 1_000_000, "burst": 100_000}},
        "endpoints": {"/mcp": {"page_size": 5}, "/other/mcp": {"servers": ["ok"]}},
        "mcpServers": {
            "ok": raw_server("legacy"),
            "new": server("modern"),
            "bad": server("legacy"),
            "flood": {**raw_server("legacy"), "max_result_bytes": 1_000_000},
            "mute": server("hang"),
            "gone": server("exit"),
            "garbage": server("garbage"),
            "noisy": server("noisy"),
            "none": {"command": "/no/such/program"},
            "refused": {"url": "http://127.0.0.1:9/mcp", "timeouts": TIMEOUTS},
        },
    }
    place = Place(tmp_path_factory.mktemp("bad"), config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as running:
        for id in ("ok", "new", "bad", "flood", "noisy"):
            running.wait_state(id, "ready")
            until(lambda id=id: running.server(id)["items"].get("tool"), f"{id} is listed")  # type: ignore[misc]
        yield running


def good(hub: Hub) -> None:
    """All other servers are unaffected."""
    began = monotonic()
    assert hub.call("ok__echo", {"text": "fine"}).text == "echo: fine"
    assert monotonic() - began < OTHERS_S


# What clients send


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"a":NaN}', b'{"a":1e999}', b'"\xff"', b'{"a":"\\ud800"}', b"{}{}", b"\xef\xbb\xbf"],
    ids=["empty", "open", "words", "NaN", "infinite", "bad UTF-8", "lone surrogate", "two values", "only a BOM"],
)
def test_malformed_json_is_a_parse_error(hub: Hub, body: bytes) -> None:
    session = Session(hub.http)
    for headers in ({"MCP-Protocol-Version": MODERN}, session.headers, {}):
        answer = hub.http.request("POST", "/mcp", body, headers)
        assert (answer.status, answer.error["code"]) == (400, -32700)
        assert answer.json["id"] is None
        assert answer.meta[CALL] == answer.call_id


def test_malformed_json_on_stdio_and_sse_is_a_parse_error_and_ends_nothing(hub: Hub) -> None:
    with Lines(hub.place, "stdio") as stdio, SseSession(hub.http) as sse:
        stdio.say(b"{nonsense")
        assert stdio.hear()["error"]["code"] == -32700
        stdio.initialize()
        stdio.say(b"[" * 100_000)
        assert stdio.hear()["error"]["code"] == -32700
        assert stdio.request("ping")["result"] == {}
        assert sse.post(b"{nonsense").error["code"] == -32700
        assert sse.request("ping")[1]["result"] == {}


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_deep_nesting_is_refused_and_costs_nothing(hub: Hub, opening: bytes) -> None:
    for depth in (200, 15_000):
        answer = hub.http.request("POST", "/mcp", opening * depth + b"1", {"MCP-Protocol-Version": MODERN})
        assert (answer.status, answer.error["code"]) == (400, -32700)
    closing = {b'{"a":': b"}", b"[": b"]"}[opening]
    answer = hub.http.request("POST", "/mcp", opening * 200 + b"1" + closing * 200, {"MCP-Protocol-Version": MODERN})
    assert answer.status == 400
    good(hub)


def test_an_oversize_body_is_answered_413_however_it_comes(hub: Hub) -> None:
    body, headers = modern_message("tools/call", {"name": "ok__echo", "arguments": {"text": "x" * 200_000}})
    answer = hub.http.request("POST", "/mcp", body, headers)
    assert (answer.status, answer.code) == (413, "too_large")
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {CLIENT}\r\nConnection: close\r\n"
    chunked = head + "Transfer-Encoding: chunked\r\n\r\n" + f"{20_000:x}\r\n{'x' * 20_000}\r\n" * 6 + "0\r\n\r\n"
    assert raw_exchange(hub.port, chunked.encode()).split()[1] == b"413"
    announced = head + "Content-Length: 99999999999\r\n\r\n"
    assert raw_exchange(hub.port, announced.encode()).split()[1] == b"413"
    good(hub)


def test_unknown_methods_are_refused_in_the_form_of_their_era(hub: Hub) -> None:
    modern = hub.http.modern("tools/frobnicate")
    assert (modern.status, modern.error["code"]) == (404, -32601)
    for removed in ("initialize", "ping", "logging/setLevel", "resources/subscribe"):
        assert hub.http.modern(removed).error["code"] == -32601, removed
    legacy = Session(hub.http).request("tools/frobnicate")
    assert (legacy.status, legacy.error["code"]) == (200, -32601)
    with SseSession(hub.http) as sse:
        posted, message = sse.request("tools/frobnicate")
        assert (posted.status, message["error"]["code"]) == (202, -32601)
        assert message["error"]["data"]["_meta"][CALL] == posted.call_id


def test_mixed_eras_are_refused(hub: Hub) -> None:
    session = Session(hub.http)
    body, headers = modern_message("tools/list", None)
    # a modern body on the legacy road, with a session or without
    assert hub.http.request("POST", "/mcp", body, session.headers).error["code"] == -32020
    assert hub.http.request("POST", "/mcp", body).error["code"] == -32020  # the header is missing
    # a legacy body with a modern header
    legacy = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert hub.http.request("POST", "/mcp", legacy, {"MCP-Protocol-Version": MODERN}).error["code"] in (-32602, -32020)
    # headers that contradict the body
    for name, value in (("Mcp-Method", "tools/call"), ("MCP-Protocol-Version", "2025-11-25")):
        answer = hub.http.request("POST", "/mcp", body, {**headers, name: value})
        assert (answer.status, answer.error["code"]) == (400, -32020), name
    call, headers = modern_message("tools/call", {"name": "ok__echo"})
    for more in ({"Mcp-Name": "ok__slow"}, {"Mcp-Name": ""}):
        assert hub.http.request("POST", "/mcp", call, {**headers, **more}).error["code"] == -32020
    # a batch in the modern era
    batch = hub.http.request("POST", "/mcp", [body, body], {"MCP-Protocol-Version": MODERN})
    assert (batch.status, batch.error["code"]) == (400, -32600)
    # a batch in a legacy revision that has none
    assert session.post([session.message("ping")]).status == 400


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {f"{META}protocolVersion": MODERN},
        {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": []},
        {f"{META}protocolVersion": 7, f"{META}clientCapabilities": {}},
        {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}, f"{META}logLevel": "loud"},
        {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}, "progressToken": {}},
    ],
)
def test_a_broken_envelope_is_told_what_it_lacks(hub: Hub, meta: dict[str, Any]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    answer = hub.http.request("POST", "/mcp", body, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"})
    assert answer.status == 400
    assert answer.error["code"] in (-32602, -32020)
    assert (
        "_meta" in answer.error["message"]
        or "io.modelcontextprotocol" in answer.error["message"]
        or ("progressToken" in answer.error["message"] or "version" in answer.error["message"])
    )


@pytest.mark.parametrize(
    "message",
    [
        7,
        "x",
        None,
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": 7},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]},
    ],
)
def test_what_is_no_json_rpc_message_is_an_invalid_request(hub: Hub, message: Any) -> None:
    session = Session(hub.http)
    for headers in ({"MCP-Protocol-Version": MODERN}, session.headers):
        answer = hub.http.request("POST", "/mcp", json.dumps(message), headers)
        assert (answer.status, answer.error["code"]) == (400, -32600)
        assert is_call_id(answer.call_id)


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "ok__echo", "x" * 90_000, 7, {}])
def test_forged_cursors_are_refused(hub: Hub, cursor: Any) -> None:
    for answer in (
        hub.http.modern("tools/list", {"cursor": cursor}),
        Session(hub.http).request("tools/list", {"cursor": cursor}),
    ):
        assert answer.error["code"] == -32602
        assert answer.meta[CALL] == answer.call_id


def test_a_cursor_is_of_no_use_to_another_caller_endpoint_or_list(hub: Hub) -> None:
    cursor = hub.http.modern("tools/list").result["nextCursor"]
    assert hub.http.modern("tools/list", {"cursor": cursor}).result["tools"]
    key = hub.place.json("keys", "create", "--name", "thief", "--server", "*")["key"]
    assert Http(hub.port, key).modern("tools/list", {"cursor": cursor}).error["code"] == -32602
    assert hub.http.modern("tools/list", {"cursor": cursor}, endpoint="/other").error["code"] == -32602
    assert hub.http.modern("prompts/list", {"cursor": cursor}).error["code"] == -32602
    flipped = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    assert hub.http.modern("tools/list", {"cursor": flipped}).error["code"] == -32602


def test_forged_session_ids_are_404_and_no_session_is_400(hub: Hub) -> None:
    session = Session(hub.http)
    message = session.message("tools/list")
    for id in ("x", session.id[:-1], session.id + "x", "../" + session.id):
        forged = hub.http.request("POST", "/mcp", message, {**session.headers, "Mcp-Session-Id": id})
        assert forged.status == 404, id
        assert "initialize" in forged.error["message"]
        assert hub.http.request("DELETE", "/mcp", None, {"Mcp-Session-Id": id}).status == 404
    none = hub.http.request("POST", "/mcp", message)
    assert none.status == 400
    assert "initialize" in none.error["message"]


def test_a_session_is_of_no_use_to_another_caller_or_endpoint(hub: Hub) -> None:
    key = hub.place.json("keys", "create", "--name", "hijacker", "--server", "*")["key"]
    session = Session(hub.http)
    other, message = Http(hub.port, key), session.message("tools/list")
    assert other.request("POST", "/mcp", message, session.headers).status == 404
    assert other.request("DELETE", "/mcp", None, session.headers).status == 404
    assert hub.http.request("POST", "/other/mcp", message, session.headers).status == 404
    with SseSession(hub.http) as sse:
        assert other.request("POST", sse.post_path, message).status == 404
        assert hub.http.request("POST", "/messages?session_id=forged", message).status == 404
        assert hub.http.request("POST", "/messages", message).status == 400
    assert session.request("tools/list").result["tools"]


def test_names_that_do_not_exist_get_the_same_bytes_whatever_they_are(hub: Hub) -> None:
    asked = [
        ("tools/call", "name", ["ok__nothing", "nothing__echo", "echo", "", "mute__echo", "ok__echo\n", "a" * 5000]),
        ("prompts/get", "name", ["ok__nothing", "x"]),
    ]
    for method, key, names in asked:
        bodies = set()
        for name in names:
            body, headers = modern_message(method, {key: name})
            encoded = {"Mcp-Name": _header(name)}
            answer = hub.http.request("POST", "/mcp", body, {**headers, **encoded})
            assert answer.error["code"] == -32602, name
            bodies.add(answer.body.replace(answer.call_id.encode(), b"CALL"))
        assert len(bodies) == 1, method
        assert "List again" in json.loads(bodies.pop())["error"]["message"]


def _header(value: str) -> str:
    from base64 import b64encode

    return f"=?base64?{b64encode(value.encode()).decode()}?="


def test_a_resource_that_does_not_exist_has_the_code_of_its_era(hub: Hub) -> None:
    for uri in ("nothing+raw://one", "raw://one", ""):
        modern = hub.http.modern("resources/read", {"uri": uri})
        assert modern.error["code"] == -32602
        assert Session(hub.http).request("resources/read", {"uri": uri}).error["code"] == -32002


@pytest.mark.parametrize("arguments", [[], "x", 7, True, None, [{}]])
def test_arguments_that_are_no_object_are_refused(hub: Hub, arguments: Any) -> None:
    params = {"name": "ok__echo", "arguments": arguments}
    for answer in (hub.http.modern("tools/call", params), Session(hub.http).request("tools/call", params)):
        assert answer.error["code"] == -32602
        assert "arguments" in answer.error["message"]


@pytest.mark.parametrize("params", [{}, {"name": 7}, {"name": None}, {"name": ["ok__echo"]}])
def test_a_call_without_a_name_is_refused(hub: Hub, params: dict[str, Any]) -> None:
    assert hub.http.modern("tools/call", params).error["code"] in (-32602, -32020)
    assert Session(hub.http).request("tools/call", params).error["code"] == -32602


def test_arguments_that_do_not_fit_the_schema_name_what_is_wrong(hub: Hub) -> None:
    for answer in (hub.call("ok__echo", {"text": 7}), Session(hub.http).call("ok__echo", {"text": 7})):
        assert answer.result["isError"] is True
        assert answer.meta[CODE] == "invalid_arguments"
        assert "text" in answer.text
        assert "string" in answer.text
    assert hub.place.entry(hub.call("ok__echo", {"text": 7}).call_id)["outcome"] == "denied:invalid_arguments"


def test_doubled_security_headers_are_refused(hub: Hub) -> None:
    for name in ("Authorization: Bearer x", "Mcp-Method: tools/list", "MCP-Protocol-Version: 2025-11-25"):
        text = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {CLIENT}\r\nMcp-Method: tools/call\r\n"
            f"MCP-Protocol-Version: {MODERN}\r\n{name}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        )
        assert raw_exchange(hub.port, text.encode()).split()[1] == b"400", name


# What servers do


def test_a_server_that_hangs_at_start_is_told_from_one_that_is_down_and_holds_up_nobody(hub: Hub) -> None:
    good(hub)
    row = hub.wait_state("mute", "down", timeout_s=30)
    assert "initialize" in row["reason"]


def test_a_server_that_exits_at_once_is_reported_with_its_last_words(hub: Hub) -> None:
    row = hub.wait_state("gone", "down")
    assert "7" in row["reason"]
    tested = hub.place.json("servers", "test", "gone", status=1)
    assert "cannot open the database: no such file" in tested["stderr"]


def test_a_server_that_prints_nothing_but_garbage_is_down_with_the_reason(hub: Hub) -> None:
    assert "no MCP messages" in hub.wait_state("garbage", "down")["reason"]
    good(hub)


def test_a_server_that_prints_some_garbage_works_all_the_same(hub: Hub) -> None:
    assert hub.call("noisy__echo", {"text": "x"}).text == "echo: x"
    assert hub.call("noisy__babble").text == "after the babble"


def test_a_program_that_does_not_exist_is_reported_by_name(hub: Hub) -> None:
    assert "/no/such/program" in hub.wait_state("none", "down")["reason"]


def test_an_address_where_nobody_listens_is_reported(hub: Hub) -> None:
    assert hub.wait_state("refused", "down")["reason"]
    assert hub.place.run("servers", "test", "refused", status=1).stdout


def both_eras(hub: Hub, name: str, arguments: dict[str, Any] | None = None) -> Sequence[Answer]:
    return hub.call(name, arguments), Session(hub.http).call(name, arguments)


def refused(answer: Answer, code: str, *words: str) -> None:
    """The hub's own refusal: a tool result that names what to do, with the call id and the code."""
    assert answer.result["isError"] is True
    assert (answer.meta[CODE], answer.meta[CALL]) == (code, answer.call_id)
    for word in words:
        assert word in answer.text, answer.text


@pytest.mark.parametrize("id", ["bad", "new"])
def test_a_server_that_answers_late_is_cut_off_at_its_deadline(hub: Hub, id: str) -> None:
    for answer in both_eras(hub, f"{id}__hang"):
        refused(answer, "downstream_late", f"'{id}'", "not known")  # it may write: not to be repeated blindly
        assert hub.place.entry(answer.call_id)["outcome"] == "unknown"
    began = monotonic()
    refused(hub.call(f"{id}__late", {"ms": 1500}), "downstream_late")
    assert monotonic() - began < 3
    until(lambda: hub.call(f"{id}__echo", {"text": "after"}).text == "echo: after", "the late answer hurts nobody")


@pytest.mark.parametrize("id", ["bad", "new"])
def test_a_second_answer_and_foreign_ids_are_dropped_and_counted(hub: Hub, id: str) -> None:
    assert [answer.text for answer in both_eras(hub, f"{id}__twice")] == ["first", "first"]
    assert [answer.text for answer in both_eras(hub, f"{id}__foreign")] == ["own", "own"]
    assert hub.call(f"{id}__echo", {"text": "own"}).text == "echo: own"
    metrics = hub.http.request("GET", "/metrics").body.decode()
    assert f'mcp_hub_server_noise{{kind="foreign",server_name="{id}"}}' in metrics


def test_a_server_that_sends_100_mb_is_cut_off_and_stays_usable(hub: Hub) -> None:
    got: list[Answer] = []
    sick = threading.Thread(target=lambda: got.append(hub.call("flood__huge", {"bytes": 100_000_000})))
    sick.start()
    while sick.is_alive():
        good(hub)
    sick.join()
    refused(got[0], "too_large", "larger than", "'flood'")
    refused(Session(hub.http).call("flood__huge", {"bytes": 2_000_000}), "too_large", "'flood'")
    assert hub.call("flood__echo", {"text": "x"}).text == "echo: x"


def test_the_hub_does_not_grow_by_what_a_server_floods_it_with(hub: Hub) -> None:
    before = _resident_mb(hub.process.pid)
    for _ in range(3):
        refused(hub.call("flood__huge", {"bytes": 100_000_000}), "too_large")
    assert _resident_mb(hub.process.pid) - before < 60


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.parametrize("id", ["bad", "new"])
def test_a_server_that_dies_in_mid_call_is_started_again(hub: Hub, id: str) -> None:
    for client in (hub.http, Session(hub.http)):
        refused(client.call(f"{id}__die"), "downstream_lost", f"'{id}'", "not known")
        until(lambda: hub.call(f"{id}__echo", {"text": "back"}).text == "echo: back", "it is back", 30)
    good(hub)


def test_a_server_that_answers_with_no_object_is_garbled(hub: Hub) -> None:
    for answer in both_eras(hub, "bad__no_object"):
        refused(answer, "downstream_garbled", "not MCP", "'bad'")


def test_a_servers_error_about_the_call_is_relayed_and_one_about_its_hop_is_not(hub: Hub) -> None:
    for answer in both_eras(hub, "bad__refuses"):
        assert (answer.error["code"], answer.error["message"]) == (-31999, "refused by the server itself")
    for answer in both_eras(hub, "bad__hop_error"):
        refused(answer, "downstream_error")
        assert b"a hop's own words" not in answer.body


def test_calls_that_wait_for_a_hanging_server_hold_up_nobody(hub: Hub) -> None:
    waiting = [threading.Thread(target=hub.call, args=("bad__hang",)) for _ in range(20)]
    for thread in waiting:
        thread.start()
    for _ in range(10):
        good(hub)
    for thread in waiting:
        thread.join(15)
    assert not any(thread.is_alive() for thread in waiting)


def test_errors_carry_no_traceback_and_no_path_of_the_hub(hub: Hub) -> None:
    for name in ("bad__hang", "bad__no_object", "ok__nothing", "bad__hop_error"):
        body = hub.call(name).body
        assert b"Traceback" not in body
        assert b"site-packages" not in body


def test_nothing_of_all_this_was_a_fault_of_the_hub(hub: Hub) -> None:
    assert "Traceback" not in hub.stderr()
    assert '"trace"' not in hub.stderr()
    codes = [entry.get("code") for entry in hub.place.entries()]
    assert "internal" not in codes
