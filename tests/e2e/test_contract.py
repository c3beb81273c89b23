"""The outer contract, sentence by sentence: running a hub, its HTTP, its call ids, its tokens."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, SERVERS, Hub, Place, is_call_id, raw_server, until
from tests.e2e.lacking import lack
from tests.e2e.raw_http import CALL, Http, Session, SseSession, free_port, modern_message

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
MCP_ROUTES = (
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("GET", "/sse"),
    ("POST", "/messages"),
    ("POST", "/one/mcp"),
    ("GET", "/one/sse"),
    ("POST", "/one/messages"),
)
ADMIN_ROUTES = (
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/servers"),
    ("POST", "/api/v1/servers/raw/test"),
    ("GET", "/api/v1/servers/raw/diff"),
    ("POST", "/api/v1/servers/raw/approve"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/x"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/audit/x"),
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    config = {"mcpServers": {"raw": raw_server("legacy")}, "endpoints": {"/one/mcp": {"servers": ["raw"]}}}
    place = Place(tmp_path_factory.mktemp("contract"), config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as running:
        running.wait_for("raw__echo")
        yield running


# README


def test_readme_begins_with_two_sh_blocks_that_run_the_hub_and_its_tests() -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    shell = [text for language, text in blocks if language == "sh"]
    assert "pip install" in shell[0]
    assert "mcp-hub up" in shell[0]
    assert "test" in shell[1]
    assert "http" not in shell[0]


# serve


def test_serve_runs_in_the_foreground_until_sigterm_and_exits_0(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {})) as hub:
        assert hub.http.request("GET", "/health").status == 200
        assert hub.stop(signal.SIGTERM) == 0
        assert not (hub.place.data_dir / "run.json").exists()


def test_serve_ends_on_sigint_and_exits_0(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {})) as hub:
        assert hub.stop(signal.SIGINT) == 0


def test_sigterm_drains_a_running_call_and_exits_0(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {"mcpServers": {"raw": raw_server("legacy")}}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("raw__slow")
        got: list[str] = []
        calling = threading.Thread(target=lambda: got.append(hub.call("raw__slow", {"ms": 1500}).text))
        calling.start()
        until(lambda: _active(hub, "http") > 0, "the call runs")
        assert hub.stop(signal.SIGTERM) == 0
        calling.join(10)
        assert got == ["slow done"]


def _active(hub: Hub, transport: str) -> float:
    body = hub.http.request("GET", "/metrics").body.decode()
    found = re.search(rf'^mcp_active_connections\{{transport="{transport}"\}} (\S+)', body, re.M)
    return float(found[1]) if found else -1.0


def test_sigterm_waits_for_no_open_stream(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {}, MCP_HUB_TOKEN=CLIENT)) as hub:
        asked = {"notifications": {"toolsListChanged": True}}
        with (
            Session(hub.http).listen() as legacy,
            SseSession(hub.http) as sse,
            hub.http.modern_stream("subscriptions/listen", asked) as modern,
        ):
            modern.until("notifications/subscriptions/acknowledged")
            began = monotonic()
            assert hub.stop() == 0
            assert monotonic() - began < 5
            assert "result" in modern.message()  # its closing result
            assert legacy.next() is None
            assert sse.stream.next() is None


def test_the_drain_is_bounded(tmp_path: Path) -> None:
    config = {"mcpServers": {"raw": raw_server("legacy")}, "edge": {"drain_s": 1}}
    with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("raw__hang")
        calling = threading.Thread(target=_call_to_the_end, args=(hub,))
        calling.start()
        until(lambda: _active(hub, "http") > 0, "the call runs")
        began = monotonic()
        assert hub.stop() == 0
        assert monotonic() - began < 8
        calling.join(10)
        assert not calling.is_alive()


def _call_to_the_end(hub: Hub) -> None:
    with suppress(OSError):
        hub.call("raw__hang")


def test_ready_is_503_while_the_hub_drains(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {"mcpServers": {"raw": raw_server("legacy")}}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("raw__slow")
        calling = threading.Thread(target=lambda: hub.call("raw__slow", {"ms": 2000}))
        calling.start()
        until(lambda: _active(hub, "http") > 0, "the call runs")
        with socket.create_connection(("127.0.0.1", hub.port), timeout=10) as waiting:
            waiting.sendall(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # begun before the drain, ended in it
            hub.process.send_signal(signal.SIGTERM)
            until(lambda: _refuses_connections(hub.port), "the hub drains")
            try:
                waiting.sendall(b"\r\n")
                answer = waiting.recv(65536)
            except OSError:
                answer = b""  # a hub that takes no more requests is not ready either
        assert answer == b"" or b" 503 " in answer.split(b"\r\n")[0]
        calling.join(10)


def _refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_listen_port_0_works_and_the_bound_address_is_printed_and_stands_in_run_json(tmp_path: Path) -> None:
    place = Place(tmp_path, {"listen": f"127.0.0.1:{free_port()}"})
    with Hub(place, "serve", "--listen", "127.0.0.1:0") as hub:
        assert hub.run["port"] != 0
        assert hub.run["url"] == f"http://127.0.0.1:{hub.port}/mcp"
        assert hub.run["url"] in hub.stdout()
        assert Http(hub.port, None).request("GET", "/ready").status == 200


def test_run_json_holds_pid_url_and_a_secret_and_is_readable_by_its_owner_alone(hub: Hub) -> None:
    path = hub.place.data_dir / "run.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert hub.place.data_dir.stat().st_mode & 0o777 == 0o700
    run = json.loads(path.read_text())
    assert run["pid"] == hub.process.pid
    assert len(run["secret"]) >= 32
    assert run["secret"] not in (CLIENT, ADMIN)


def test_a_held_data_dir_is_refused_with_its_holder_and_exit_1(hub: Hub) -> None:
    done = hub.place.run("serve", "--listen", "127.0.0.1:0", status=1)
    assert str(hub.process.pid) in done.stderr
    assert str(hub.place.data_dir) in done.stderr


def test_a_busy_port_names_its_holder_and_exits_1(hub: Hub, tmp_path: Path) -> None:
    for verb in ("serve", "up"):
        done = Place(tmp_path / verb, {}).run(verb, "--listen", f"127.0.0.1:{hub.port}", status=1)
        assert f"process {hub.process.pid}" in done.stderr
        assert "--listen" in done.stderr  # what to do next


# up


@pytest.fixture(scope="module")
def upped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(Place(tmp_path_factory.mktemp("up")), "up", "--listen", "127.0.0.1:0") as running:
        yield running


def test_up_needs_no_configuration_and_serves_the_sandbox(upped: Hub) -> None:
    listed = upped.place.json("tools", "list")["tools"]
    assert "sandbox__query_customer_data" in [tool["name"] for tool in listed]
    assert upped.place.data_dir == upped.place.home / ".local" / "share" / "mcp-hub"


def test_up_shows_the_endpoint_and_blocks_for_four_clients(upped: Hub) -> None:
    screen = upped.stdout()
    token = upped.place.run("token").stdout.strip()
    assert upped.run["url"] in screen
    for client in ("Claude Desktop", "VS Code", "Cursor", "Claude Code"):
        assert client in screen
    blocks = [json.loads(text) for text in re.findall(r"^\{$.*?^\}$", screen, re.M | re.S)]
    desktop, code, cursor = blocks
    assert desktop["mcpServers"]["mcp-hub"]["args"][-1] == "stdio"
    assert code["servers"]["mcp-hub"]["headers"] == {"Authorization": f"Bearer {token}"}
    assert cursor["mcpServers"]["mcp-hub"]["url"] == upped.run["url"]
    assert re.search(r"^claude mcp add .*" + re.escape(token), screen, re.M)


def test_the_first_call_on_the_screen_of_up_works_when_pasted(upped: Hub) -> None:
    lines = upped.stdout().splitlines()
    pasted = next(line for line in lines if " tools call " in line)
    done = subprocess.run(
        pasted, shell=True, capture_output=True, text=True, env=upped.place.env, cwd=upped.place.cwd, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "C-1001" in done.stdout


def test_the_blocks_of_up_let_a_client_in(upped: Hub) -> None:
    blocks = [json.loads(text) for text in re.findall(r"^\{$.*?^\}$", upped.stdout(), re.M | re.S)]
    server = blocks[1]["servers"]["mcp-hub"]
    body, headers = modern_message("tools/list", None)
    answer = Http(upped.port, None).request("POST", "/mcp", body, {**headers, **server["headers"]})
    assert answer.result["tools"]


def test_a_second_up_says_that_the_hub_is_running_and_exits_0(upped: Hub) -> None:
    done = upped.place.run("up")
    assert "running" in done.stdout
    assert upped.run["url"] in done.stdout
    assert str(upped.process.pid) in done.stdout


def test_up_finds_its_configuration_like_every_verb(tmp_path: Path) -> None:
    place = Place(tmp_path)
    found = {"listen": "127.0.0.1:0", "data_dir": "here", "mcpServers": {"raw": raw_server("legacy")}}
    (place.cwd / "hub.yaml").write_text(json.dumps(found))
    place.data_dir = place.cwd / "here"
    with Hub(place, "up"):
        names = until(lambda: _names_with(place, "raw__echo"), "raw is listed")
        assert {"raw__echo", "sandbox__query_customer_data"} <= names


def _names_with(place: Place, tool: str) -> set[str] | None:
    names = {found["name"] for found in place.json("tools", "list")["tools"]}
    return names if tool in names else None


def test_up_needs_no_network(tmp_path: Path) -> None:
    offline = [sys.executable, "-I", "-S", str(SERVERS / "offline.py")]
    if subprocess.run([*offline, "true"], capture_output=True).returncode:
        lack("a kernel that makes network namespaces for this user")
    place = Place(tmp_path)
    script = (
        '"$0" up --listen 127.0.0.1:0 & until test -s "$HOME/.local/share/mcp-hub/run.json"; do sleep 0.05; done; '
        '"$0" tools call sandbox__query_customer_data --args "$1"; s=$?; kill $!; wait $!; exit $s'
    )
    words = ["timeout", "40", "sh", "-c", script, place.argv()[0], '{"customer_id": "C-1001"}']
    done = subprocess.run([*offline, *words], capture_output=True, text=True, env=place.env, cwd=place.cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "C-1001" in done.stdout


# HTTP


def test_streamable_http_is_served_at_mcp_in_both_eras(hub: Hub) -> None:
    assert hub.http.call("raw__echo", {"text": "modern"}).text == "echo: modern"
    assert Session(hub.http).call("raw__echo", {"text": "legacy"}).text == "echo: legacy"


def test_legacy_http_sse_is_served_at_sse_and_messages(hub: Hub) -> None:
    with SseSession(hub.http) as session:
        assert session.post_path.startswith("/messages?")
        posted, message = session.request("tools/call", {"name": "raw__echo", "arguments": {"text": "sse"}})
        assert posted.status == 202
        assert message["result"]["content"][0]["text"] == "echo: sse"


def test_a_configured_endpoint_has_sse_and_messages_beside_it(hub: Hub) -> None:
    assert hub.http.modern("tools/list", endpoint="/one").result["tools"]
    with SseSession(hub.http, "/one") as session:
        assert session.post_path.startswith("/one/messages?")
        assert session.request("tools/list")[1]["result"]["tools"]


def test_health_ready_and_metrics_answer_without_a_token_on_loopback(hub: Hub) -> None:
    nobody = Http(hub.port, None)
    assert nobody.request("GET", "/health").json["status"] == "ok"
    assert nobody.request("GET", "/ready").status == 200
    metrics = nobody.request("GET", "/metrics")
    assert metrics.status == 200
    assert "text/plain" in metrics.headers["content-type"]


@pytest.mark.parametrize(("method", "path"), [*MCP_ROUTES, *ADMIN_ROUTES])
@pytest.mark.parametrize("token", [None, "wrong-token-of-at-least-32-characters"])
def test_every_other_route_needs_a_bearer_token(hub: Hub, method: str, path: str, token: str | None) -> None:
    answer = Http(hub.port, token).request(method, path, {} if method == "POST" else None)
    assert answer.status == 401 if token is None else answer.status in (401, 429)
    if answer.status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_in_the_url_is_no_token(hub: Hub) -> None:
    nobody = Http(hub.port, None)
    for path in (f"/mcp?token={CLIENT}", f"/mcp?access_token={CLIENT}", f"/api/v1/keys?token={ADMIN}"):
        assert nobody.request("POST", path, {}).status in (401, 429)


def test_metrics_need_a_token_when_the_hub_does_not_listen_on_loopback(tmp_path: Path) -> None:
    config = {"listen": "0.0.0.0:0", "allowed_hosts": ["127.0.0.1"]}
    with Hub(Place(tmp_path, config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)) as hub:
        nobody = Http(hub.port, None)
        assert nobody.request("GET", "/metrics").status == 401
        assert nobody.request("GET", "/health").status == 200
        assert nobody.request("GET", "/ready").status == 200
        assert hub.admin.request("GET", "/metrics").status == 200


# Call ids


def test_every_answer_to_an_mcp_request_carries_hub_call_id(hub: Hub) -> None:
    http, session = hub.http, Session(hub.http)
    answers = {
        "a list": http.modern("tools/list"),
        "a call": http.call("raw__echo"),
        "discover": http.modern("server/discover"),
        "an unknown tool": http.call("raw__nothing"),
        "an unknown method": http.modern("tools/unheard_of"),
        "no token": Http(hub.port, None).request("POST", "/mcp", {}),
        "malformed JSON": http.request("POST", "/mcp", b"{"),
        "an unknown endpoint": http.modern("tools/list", endpoint="/nothing"),
        "a foreign Host": http.request("POST", "/mcp", {}, {"Host": "evil.example"}),
        "a foreign Origin": http.request("POST", "/mcp", {}, {"Origin": "https://evil.example"}),
        "a wrong method": http.request("PUT", "/mcp", {}),
        "a wrong media type": http.request("POST", "/mcp", b"{}", {"Content-Type": "text/plain"}),
        "initialize": session.opening,
        "a legacy call": session.call("raw__echo"),
        "a legacy notification": session.notify("notifications/initialized"),
        "a lost session": http.request("POST", "/mcp", session.message("ping"), {"Mcp-Session-Id": "x"}),
        "an SSE post without a session": http.request("POST", "/messages", {}),
        "a body too large": http.request("POST", "/mcp", b"x" * 5_000_000, {"MCP-Protocol-Version": "2026-07-28"}),
        "a wrong token": Http(hub.port, "w" * 40).request("GET", "/sse"),
        "a key without the scope": hub.admin.modern("tools/list"),
        "the end of a session": http.request("DELETE", "/mcp", None, Session(http).headers),
    }
    lacking = [what for what, answer in answers.items() if not is_call_id(answer.headers.get("hub-call-id"))]
    assert lacking == []
    ids = [answer.call_id for answer in answers.values()]
    assert len(set(ids)) == len(ids)


def test_every_stream_carries_hub_call_id(hub: Hub) -> None:
    asked = {"notifications": {"toolsListChanged": True}}
    with (
        Session(hub.http).listen() as legacy,
        SseSession(hub.http) as sse,
        hub.http.modern_stream("subscriptions/listen", asked) as modern,
    ):
        for stream in (legacy, sse.stream, modern):
            assert is_call_id(stream.headers.get("hub-call-id"))


def test_on_legacy_sse_the_202_of_the_post_carries_the_call_id(hub: Hub) -> None:
    with SseSession(hub.http) as session:
        posted, _ = session.request("tools/call", {"name": "raw__echo", "arguments": {}})
        assert posted.status == 202
        assert hub.place.entry(posted.call_id)["item"] == "raw__echo"


def test_a_batch_has_one_call_id_per_call_separated_by_commas(hub: Hub) -> None:
    session = Session(hub.http, revision="2025-03-26")
    calls = [session.message("tools/call", {"name": "raw__echo", "arguments": {"text": t}}) for t in ("a", "b")]
    answer = session.post(calls)
    ids = [part.strip() for part in answer.headers["hub-call-id"].split(",")]
    assert len(set(ids)) == 2
    assert [entry["result"]["content"][0]["text"] for entry in answer.json] == ["echo: a", "echo: b"]
    assert all(hub.place.entry(id)["item"] == "raw__echo" for id in ids)


def test_the_hubs_own_words_repeat_the_call_id_in_meta(hub: Hub) -> None:
    session = Session(hub.http)
    for answer in (
        hub.call("raw__echo", {"text": 7}),  # a tool result with isError
        session.call("raw__echo", {"text": 7}),
        hub.call("raw__nothing"),  # a JSON-RPC error
        session.call("raw__nothing"),
        hub.http.modern("no/such/method"),
        hub.http.request("POST", "/mcp", b"{"),
        Http(hub.port, None).request("POST", "/mcp", {}),
    ):
        assert answer.meta[CALL] == answer.call_id


def test_the_call_id_of_an_answer_leads_to_its_log_entry(hub: Hub) -> None:
    answer = hub.call("raw__echo", {"text": "findable"})
    assert hub.place.entry(answer.call_id)["call"] == answer.call_id


# Tokens


def test_tokens_of_the_environment_are_the_local_clients_and_the_local_admins(hub: Hub) -> None:
    assert Http(hub.port, CLIENT).modern("tools/list").status == 200
    assert Http(hub.port, ADMIN).request("GET", "/api/v1/keys").status == 200
    assert not (hub.place.data_dir / "tokens" / "client").exists()


@pytest.mark.parametrize("name", ["MCP_HUB_TOKEN", "MCP_HUB_ADMIN_TOKEN"])
@pytest.mark.parametrize("verb", ["serve", "up", "token"])
def test_a_token_of_less_than_32_characters_is_wrong_usage(tmp_path: Path, name: str, verb: str) -> None:
    done = Place(tmp_path, {}, **{name: "s3cret-" + "x" * 24}).run(verb, status=2)
    assert name in done.stderr
    assert "32" in done.stderr
    assert "s3cret-" not in done.stderr


def test_made_tokens_are_kept_with_mode_0600_and_printed_by_the_verb_token(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    client, admin = place.run("token").stdout.strip(), place.run("token", "--admin").stdout.strip()
    assert len(client) >= 32
    assert len(admin) >= 32
    assert client != admin
    assert place.json("token") == {"token": client}
    files = [path for path in (place.data_dir / "tokens").iterdir() if path.is_file()]
    assert {path.read_text().strip() for path in files} == {client, admin}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    with Hub(place) as hub:
        assert Http(hub.port, client).modern("tools/list").status == 200
        assert Http(hub.port, admin).request("GET", "/api/v1/status").status == 200
        assert place.run("token").stdout.strip() == client


@pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
def test_the_local_client_administers_nothing(hub: Hub, method: str, path: str) -> None:
    assert hub.http.request(method, path, {} if method == "POST" else None).status == 403


def test_the_local_client_lists_and_calls_all_that_is_enabled(tmp_path: Path) -> None:
    servers = {"a": raw_server("legacy"), "b": raw_server("legacy"), "c": {**raw_server("legacy"), "enabled": False}}
    with Hub(Place(tmp_path, {"mcpServers": servers}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("a__echo", "b__echo")
        assert {name.partition("__")[0] for name in hub.tools()} == {"a", "b"}
        assert hub.call("a__echo", {"text": "x"}).text == "echo: x"
        assert hub.call("b__echo", {"text": "y"}).text == "echo: y"
        assert hub.call("c__echo").error["code"] == -32602


def test_the_admin_token_lists_and_calls_nothing(hub: Hub) -> None:
    answer = hub.admin.modern("tools/list")
    assert answer.status == 403
    assert "scope" in answer.headers["www-authenticate"]


def test_failed_logins_are_limited_per_address(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {}, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)) as hub:
        guesser = Http(hub.port, "guess-" + "x" * 32)
        statuses = [guesser.request("POST", "/mcp", {}).status for _ in range(60)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert hub.http.modern("tools/list").status == 200  # who has a token is not hindered
        entries = until(lambda: [e for e in hub.place.entries() if e["kind"] == "auth"], "the failed logins are logged")
        assert len(entries) < 20  # aggregated


def test_an_open_connection_is_no_identity(hub: Hub) -> None:
    """Each request shows its own token, whatever the connection has carried before."""
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=10)
    try:
        body, headers = modern_message("tools/list", None)
        own = {**headers, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        connection.request("POST", "/mcp", json.dumps(body), {**own, "Authorization": f"Bearer {CLIENT}"})
        first = connection.getresponse()
        assert (first.status, bool(first.read())) == (200, True)
        connection.request("POST", "/mcp", json.dumps(body), own)
        assert connection.getresponse().status in (401, 429)
    finally:
        connection.close()


def test_nobody_but_the_owner_reads_what_is_in_the_data_dir(hub: Hub) -> None:
    for folder, _, files in os.walk(hub.place.data_dir):
        for name in files:
            path = Path(folder) / name
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
