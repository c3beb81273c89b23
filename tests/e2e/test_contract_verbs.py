"""The outer contract, sentence by sentence: keys, stdio, tools, the log, configuration and exit codes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Lines, Place, alive, raw_server, until
from tests.e2e.raw_http import META, MODERN, Http, Session, SseSession, free_port

pytestmark = pytest.mark.e2e

KINDS = {"call", "intent", "list", "auth", "admin", "system"}
OUTCOME = re.compile(r"done|error|asked|denied:[a-z_]+|cancelled|unknown")
ENVELOPE = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    config = {
        "edge": {"keepalive_s": 0.5},
        "mcpServers": {"a": raw_server("legacy"), "b": raw_server("legacy")},
        "endpoints": {"/one/mcp": {"servers": ["a"], "prefix": "none"}},
    }
    place = Place(tmp_path_factory.mktemp("verbs"), config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as running:
        running.wait_for("a__echo", "b__echo")
        yield running


def made(hub: Hub, name: str, *words: str) -> tuple[dict[str, Any], Http]:
    found = hub.place.json("keys", "create", "--name", name, *words)
    return found, Http(hub.port, found["key"])


def servers_of(hub: Hub, http: Http) -> set[str]:
    return {name.partition("__")[0] for name in hub.tools(http)}


# keys


def test_keys_create_prints_id_and_key_once(hub: Hub) -> None:
    found, http = made(hub, "once", "--server", "*")
    assert found["id"]
    assert http.modern("tools/list").status == 200
    assert found["key"] not in hub.place.run("keys", "list", "--json").stdout
    for name in ("hub.db", "hub.db-wal", "audit.db", "audit.db-wal"):
        path = hub.place.data_dir / name
        assert not path.exists() or found["key"].encode() not in path.read_bytes()


def test_a_key_made_while_the_hub_runs_is_effective_at_once(hub: Hub) -> None:
    _, http = made(hub, "at-once", "--server", "a")
    assert http.call("a__echo", {"text": "now"}).text == "echo: now"


def test_keys_work_with_the_hub_stopped_and_are_logged(tmp_path: Path) -> None:
    place = Place(tmp_path, {"mcpServers": {"a": raw_server("legacy")}})
    found = place.json("keys", "create", "--name", "before", "--server", "a")
    gone = place.json("keys", "create", "--name", "gone", "--server", "a")
    place.run("keys", "revoke", gone["id"])
    assert place.run_json() is None  # no hub was started for it
    with Hub(place) as hub:
        until(lambda: "a__echo" in hub.tools(Http(hub.port, found["key"])), "the key sees a")
        assert Http(hub.port, gone["key"]).modern("tools/list").status == 401
        assert {e["who"] for e in place.entries() if e["kind"] == "admin"} == {"local:admin"}
        acts = [e["detail"]["act"] for e in place.entries() if e["kind"] == "admin"]
        assert acts == ["keys.create", "keys.create", "keys.revoke"]


def test_the_scope_of_a_key_is_mcp_by_default(hub: Hub) -> None:
    found, http = made(hub, "default-scope", "--server", "*")
    assert found["scopes"] == ["mcp"]
    assert http.request("GET", "/api/v1/keys").status == 403
    assert http.request("GET", "/api/v1/audit").status == 403


def test_server_star_is_all(hub: Hub) -> None:
    assert servers_of(hub, made(hub, "star", "--server", "*")[1]) == {"a", "b"}


def test_a_key_for_one_server_sees_nothing_of_the_other(hub: Hub) -> None:
    _, http = made(hub, "only-b", "--server", "b")
    assert servers_of(hub, http) == {"b"}
    hidden, never = http.call("a__echo"), http.call("a__never")
    assert hidden.error["code"] == never.error["code"] == -32602
    assert _without_id(hidden.body, hidden.call_id) == _without_id(never.body, never.call_id)
    assert http.modern("resources/read", {"uri": "a+raw://one"}).error["code"] == -32602


def _without_id(body: bytes, call: str) -> bytes:
    return body.replace(call.encode(), b"CALL")


def test_tool_alone_spans_servers_and_matches_public_names(hub: Hub) -> None:
    _, http = made(hub, "globs", "--tool", "*__ec*")
    assert hub.tools(http) == ["a__echo", "b__echo"]
    assert http.call("a__slow").error["code"] == -32602
    assert hub.tools(made(hub, "native", "--tool", "echo")[1]) == []


def test_server_and_tool_intersect(hub: Hub) -> None:
    _, http = made(hub, "both", "--server", "a", "--tool", "*__echo")
    assert hub.tools(http) == ["a__echo"]


def test_a_key_with_neither_sees_nothing_and_stderr_warns(hub: Hub) -> None:
    done = hub.place.run("keys", "create", "--name", "blind", "--json")
    assert "sees nothing" in done.stderr
    assert hub.tools(Http(hub.port, json.loads(done.stdout)["key"])) == []


def test_expires_30d_is_kept_and_an_expired_key_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, {"mcpServers": {}})
    found = place.json("keys", "create", "--name", "temporary", "--server", "*", "--expires", "30d")
    left = datetime.fromisoformat(found["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    with Hub(place) as hub:
        assert Http(hub.port, found["key"]).modern("tools/list").status == 200
        hub.stop()
    with closing(sqlite3.connect(place.data_dir / "hub.db")) as database, database:
        database.execute("UPDATE keys SET expires_at = '2020-01-01T00:00:00Z'")
    with Hub(place) as hub:
        assert Http(hub.port, found["key"]).modern("tools/list").status == 401
        assert place.json("keys", "list")["keys"][0]["state"] == "expired"


@pytest.mark.parametrize("time", ["30", "0d", "-1d", "soon", "30y"])
def test_an_expiry_that_is_no_time_is_refused(hub: Hub, time: str) -> None:
    done = hub.place.run("keys", "create", "--name", "never", f"--expires={time}", status=None)
    assert done.returncode in (1, 2)
    assert "30d" in done.stderr


def test_a_revoked_key_is_refused_at_once_and_its_streams_end(hub: Hub) -> None:
    found, http = made(hub, "revoked", "--server", "*")
    asked = {"notifications": {"toolsListChanged": True}}
    session = Session(http)
    with (
        http.modern_stream("subscriptions/listen", asked) as modern,
        session.listen() as legacy,
        SseSession(http) as sse,
    ):
        modern.until("notifications/subscriptions/acknowledged")
        hub.place.run("keys", "revoke", found["id"])
        assert http.modern("tools/list").status == 401
        assert http.call("a__echo").status == 401
        assert session.request("ping").status == 401
        assert sse.post({"jsonrpc": "2.0", "id": 9, "method": "ping"}).status == 401
        assert "result" in modern.message()
        for stream in (modern, legacy, sse.stream):
            assert stream.next() is None
    rows = {row["id"]: row["state"] for row in hub.place.json("keys", "list")["keys"]}
    assert rows[found["id"]] == "revoked"


def test_scope_admin_administers_and_does_not_call(hub: Hub) -> None:
    _, http = made(hub, "operator", "--scope", "admin")
    assert http.request("GET", "/api/v1/keys").status == 200
    assert http.request("GET", "/api/v1/audit").status == 200
    assert http.modern("tools/list").status == 403


def test_scope_audit_read_reads_the_log_and_nothing_else(hub: Hub) -> None:
    _, http = made(hub, "auditor", "--scope", "audit:read")
    assert http.request("GET", "/api/v1/audit").json["entries"]
    assert http.request("GET", "/api/v1/keys").status == 403
    assert http.request("POST", "/api/v1/servers/a/approve", {}).status == 403
    assert http.modern("tools/list").status == 403


def test_scopes_add_up_and_an_unknown_one_is_refused(hub: Hub) -> None:
    _, http = made(hub, "two-scopes", "--scope", "mcp", "--scope", "audit:read", "--server", "*")
    assert http.modern("tools/list").status == 200
    assert http.request("GET", "/api/v1/audit").status == 200
    assert "scope" in hub.place.run("keys", "create", "--name", "x", "--scope", "root", status=None).stderr


# stdio


def test_stdio_speaks_mcp_and_nothing_else_on_standard_output(hub: Hub) -> None:
    with Lines(hub.place, "stdio") as client:
        opened = client.initialize()
        assert opened["protocolVersion"] == "2025-11-25"
        called = client.request("tools/call", {"name": "a__echo", "arguments": {"text": "stdio"}})
        assert called["result"]["content"][0]["text"] == "echo: stdio"
        assert all(message["jsonrpc"] == "2.0" for message in client.heard)


def test_stdio_speaks_the_modern_era_too(hub: Hub) -> None:
    with Lines(hub.place, "stdio") as client:
        found = client.request("server/discover", {"_meta": ENVELOPE})["result"]
        assert MODERN in found["supportedVersions"]
        called = client.request("tools/call", {"name": "a__echo", "arguments": {"text": "m"}, "_meta": ENVELOPE})
        assert called["result"]["resultType"] == "complete"


def test_stdio_with_endpoint_name_serves_that_endpoint(hub: Hub) -> None:
    with Lines(hub.place, "stdio", "--endpoint", "one") as client:
        client.initialize()
        names = [tool["name"] for tool in client.request("tools/list")["result"]["tools"]]
        assert "echo" in names
        assert not any("__" in name for name in names)


def test_stdio_with_an_endpoint_that_does_not_exist_says_so_and_exits_1(hub: Hub) -> None:
    done = hub.place.run("stdio", "--endpoint", "nothing", status=1)
    assert "no such endpoint" in done.stderr
    assert done.stdout == ""


def test_stdio_is_the_local_client_in_the_log(hub: Hub) -> None:
    with Lines(hub.place, "stdio") as client:
        client.initialize()
        client.request("tools/call", {"name": "b__echo", "arguments": {"text": "who"}})
    last = [entry for entry in hub.place.entries() if entry["item"] == "b__echo"][-1]
    assert last["who"] == "local:client"
    assert last["client"]["transport"] == "stdio"


def test_stdio_starts_a_background_hub_and_a_second_one_shares_it(tmp_path: Path) -> None:
    place = Place(tmp_path, {"mcpServers": {"a": raw_server("legacy")}})
    try:
        with Lines(place, "stdio") as first, Lines(place, "stdio") as second:
            first.initialize()
            second.initialize()
            run = place.run_json()
            assert run is not None
            for client in (first, second):
                called = client.request("tools/call", {"name": "a__echo", "arguments": {"text": "shared"}})
                assert called["result"]["content"][0]["text"] == "echo: shared"
            again = place.run_json()
            assert again is not None
            assert again["pid"] == run["pid"]
        assert alive(run["pid"])  # it outlives the clients that started it
        assert len([e for e in place.entries() if e["kind"] == "call"]) == 2  # one log
    finally:
        place.end_background()


def test_stdio_and_verbs_find_a_hub_whatever_tokens_its_environment_held(hub: Hub) -> None:
    bare = Place(hub.place.home)
    bare.config, bare.data_dir = hub.place.config, hub.place.data_dir
    assert "MCP_HUB_TOKEN" not in bare.env
    assert bare.json("tools", "list")["tools"]
    assert bare.json("keys", "list")["keys"] is not None


# tools


def test_tools_list_prints_every_tool_as_a_client_sees_it(hub: Hub) -> None:
    found = hub.place.json("tools", "list")["tools"]
    assert found == hub.http.modern("tools/list").result["tools"]
    assert "a__echo" in hub.place.run("tools", "list").stdout


def test_tools_call_prints_the_result(hub: Hub) -> None:
    result = hub.place.json("tools", "call", "a__echo", "--args", '{"text": "hello"}')
    assert result["content"] == [{"type": "text", "text": "echo: hello"}]
    assert hub.place.run("tools", "call", "a__echo", "--args", '{"text": "hello"}').stdout == "echo: hello\n"


def test_tools_call_exits_1_when_the_result_is_an_error(hub: Hub) -> None:
    result = hub.place.json("tools", "call", "a__fails", status=1)
    assert result["isError"] is True
    done = hub.place.run("tools", "call", "a__echo", "--args", '{"text": 7}', status=1)
    assert "text" in done.stderr


def test_tools_call_goes_through_the_same_pipeline(hub: Hub) -> None:
    hub.place.run("tools", "call", "a__echo", "--args", '{"text": "from the verb"}')
    last = [entry for entry in hub.place.entries() if entry["item"] == "a__echo"][-1]
    assert (last["who"], last["outcome"]) == ("local:client", "done")


def test_tools_call_of_a_name_that_does_not_exist_exits_1(hub: Hub) -> None:
    assert "a__nothing" not in hub.place.run("tools", "list").stdout
    assert "nknown tool" in hub.place.run("tools", "call", "a__nothing", status=1).stderr


@pytest.mark.parametrize("given", ["{", "[1]", "7", '"x"', '{"a": NaN}'])
def test_args_that_are_no_json_object_are_wrong_usage(hub: Hub, given: str) -> None:
    assert "--args" in hub.place.run("tools", "call", "a__echo", "--args", given, status=2).stderr


# log


def test_audit_tail_prints_one_object_a_line_oldest_first_with_consecutive_seq(hub: Hub) -> None:
    entries = hub.place.entries()
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    for entry in entries:
        assert {"seq", "call", "kind", "at", "who", "item", "outcome"} <= set(entry)
        assert entry["kind"] in KINDS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", entry["at"])
        assert OUTCOME.fullmatch(entry["outcome"]), entry
        assert entry["item"] is None or isinstance(entry["item"], str)
    assert all(earlier["at"] <= later["at"] for earlier, later in pairwise(entries))


def test_audit_tail_limit_takes_the_newest(hub: Hub) -> None:
    assert hub.place.entries(3) == hub.place.entries()[-3:]
    assert hub.place.entries(0) == []


def test_the_log_names_every_kind_and_who_did_it(hub: Hub) -> None:
    _, http = made(hub, "named", "--server", "*")
    http.call("a__echo", {"text": "read"})
    http.call("a__slow_write", {"ms": 1})
    Http(hub.port, "wrong" * 10).modern("tools/list")
    hub.http.modern("tools/list")

    def seen() -> set[tuple[str, str]] | None:
        found = {(entry["kind"], entry["who"]) for entry in hub.place.entries()}
        wanted = {("call", "key:named"), ("intent", "key:named"), ("list", "local:client"), ("admin", "local:admin")}
        return found if wanted <= found and {"auth", "system"} <= {kind for kind, _ in found} else None

    until(seen, "every kind of entry")


def test_outcomes_done_error_denied_cancelled_and_unknown(tmp_path: Path) -> None:
    server = {**raw_server("legacy"), "timeouts": {"call": 1, "hard": 2}}
    with Hub(Place(tmp_path, {"mcpServers": {"a": server}}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("a__echo")
        entry = hub.place.entry
        assert entry(hub.call("a__echo").call_id)["outcome"] == "done"
        assert entry(hub.call("a__fails").call_id)["outcome"] == "error"
        assert entry(hub.call("a__nothing").call_id)["outcome"] == "denied:unknown_item"
        assert entry(hub.call("a__echo", {"text": 1}).call_id)["outcome"] == "denied:invalid_arguments"
        assert entry(hub.call("a__slow_write", {"ms": 3000}).call_id)["outcome"] == "unknown"
        with Lines(hub.place, "stdio") as client:
            client.initialize()
            call = {"name": "a__slow_write", "arguments": {"ms": 900}}
            client.say({"jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": call})
            until(lambda: hub.place.entries()[-1]["kind"] == "intent", "the call runs")
            client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}})
            until(lambda: hub.place.entries()[-1]["outcome"] == "cancelled", "the cancelled call is logged")


def test_audit_tail_follow_prints_entries_as_they_come(hub: Hub) -> None:
    with Lines(hub.place, "audit", "tail", "--limit", "1", "--follow", "--json") as follower:
        first = json.loads(follower.line())
        call = hub.call("a__echo", {"text": "followed"}).call_id
        seq = first["seq"]
        while (entry := json.loads(follower.line()))["call"] != call:
            assert entry["seq"] == seq + 1
            seq += 1
        assert entry["seq"] == seq + 1


def test_audit_show_prints_all_entries_of_one_call(hub: Hub) -> None:
    call = hub.call("a__slow_write", {"ms": 1}).call_id
    lines = hub.place.run("audit", "show", call, "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["intent", "call"]
    assert {json.loads(line)["call"] for line in lines} == {call}
    assert "no entry" in hub.place.run("audit", "show", "no-such-call", status=1).stderr


def test_the_log_is_read_with_the_hub_stopped_too(tmp_path: Path) -> None:
    with Hub(Place(tmp_path, {"mcpServers": {"a": raw_server("legacy")}}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("a__echo")
        call = hub.call("a__echo").call_id
        hub.stop()
        assert hub.place.entry(call)["outcome"] == "done"
        assert hub.place.run_json() is None


# configuration and exit codes


def test_configuration_is_found_by_option_then_environment_then_hub_yaml(tmp_path: Path) -> None:
    place = Place(tmp_path)
    files = {name: tmp_path / f"{name}.yaml" for name in ("option", "environment")} | {"cwd": place.cwd / "hub.yaml"}
    for name, path in files.items():
        path.write_text(f"data_dir: {tmp_path / name}\n")
    place.run("token", "--config", str(files["option"]))
    assert _made(tmp_path) == {"option"}
    place.env["MCP_HUB_CONFIG"] = str(files["environment"])
    place.run("token")
    assert _made(tmp_path) == {"option", "environment"}
    del place.env["MCP_HUB_CONFIG"]
    place.run("token")
    assert _made(tmp_path) == {"option", "environment", "cwd"}
    files["cwd"].unlink()
    place.run("token")
    assert (tmp_path / ".local" / "share" / "mcp-hub" / "tokens").is_dir()
    place.env["XDG_DATA_HOME"] = str(tmp_path / "xdg")
    place.run("token")
    assert (tmp_path / "xdg" / "mcp-hub" / "tokens").is_dir()


def _made(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/tokens")} - {"mcp-hub"}


def test_relative_paths_start_at_the_configuration_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "my.yaml").write_text("data_dir: ./state\n")
    place.run("token", "--config", str(tmp_path / "etc" / "my.yaml"))
    assert (tmp_path / "etc" / "state" / "tokens").is_dir()


def test_a_configuration_with_five_mistakes_reports_all_five_with_line_numbers(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "bad.yaml").write_text(
        "listen: nowhere\n"  # 1
        "colour: blue\n"  # 2
        "results: sometimes\n"  # 3
        "mcpServers:\n"
        "  one: {command: x, url: 'http://y'}\n"  # 5
        "  two:\n"
        "    command: x\n"
        "    timeouts: {call: -1}\n"  # 8
    )
    for verb in (["serve"], ["up"], ["tools", "list"], ["token"]):
        done = place.run(*verb, "--config", str(tmp_path / "bad.yaml"), status=2)
        assert "5 faults" in done.stderr
        for line, word in ((1, "listen"), (2, "colour"), (3, "results"), (5, "one"), (8, "call")):
            assert re.search(rf"\b{line}\b.*{word}", done.stderr), (line, word, done.stderr)


@pytest.mark.parametrize("text", ["{", "- 1\n", "a: [1\n", "listen: a\nlisten: b\n", "\x00", "a: &x [*x]\n"])
def test_a_configuration_that_is_no_mapping_is_wrong_usage(tmp_path: Path, text: str) -> None:
    place = Place(tmp_path)
    (tmp_path / "bad.yaml").write_text(text)
    done = place.run("serve", "--config", str(tmp_path / "bad.yaml"), status=2)
    assert "Traceback" not in done.stderr


def test_a_configuration_file_that_is_named_must_exist(tmp_path: Path) -> None:
    done = Place(tmp_path).run("serve", "--config", str(tmp_path / "none.yaml"), status=2)
    assert "none.yaml" in done.stderr


@pytest.mark.parametrize("key", ["policy", "models", "budgets", "cache", "mesh", "approvals"])
def test_a_key_whose_feature_is_not_built_yet_is_refused_by_name(tmp_path: Path, key: str) -> None:
    done = Place(tmp_path, {key: {}}).run("serve", status=2)
    assert key in done.stderr
    assert "not built yet" in done.stderr


def test_server_entries_are_taken_exactly_as_other_programs_write_them(tmp_path: Path) -> None:
    pasted = raw_server("legacy")
    servers = {"My_Server Two": {**pasted, "type": "stdio", "env": {"A": "1"}}, "off": {**pasted, "disabled": True}}
    with Hub(Place(tmp_path, {"mcpServers": servers}, MCP_HUB_TOKEN=CLIENT)) as hub:
        hub.wait_for("my-server-two__echo")
        assert not [name for name in hub.tools() if name.startswith("off__")]


@pytest.mark.parametrize(
    "words", [["nonsense"], ["serve", "--nonsense"], ["tools", "call"], ["keys", "create"], ["audit"], []]
)
def test_wrong_usage_exits_2(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [Place(tmp_path).argv()[0], *words], capture_output=True, text=True, env=Place(tmp_path).env, timeout=30
    )
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_every_verb_that_prints_data_has_json(hub: Hub) -> None:
    for words in (
        ["tools", "list"],
        ["tools", "call", "a__echo"],
        ["keys", "list"],
        ["token"],
        ["token", "--admin"],
        ["servers", "list"],
        ["servers", "test", "a"],
        ["servers", "diff", "a"],
        ["version"],
    ):
        assert isinstance(hub.place.json(*words), dict), words
    for line in hub.place.run("audit", "tail", "--json").stdout.splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_listen_address_of_the_configuration_is_kept(tmp_path: Path) -> None:
    port = free_port()
    with Hub(Place(tmp_path, {"listen": f"127.0.0.1:{port}"})) as hub:
        assert hub.port == port
        assert os.getpid() != hub.run["pid"]


def test_a_key_over_legacy_sse_sees_what_it_sees_elsewhere(hub: Hub) -> None:
    _, http = made(hub, "over-sse", "--tool", "*__echo")
    with SseSession(http) as session:
        found = session.request("tools/list")[1]["result"]["tools"]
        assert [tool["name"] for tool in found] == ["a__echo", "b__echo"]
