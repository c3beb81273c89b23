"""Servers out: what carries the hub's calls, how it finds out their era, and what crosses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, SERVERS, Hub, Lines, Place, alive, raw_server, until
from tests.e2e.raw_http import META, Session, SseSession, free_port, modern_message

pytestmark = pytest.mark.e2e

ERAS = ("legacy", "modern", "sse", "login")


@contextmanager
def http_server(era: str) -> Iterator[int]:
    """The port of one raw HTTP server."""
    port = free_port()
    argv = [sys.executable, "-I", "-S", str(SERVERS / "raw_http.py"), str(port), era]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield port
    finally:
        process.kill()
        process.communicate(timeout=10)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("servers")
    asking = folder / "asking.json"
    asking.write_text(json.dumps([{"name": "ask", "inputSchema": {"type": "object"}}]))
    with ExitStack() as stack:
        ports = {era: stack.enter_context(http_server(era)) for era in ERAS}
        servers: dict[str, Any] = {
            "stdio": raw_server("legacy"),
            "stdio-modern": raw_server("modern"),
            "asks": raw_server("file", str(asking)),
            "http-legacy": {"url": f"http://127.0.0.1:{ports['legacy']}/mcp"},
            "http-modern": {"url": f"http://127.0.0.1:{ports['modern']}/mcp"},
            "found-sse": {"url": f"http://127.0.0.1:{ports['sse']}/sse"},
            "said-sse": {"type": "sse", "url": f"http://127.0.0.1:{ports['sse']}/sse"},
            "login": {"url": f"http://127.0.0.1:{ports['login']}/mcp", "headers": {"Authorization": "env:KEY"}},
            "inside": {"connector": "sandbox"},
            "slow-start": raw_server("hang"),
            "off": {**raw_server("legacy"), "enabled": False},
        }
        tokens = {"MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": ADMIN}
        place = Place(folder / "home", {"mcpServers": servers}, **tokens, KEY="downstream-canary-secret")
        with Hub(place) as running:
            for id in servers:
                if id not in ("login", "slow-start", "off"):
                    running.wait_state(id, "ready")
                    until(lambda id=id: running.server(id)["items"].get("tool"), f"{id} is listed")  # type: ignore[misc]
            yield running


@pytest.mark.parametrize(
    ("id", "era", "revision"),
    [
        ("stdio", "legacy", "2025-11-25"),
        ("stdio-modern", "modern", "2026-07-28"),
        ("http-legacy", "legacy", "2025-11-25"),
        ("http-modern", "modern", "2026-07-28"),
        ("found-sse", "legacy", "2024-11-05"),
        ("said-sse", "legacy", "2024-11-05"),
        ("inside", "modern", "2026-07-28"),
    ],
)
def test_each_kind_of_server_is_recognised_and_called_from_both_eras(
    hub: Hub, id: str, era: str, revision: str
) -> None:
    row = hub.server(id)
    assert (row["state"], row["era"], row["revision"]) == ("ready", era, revision)
    tool, arguments, words = (
        ("get_order", {"order_id": "O-99999"}, "O-99999") if id == "inside" else ("echo", {"text": "hi"}, "echo: hi")
    )
    modern, legacy = hub.call(f"{id}__{tool}", arguments), Session(hub.http).call(f"{id}__{tool}", arguments)
    with SseSession(hub.http) as sse:
        message = sse.request("tools/call", {"name": f"{id}__{tool}", "arguments": arguments})[1]
    assert words in modern.text
    assert legacy.text == modern.text == message["result"]["content"][0]["text"]


def test_health_tells_down_needs_login_starting_and_disabled_apart(hub: Hub) -> None:
    assert hub.wait_state("login", "needs_login")["reason"]
    assert hub.server("slow-start")["state"] in ("starting", "down")
    assert hub.server("off")["state"] == "disabled"
    listed = {row["id"]: row["state"] for row in hub.place.json("servers", "list")["servers"]}
    assert (listed["login"], listed["off"], listed["stdio"]) == ("needs_login", "disabled", "ready")


def test_the_verdict_is_cached_and_a_pinned_era_is_not_probed(tmp_path: Path) -> None:
    with http_server("legacy") as port, http_server("modern") as other:
        config = {
            "mcpServers": {
                "l": {"url": f"http://127.0.0.1:{port}/mcp", "era": "legacy"},
                "m": {"url": f"http://127.0.0.1:{other}/mcp"},
            }
        }
        with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT)) as hub:
            hub.wait_for("l__state", "m__state")
            for _ in range(3):
                hub.call("l__echo")
                hub.call("m__echo")
            legacy = json.loads(hub.call("l__state").text)["methods"]
            modern = json.loads(hub.call("m__state").text)["methods"]
            assert "server/discover" not in legacy
            assert legacy.count("initialize") == 1
            assert modern.count("server/discover") == 1
            assert "initialize" not in modern


def test_a_session_that_the_server_forgot_is_opened_anew(tmp_path: Path) -> None:
    with http_server("legacy") as port:
        config = {"mcpServers": {"s": {"url": f"http://127.0.0.1:{port}/mcp"}}}
        with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT)) as hub:
            hub.wait_for("s__echo")
            hub.call("s__forget")
            until(lambda: hub.call("s__echo", {"text": "again"}).text == "echo: again", "a new session is open")


def test_stdio_children_inherit_no_secret_of_the_hubs_environment(hub: Hub) -> None:
    told = json.loads(hub.call("stdio__environment").text)
    assert set(told) <= {"PATH", "HOME", "LANG", "USER", "LOGNAME", "SHELL", "TERM", "LC_CTYPE", "MCP_HUB_CHILD"}
    assert not [value for value in told.values() if "canary" in value]


def test_a_stdio_child_gets_the_environment_that_its_entry_gives_it(tmp_path: Path) -> None:
    entry = {**raw_server("legacy"), "env": {"GIVEN": "env:SOURCE", "PLAIN": "1"}}
    with Hub(Place(tmp_path, {"mcpServers": {"s": entry}}, MCP_HUB_TOKEN=CLIENT, SOURCE="from-the-hub")) as hub:
        hub.wait_for("s__environment")
        told = json.loads(hub.call("s__environment").text)
        assert (told["GIVEN"], told["PLAIN"]) == ("from-the-hub", "1")
        assert "SOURCE" not in told


def test_stdio_children_and_grandchildren_end_with_the_hub_even_when_it_is_killed(tmp_path: Path) -> None:
    for kill in (False, True):
        home = tmp_path / f"kill-{kill}"
        file = tmp_path / f"pids-{kill}"
        config = {"mcpServers": {"s": raw_server("child", str(file))}}
        with Hub(Place(home, config, MCP_HUB_TOKEN=CLIENT)) as hub:
            hub.wait_for("s__echo")
            pids = [int(pid) for pid in file.read_text().split()]
            assert all(alive(pid) for pid in pids)
            if kill:
                os.kill(hub.process.pid, 9)
                hub.process.wait(10)
            else:
                hub.stop()
            until(lambda pids=pids: not any(alive(pid) for pid in pids), "all are gone", 5)  # type: ignore[misc]


@pytest.mark.parametrize("id", ["stdio", "stdio-modern"])
def test_progress_crosses_to_clients_that_ask_for_it_in_every_era(hub: Hub, id: str) -> None:
    name = f"{id}__progress"
    modern = hub.http.call(name, meta={"progressToken": "mine"})
    told = [event["params"] for event in modern.events if event.get("method") == "notifications/progress"]
    assert [(step["progressToken"], step["progress"]) for step in told] == [("mine", 1), ("mine", 2), ("mine", 3)]
    legacy = Session(hub.http).call(name, _meta={"progressToken": 7})
    told = [event["params"] for event in legacy.events if event.get("method") == "notifications/progress"]
    assert [(step["progressToken"], step["progress"]) for step in told] == [(7, 1), (7, 2), (7, 3)]
    with Lines(hub.place, "stdio") as client:
        client.initialize()
        client.request("tools/call", {"name": name, "arguments": {}, "_meta": {"progressToken": "s"}})
        steps = [m["params"] for m in client.heard if m.get("method") == "notifications/progress"]
        assert [step["progress"] for step in steps] == [1, 2, 3]
    assert hub.http.call(name).text == "arrived"


def test_progress_crosses_from_http_servers(hub: Hub) -> None:
    for id in ("http-legacy", "http-modern"):
        answer = hub.http.call(f"{id}__progress", meta={"progressToken": "p"})
        steps = [e["params"]["progress"] for e in answer.events if e.get("method") == "notifications/progress"]
        assert steps == [1, 2, 3], id


def test_log_messages_cross_to_clients_that_ask_for_them(hub: Hub) -> None:
    answer = hub.http.call("stdio-modern__logs", meta={f"{META}logLevel": "info"})
    told = [event["params"] for event in answer.events if event.get("method") == "notifications/message"]
    assert [entry["data"] for entry in told] == ["something to know"]
    assert "something to know" not in hub.http.call("stdio-modern__logs").body.decode()
    quiet = hub.http.call("stdio-modern__logs", meta={f"{META}logLevel": "error"})
    assert b"something to know" not in quiet.body  # below the level that was asked for


def test_a_client_that_cancels_cancels_downstream(hub: Hub) -> None:
    session = Session(hub.http)
    with Lines(hub.place, "stdio") as client:
        client.initialize()
        for id in ("stdio", "stdio-modern"):
            before = len(_state(hub, id)["cancelled"])
            call = {"name": f"{id}__slow", "arguments": {"ms": 20_000}}
            client.say({"jsonrpc": "2.0", "id": f"c-{id}", "method": "tools/call", "params": call})
            until(lambda id=id: _state(hub, id)["calls"].count("slow"), "the call runs")  # type: ignore[misc]
            client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": f"c-{id}"}})
            until(lambda id=id, n=before: len(_state(hub, id)["cancelled"]) > n, "it is cancelled")  # type: ignore[misc]
    assert session.request("ping").result == {}


def _state(hub: Hub, id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.call(f"{id}__state").text)
    return found


def test_a_modern_http_client_that_leaves_cancels_downstream(hub: Hub) -> None:
    before = len(_state(hub, "stdio")["cancelled"])
    calls = _state(hub, "stdio")["calls"].count("slow")
    message, headers = modern_message("tools/call", {"name": "stdio__slow", "arguments": {"ms": 20_000}})
    data = json.dumps(message).encode()
    own = {**headers, "Host": "127.0.0.1", "Authorization": f"Bearer {CLIENT}", "Content-Length": str(len(data))}
    head = "POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in own.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", hub.port), timeout=10) as sock:
        sock.sendall(head.encode() + data)
        until(lambda: _state(hub, "stdio")["calls"].count("slow") > calls, "the call runs")
    until(lambda: len(_state(hub, "stdio")["cancelled"]) > before, "it is cancelled")


def test_cancelling_reaches_http_servers_in_their_own_way(hub: Hub) -> None:
    with Lines(hub.place, "stdio") as client:
        client.initialize()
        for id, way in (("http-legacy", "notified"), ("http-modern", "closed")):
            call = {"name": f"{id}__wait", "arguments": {}}
            client.say({"jsonrpc": "2.0", "id": f"w-{id}", "method": "tools/call", "params": call})
            until(lambda id=id: "waiting" in _state(hub, id)["methods"], "the call is sent")  # type: ignore[misc]
            client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": f"w-{id}"}})
            until(lambda id=id, way=way: way in _state(hub, id)["cancelled"], f"{id} hears of it")  # type: ignore[misc]


def test_what_a_server_asks_of_the_client_gets_the_error_of_an_absent_capability(hub: Hub) -> None:
    asked = json.loads(hub.call("asks__ask").text)
    assert {id.removeprefix("ask "): answer["code"] for id, answer in asked.items()} == {
        "sampling/createMessage": -32601,
        "elicitation/create": -32601,
        "roots/list": -32601,
    }


def test_no_capability_is_declared_to_a_server(hub: Hub) -> None:
    for id in ("stdio", "stdio-modern"):
        assert _state(hub, id)["client"] in ([{}], [{}, {}]), id


def test_arguments_that_a_schema_puts_into_headers_are_recomputed_for_the_server(hub: Hub) -> None:
    refused = hub.call("http-modern__headers", {"region": "eu"})
    assert (refused.status, refused.error["code"]) == (400, -32020)  # the client has to send it too
    answer = hub.call("http-modern__headers", {"region": "eu"}, headers={"Mcp-Param-Region": "eu"})
    told = json.loads(answer.text)
    assert told["mcp-param-region"] == "eu"
    assert told["mcp-name"] == "headers"  # the server's own name, not the public one
    assert told["mcp-method"] == "tools/call"
    assert "authorization" not in told
    assert CLIENT not in json.dumps(told)


def test_a_connection_that_breaks_in_mid_call_is_told_and_the_server_goes_on(hub: Hub) -> None:
    for id in ("http-legacy", "http-modern"):
        answer = hub.call(f"{id}__break")
        assert answer.result["isError"] is True
        assert answer.code == "downstream_lost"
        assert "not known" in answer.text
        assert hub.call(f"{id}__echo", {"text": "on"}).text == "echo: on"


def test_updates_of_a_resource_reach_those_who_subscribed_in_either_era(hub: Hub) -> None:
    uri = "stdio+raw://one"
    session = Session(hub.http)
    asked = {"notifications": {"resourceSubscriptions": [uri, "nobody+raw://one"]}}
    with session.listen() as legacy, hub.http.modern_stream("subscriptions/listen", asked) as modern:
        granted = modern.until("notifications/subscriptions/acknowledged")["params"]["notifications"]
        assert granted["resourceSubscriptions"] == [uri]  # the honoured subset
        assert session.request("resources/subscribe", {"uri": uri}).result is not None
        hub.call("stdio__touch")
        assert modern.until("notifications/resources/updated")["params"]["uri"] == uri
        assert legacy.until("notifications/resources/updated")["params"]["uri"] == uri


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_http_servers_that_misbehave_cost_only_their_own_call(tmp_path: Path, era: str) -> None:
    timeouts = {"call": 2, "hard": 4}
    with http_server(era) as port:
        config = {"mcpServers": {"s": {"url": f"http://127.0.0.1:{port}/mcp", "timeouts": timeouts}}}
        with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT)) as hub:
            hub.wait_for("s__huge")
            for tool, codes in (
                ("huge", {"too_large"}),
                ("html", {"downstream_garbled"}),
                ("halved", {"downstream_garbled"}),
                ("fault", {"downstream_error", "downstream_garbled", "downstream_lost"}),
                ("redirect", {"downstream_error", "downstream_garbled", "downstream_down"}),
                ("endless", {"downstream_late"}),
            ):
                began = monotonic()
                answer = hub.call(f"s__{tool}")
                assert answer.result["isError"] is True, tool
                assert answer.code in codes, (tool, answer.code)
                assert "'s'" in answer.text, tool
                assert b"secret_internal_path" not in answer.body
                assert b"169.254" not in answer.body
                assert monotonic() - began < 6, tool
                until(lambda: hub.call("s__echo", {"text": "on"}).text == "echo: on", f"on after {tool}")
            assert hub.call("s__twice").text == "twice: "
            assert hub.call("s__foreign").text == "foreign: "
            assert "Traceback" not in hub.stderr()


def test_a_server_is_negotiated_off_the_request_path(hub: Hub) -> None:
    began = monotonic()
    assert hub.tools()
    assert hub.call("stdio__echo", {"text": "x"}).text == "echo: x"
    assert monotonic() - began < 5  # with servers among them that hang and that want a login


def test_the_servers_own_instructions_are_told_under_its_name(hub: Hub) -> None:
    told = hub.http.modern("server/discover").result["instructions"]
    assert "stdio" in told
    assert "Instructions of legacy" in told
