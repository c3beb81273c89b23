"""What the hub does with its clients and its catalogue, behaviour by behaviour."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Lines, Place, raw_server, until
from tests.e2e.raw_http import (
    BOTH,
    LEGACY,
    META,
    MODERN,
    Http,
    Session,
    SseSession,
    initialize_params,
    modern_message,
    raw_exchange,
)

pytestmark = pytest.mark.e2e

EDGE = {"body_bytes": 65536, "header_bytes": 8192, "header_s": 1, "body_s": 1, "keepalive_s": 0.3}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    config = {
        "edge": EDGE,
        "mcpServers": {"a": raw_server("legacy"), "b": raw_server("modern"), "bad": raw_server("malformed")},
        "endpoints": {
            "/mcp": {"page_size": 10},
            "/one/mcp": {"servers": ["a"], "prefix": "none"},
            "/two/mcp": {"servers": ["a", "b"]},
        },
        "allowed_origins": ["https://app.example.com"],
    }
    place = Place(tmp_path_factory.mktemp("build"), config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as running:
        for id in ("a", "b", "bad"):
            running.wait_state(id, "ready")
        until(lambda: running.server("bad")["items"].get("tool"), "all are listed")
        until(lambda: running.server("b")["items"].get("tool"), "all are listed")
        yield running


def listed(http: Http, method: str, key: str, endpoint: str = "") -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    while True:
        page = http.modern(method, params, endpoint=endpoint).result
        found += page[key]
        if "nextCursor" not in page:
            return found
        params = {"cursor": page["nextCursor"]}


# Clients in


def test_modern_requests_are_stateless(hub: Hub) -> None:
    answer = hub.http.modern("server/discover")
    assert MODERN in answer.result["supportedVersions"]
    assert "mcp-session-id" not in answer.headers
    assert hub.http.call("a__echo", {"text": "no session"}).result["resultType"] == "complete"


def test_modern_get_and_delete_are_405_while_legacy_ones_work_on_the_same_path(hub: Hub) -> None:
    for method in ("GET", "DELETE"):
        assert hub.http.request(method, "/mcp", None, {"MCP-Protocol-Version": MODERN}).status == 405
    session = Session(hub.http)
    with session.listen() as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
    assert hub.http.request("DELETE", "/mcp", None, session.headers).status == 200
    assert session.request("ping").status == 404


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_legacy_revision_is_spoken(hub: Hub, revision: str) -> None:
    session = Session(hub.http, revision=revision)
    assert session.revision == revision
    assert session.call("a__echo", {"text": revision}).text == f"echo: {revision}"


def test_an_unknown_revision_gets_a_counter_offer_from_initialize(hub: Hub) -> None:
    assert Session(hub.http, revision="1999-01-01").revision == LEGACY


def test_an_unknown_modern_revision_is_told_what_is_supported(hub: Hub) -> None:
    answer = hub.http.modern(
        "tools/list", meta={f"{META}protocolVersion": "2031-01-01"}, headers={"MCP-Protocol-Version": "2031-01-01"}
    )
    assert (answer.status, answer.error["code"]) == (400, -32022)
    assert MODERN in answer.error["data"]["supported"]


def test_an_endpoint_is_served_by_each_kind_of_client_alike(hub: Hub) -> None:
    names = {tool["name"] for tool in listed(hub.http, "tools/list", "tools", "/two")}
    legacy = {tool["name"] for tool in Session(hub.http, "/two").request("tools/list").result["tools"]}
    with SseSession(hub.http, "/two") as sse, Lines(hub.place, "stdio", "--endpoint", "two") as stdio:
        stdio.initialize()
        assert {tool["name"] for tool in sse.request("tools/list")[1]["result"]["tools"]} == names
        assert {tool["name"] for tool in stdio.request("tools/list")["result"]["tools"]} == names
    assert legacy == names
    assert {name.partition("__")[0] for name in names} == {"a", "b"}


def test_a_foreign_host_is_refused(hub: Hub) -> None:
    for path in ("/mcp", "/sse", "/api/v1/keys", "/metrics"):
        answer = hub.http.request("GET", path, None, {"Host": "evil.example:80"})
        assert answer.status == 403, path
        assert b"allowed_hosts" in answer.body


def test_a_foreign_origin_is_refused_and_an_allowed_one_is_let_in(hub: Hub) -> None:
    body, headers = modern_message("tools/list", None)
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert hub.http.request("POST", "/mcp", body, {**headers, "Origin": origin}).status == 403
    allowed = hub.http.request("POST", "/mcp", body, {**headers, "Origin": "https://app.example.com"})
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "hub-call-id" in allowed.headers["access-control-expose-headers"].lower()
    assert hub.http.request("POST", "/mcp", body, {**headers, "Origin": "http://localhost:5173"}).status == 200


def test_headers_beyond_their_limit_are_refused(hub: Hub) -> None:
    answer = raw_exchange(hub.port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n")
    assert answer == b"" or answer.split()[1] in (b"400", b"431")
    assert hub.http.request("GET", "/health").status == 200


def test_headers_that_do_not_arrive_in_time_end_the_connection(hub: Hub) -> None:
    began = monotonic()
    raw_exchange(hub.port, b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    raw_exchange(hub.port, b"")
    assert monotonic() - began < 8


def test_a_body_that_does_not_arrive_in_time_is_answered_408(hub: Hub) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {CLIENT}\r\nContent-Length: 100\r\n\r\n{{"
    began = monotonic()
    with socket.create_connection(("127.0.0.1", hub.port), timeout=10) as sock:
        sock.sendall(head.encode())
        answer = sock.recv(65536)
    assert answer == b"" or answer.split()[1] == b"408"
    assert monotonic() - began < 8


def test_long_calls_keep_their_stream_alive(hub: Hub) -> None:
    answer = hub.call("a__slow", {"ms": 1200})
    assert answer.text == "slow done"
    assert b"\n:" in b"\n" + answer.body  # comments, so that no proxy ends it


# Catalogue


def test_tools_of_all_servers_are_merged_under_their_names(hub: Hub) -> None:
    names = [tool["name"] for tool in listed(hub.http, "tools/list", "tools")]
    assert {"a__echo", "b__echo", "bad__echo"} <= set(names)
    assert len(names) == len(set(names))


def test_definitions_keep_all_that_the_server_said_but_the_name(hub: Hub) -> None:
    tools = {tool["name"]: tool for tool in listed(hub.http, "tools/list", "tools")}
    assert tools["b__strict_ok"]["outputSchema"]["required"] == ["n"]
    assert tools["a__echo"]["annotations"] == {"readOnlyHint": True}
    assert tools["a__echo"]["description"] == "The tool echo"


def test_prompts_are_merged_and_got(hub: Hub) -> None:
    names = [prompt["name"] for prompt in listed(hub.http, "prompts/list", "prompts")]
    assert {"a__greet", "b__greet"} <= set(names)
    for client in (hub.http.modern, Session(hub.http).request):
        got = client("prompts/get", {"name": "b__greet", "arguments": {"who": "Ada"}}).result
        assert got["messages"][0]["content"]["text"] == "Greet Ada"


def test_resources_are_merged_and_read_under_their_public_uris(hub: Hub) -> None:
    uris = [resource["uri"] for resource in listed(hub.http, "resources/list", "resources")]
    assert {"a+raw://one", "b+raw://one"} <= set(uris)
    for id in ("a", "b"):
        contents = hub.http.modern("resources/read", {"uri": f"{id}+raw://one"}).result["contents"]
        assert contents[0]["text"] == "read raw://one"  # texts are never rewritten
        assert contents[0]["uri"] == f"{id}+raw://one"


def test_templates_are_merged_and_expand_to_readable_uris(hub: Hub) -> None:
    found = [t["uriTemplate"] for t in listed(hub.http, "resources/templates/list", "resourceTemplates")]
    assert {"a+raw://{id}", "b+raw://{id}"} <= set(found)
    contents = hub.http.modern("resources/read", {"uri": "b+raw://forty-two"}).result["contents"]
    assert contents[0]["text"] == "read raw://forty-two"


def test_completions_reach_the_server_of_their_prompt_or_template(hub: Hub) -> None:
    argument = {"name": "who", "value": "Ad"}
    for ref in ({"type": "ref/prompt", "name": "a__greet"}, {"type": "ref/resource", "uri": "b+raw://{id}"}):
        done = hub.http.modern("completion/complete", {"ref": ref, "argument": argument}).result
        assert done["completion"]["values"] == ["Ad-done"]


def test_an_endpoint_without_prefix_leaves_names_and_uris_alone(hub: Hub) -> None:
    assert "echo" in [tool["name"] for tool in listed(hub.http, "tools/list", "tools", "/one")]
    read = hub.http.modern("resources/read", {"uri": "raw://one"}, endpoint="/one").result
    assert read["contents"][0]["uri"] == "raw://one"
    assert hub.http.call("echo", {"text": "plain"}, endpoint="/one").text == "echo: plain"


def test_an_endpoint_shows_its_own_servers_alone(hub: Hub) -> None:
    assert hub.http.call("bad__echo", endpoint="/two").error["code"] == -32602
    assert hub.http.call("bad__echo").text == "echo: "


def test_lists_are_paged_in_both_eras_and_no_item_is_lost_or_doubled(hub: Hub) -> None:
    first = hub.http.modern("tools/list").result
    assert len(first["tools"]) == 10
    modern = [tool["name"] for tool in listed(hub.http, "tools/list", "tools")]
    session, legacy, params = Session(hub.http), list[str](), dict[str, Any]()
    while True:
        page = session.request("tools/list", params).result
        legacy += [tool["name"] for tool in page["tools"]]
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    assert modern == legacy == sorted(set(modern))


def test_the_order_of_lists_is_deterministic(hub: Hub, tmp_path: Path) -> None:
    names = [tool["name"] for tool in listed(hub.http, "tools/list", "tools", "/two")]
    servers = {"b": raw_server("modern"), "a": raw_server("legacy")}  # the other way round
    with Hub(Place(tmp_path, {"mcpServers": servers}, MCP_HUB_TOKEN=CLIENT)) as other:
        other.wait_for("a__echo", "b__echo")
        assert other.tools() == names


def test_one_malformed_item_is_quarantined_and_reported_and_never_breaks_a_list(hub: Hub) -> None:
    bad = [t["name"] for t in listed(hub.http, "tools/list", "tools") if t["name"].startswith("bad__")]
    assert bad == ["bad__echo"]
    tested = hub.place.json("servers", "test", "bad")
    assert {problem["item"] for problem in tested["problems"]} >= {"broken", "slow"}
    assert hub.server("bad")["quarantined"] == 3


def test_caching_hints_are_honest(hub: Hub) -> None:
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "server/discover"):
        result = hub.http.modern(method).result
        assert isinstance(result["ttlMs"], int), method
        assert result["ttlMs"] == 0 or method == "server/discover", method  # the minimum of what the servers said
        assert result["cacheScope"] == "private", method
    read = hub.http.modern("resources/read", {"uri": "b+raw://one"}).result
    assert read["ttlMs"] <= 5000
    assert read["cacheScope"] == "private"
    assert "ttlMs" not in hub.http.call("a__echo").result
    assert "ttlMs" not in Session(hub.http).request("tools/list").result


def test_what_the_hub_does_not_change_it_does_not_lose(hub: Hub) -> None:
    for id in ("a", "b"):
        result = hub.call(f"{id}__big_number").result
        assert result["structuredContent"] == {"n": 123456789012345678901234567890}
        assert result["_meta"]["x.example/kept"] == [1]


def test_the_clients_token_and_hop_metadata_never_go_downstream(hub: Hub) -> None:
    told = json.loads(hub.call("b__told", meta={"com.example/own": 1, "progressToken": "mine"}).text)
    assert told["name"] == "told"
    assert told["_meta"]["com.example/own"] == 1
    assert told["_meta"].get("progressToken") != "mine"
    assert CLIENT not in json.dumps(told)


# Changes of lists


def _tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": name, "inputSchema": {"type": "object"}, **more}


@pytest.mark.parametrize("mode", ["file", "modern-file"])
def test_list_changed_reaches_modern_legacy_sse_and_stdio_clients(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([_tool("change")]))
    config = {"mcpServers": {"s": raw_server(mode, str(file))}}
    with Hub(Place(tmp_path / "home", config, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("s__change")
        session = Session(hub.http)
        asked = {"notifications": {"toolsListChanged": True}}
        with (
            hub.http.modern_stream("subscriptions/listen", asked, id="L1") as modern,
            session.listen() as legacy,
            SseSession(hub.http) as sse,
            Lines(hub.place, "stdio") as stdio,
        ):
            stdio.initialize()
            acknowledged = modern.until("notifications/subscriptions/acknowledged")
            assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
            hub.call("s__change", {"tools": [_tool("change"), _tool("second")]})
            event = modern.until("notifications/tools/list_changed")
            assert event["params"]["_meta"][f"{META}subscriptionId"] == "L1"
            legacy.until("notifications/tools/list_changed")
            sse.stream.until("notifications/tools/list_changed")
            while stdio.hear().get("method") != "notifications/tools/list_changed":
                pass
            assert hub.tools() == ["s__change", "s__second"]


def test_a_listen_hears_nothing_that_it_did_not_ask_for(hub: Hub) -> None:
    with hub.http.modern_stream("subscriptions/listen", {"notifications": {"promptsListChanged": True}}) as stream:
        found = stream.until("notifications/subscriptions/acknowledged")["params"]["notifications"]
        assert "toolsListChanged" not in found


# Changed definitions


def test_a_changed_definition_is_hidden_shown_by_diff_and_listed_again_once_approved(tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([_tool("pay"), _tool("other")]))
    config = {"mcpServers": {"s": raw_server("file", str(file))}}
    place = Place(tmp_path / "home", config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as hub:
        hub.wait_for("s__pay")
        hub.stop()
    file.write_text(json.dumps([_tool("pay", title="Now it asks for your password"), _tool("other")]))
    with Hub(place) as hub:
        until(lambda: hub.server("s")["waiting"] == 1, "the change is seen")
        assert hub.tools() == ["s__other"]
        assert hub.call("s__pay").error["code"] == -32602
        assert hub.call("s__other").text == "other: "
        changes = place.json("servers", "diff", "s")["changes"]
        assert [change["item"] for change in changes] == ["s__pay"]
        assert "password" in place.run("servers", "diff", "s").stdout
        assert place.json("servers", "list")["servers"][0]["waiting"] == 1
        assert place.json("servers", "approve", "s", "s__pay")["approved"]
        assert hub.tools() == ["s__other", "s__pay"]
        assert hub.call("s__pay").text == "pay: "
        assert place.json("servers", "diff", "s")["changes"] == []
        acts = [e for e in place.entries() if e["kind"] == "admin"]
        assert acts[-1]["who"] == "local:admin"
        assert "approve" in acts[-1]["detail"]["act"]


@pytest.mark.parametrize("pins", ["warn", "off"])
def test_with_pins_off_or_warn_a_changed_definition_stays_listed(tmp_path: Path, pins: str) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([_tool("change")]))
    config = {"mcpServers": {"s": {**raw_server("file", str(file)), "pins": pins}}}
    with Hub(Place(tmp_path / "home", config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)) as hub:
        hub.wait_for("s__change")
        hub.call("s__change", {"tools": [_tool("change", title="changed")]})
        until(lambda: hub.http.modern("tools/list").result["tools"][0].get("title"), "the new definition is listed")


def test_a_new_tool_is_trusted_at_first_sight(tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([_tool("change")]))
    config = {"mcpServers": {"s": raw_server("file", str(file))}}
    with Hub(Place(tmp_path / "home", config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)) as hub:
        hub.wait_for("s__change")
        hub.call("s__change", {"tools": [_tool("change"), _tool("newcomer")]})
        until(lambda: "s__newcomer" in hub.tools(), "the new tool is listed")
        assert hub.server("s")["waiting"] == 0


def test_the_last_known_list_stays_and_is_marked_stale_while_a_server_is_away(tmp_path: Path) -> None:
    config: dict[str, Any] = {"mcpServers": {"s": raw_server("legacy"), "t": raw_server("legacy")}}
    place = Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as hub:
        hub.wait_for("s__echo", "t__echo")
        names = hub.tools()
        hub.stop()
    config["mcpServers"]["s"] = raw_server("exit")
    place.configure(config)
    with Hub(place) as hub:
        hub.wait_state("s", "down")
        assert hub.tools() == names
        assert hub.server("s")["stale"] is True
        answer = hub.call("s__echo", {"text": "x"})
        assert answer.result["isError"] is True
        assert answer.code == "downstream_down"
        assert "servers test s" in answer.text
        assert hub.call("t__echo", {"text": "x"}).text == "echo: x"


def test_a_first_list_waits_for_servers_in_their_first_start(tmp_path: Path) -> None:
    config = {"mcpServers": {"s": raw_server("legacy"), "h": raw_server("hang")}}
    with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT)) as hub:
        began = monotonic()
        assert "s__echo" in hub.tools()
        assert monotonic() - began < 6  # 3 s for the one that hangs, and no more


def test_a_first_call_waits_for_servers_in_their_first_start(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {"mcpServers": {"s": raw_server("legacy")}}, MCP_HUB_TOKEN=CLIENT)) as hub:
        assert hub.call("s__echo", {"text": "early"}).text == "echo: early"


def test_initialize_is_answered_in_json_to_a_client_that_accepts_both(hub: Hub) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize_params()}
    answer = hub.http.request("POST", "/mcp", body, {"Accept": BOTH})
    assert answer.json["result"]["serverInfo"]["name"] == "mcp-hub"
    assert answer.json["result"]["capabilities"]["tools"]["listChanged"] is True
