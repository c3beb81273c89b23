"""Servers registered with a real hub: in force at once, gone at once, and no secret of theirs anywhere in plain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Place, raw_server, until

pytestmark = pytest.mark.e2e

CANARY = "regcanary0123456789abcdef"
ALLOW = "--allow-command"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(
        tmp_path, {"mcpServers": {"steady": raw_server("modern")}}, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN
    )
    yield made
    made.end_background()


def kept(place: Place, *hubs: Hub) -> bytes:
    """All that is on disk in the hub's directory, and all that it said."""
    files = [path for path in place.data_dir.rglob("*") if path.is_file()]
    said = "".join(hub.stderr() + hub.stdout() for hub in hubs)
    return b"".join(path.read_bytes() for path in files) + said.encode()


def mine(hub: Hub, id: str) -> list[str]:
    return [name for name in hub.tools() if name.startswith(f"{id}__")]


def paste(mode: str = "legacy") -> dict[str, Any]:
    return {**raw_server(mode), "env": {"WIKI_TOKEN": CANARY, "MODE": "fast"}}


def test_a_server_comes_changes_and_goes_without_a_restart(place: Place) -> None:
    with Hub(place) as hub:
        hub.wait_for("steady__echo")
        before = mine(hub, "steady")
        text = json.dumps({"mcpServers": {"My Wiki": paste()}})
        refused = place.json("servers", "import", stdin=text, status=1)
        assert "--allow-command" in refused["servers"][0]["problem"]
        done = place.json("servers", "import", ALLOW, stdin=text)
        assert done["servers"][0]["outcome"] == "added"
        hub.wait_for("my-wiki__environment")
        env = hub.call("my-wiki__environment").result
        assert CANARY in json.dumps(env)  # the program has it, nobody else
        assert ADMIN not in json.dumps(env)
        place.run("servers", "disable", "my-wiki")
        until(lambda: not mine(hub, "my-wiki"), "its tools are gone")
        place.run("servers", "enable", "my-wiki")
        hub.wait_for("my-wiki__environment")
        shown = (
            place.run("servers", "show", "my-wiki").stdout + place.run("servers", "show", "my-wiki", "--json").stdout
        )
        log = place.run("audit", "tail", "--limit", "1000", "--json").stdout
        assert "secret:my-wiki.WIKI_TOKEN" in shown
        assert "servers.import" in log
        place.run("servers", "remove", "my-wiki")
        until(lambda: not mine(hub, "my-wiki"), "its tools are gone")
        assert mine(hub, "steady") == before
        assert hub.server("steady")["restarts"] == 0
        assert CANARY not in shown + log
        assert CANARY.encode() not in kept(place, hub)


def test_what_was_registered_is_there_after_a_restart(place: Place) -> None:
    with Hub(place) as first:
        place.run("servers", "import", ALLOW, stdin=json.dumps({"wiki": paste("modern")}))
        first.wait_for("wiki__environment")
        first.stop()
    with Hub(place) as second:
        second.wait_for("wiki__environment")
        assert CANARY in json.dumps(second.call("wiki__environment").result)
        assert CANARY.encode() not in kept(place, first, second)


def test_a_dry_run_shows_and_leaves_nothing(place: Place) -> None:
    with Hub(place) as hub:
        hub.wait_for("steady__echo")
        before = children(hub)
        found = place.json("servers", "import", "--dry-run", ALLOW, stdin=json.dumps({"wiki": paste()}))
        (row,) = found["servers"]
        assert row["outcome"] == "works"
        (echo,) = [tool for tool in row["tools"] if tool["name"] == "wiki__echo"]
        assert echo["hints"] == {"readOnlyHint": True}
        assert row["schema_bytes"] > 1000
        assert any("wiki__echo" in warning and "steady__echo" in warning for warning in row["warnings"])
        broken = place.json(
            "servers", "import", "--dry-run", ALLOW, stdin=json.dumps({"bad": raw_server("exit")}), status=1
        )
        assert broken["servers"][0]["outcome"] == "failed"
        until(lambda: children(hub) == before, "what the dry runs started has ended")
        assert [row["id"] for row in place.json("servers", "list")["servers"]] == ["steady"]
        assert CANARY.encode() not in kept(place, hub)


def children(hub: Hub) -> list[str]:
    done = subprocess.run(["ps", "-o", "args=", "--ppid", str(hub.process.pid)], capture_output=True, text=True)
    return sorted(done.stdout.splitlines())


def many(count: int) -> dict[str, Any]:
    """Servers that nobody answers for, switched off."""
    return {
        f"s-{n}": {"url": f"http://127.0.0.1:9/{n}", "disabled": True, "headers": {"X-Key": f"{CANARY}{n}"}}
        for n in range(count)
    }


def test_an_import_that_is_killed_leaves_whole_servers_and_goes_on_when_run_again(place: Place) -> None:
    text = json.dumps({"mcpServers": many(150)})
    with Hub(place) as hub:
        importing = subprocess.Popen(
            place.argv("servers", "import"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=place.env,
            cwd=place.cwd,
        )
        assert importing.stdin is not None
        importing.stdin.write(text.encode())
        importing.stdin.close()
        until(lambda: len(registered(hub)) >= 20, "the import is under way")
        hub.kill()
        importing.wait(30)
    with Hub(place) as again:
        for id in registered(again):
            shown = again.admin.request("GET", f"/api/v1/servers/{id}").json
            assert (shown["in_force"], shown["secrets"][0]["stored"]) == (True, True)
        found = place.json("servers", "import", stdin=text)
        assert (found["taken"], found["refused"]) == (150, 0)
        assert {row["outcome"] for row in found["servers"]} == {"added", "unchanged"}
        assert len(registered(again)) == 150
        assert {row["outcome"] for row in place.json("servers", "import", stdin=text)["servers"]} == {"unchanged"}
        assert CANARY.encode() not in kept(place, hub, again)


def registered(hub: Hub) -> list[str]:
    rows = hub.admin.request("GET", "/api/v1/servers").json["servers"]
    return [row["id"] for row in rows if row["provenance"] == "database"]


def test_without_a_hub_the_same_is_done_on_the_stores(place: Place) -> None:
    place.run("servers", "add", "wiki", ALLOW, "--config", str(place.config), "--", *argv("modern"))
    assert place.run_json() is None
    place.run("servers", "import", stdin=json.dumps(many(3)))
    assert CANARY.encode() not in kept(place)
    with Hub(place) as hub:
        hub.wait_for("wiki__echo", "steady__echo")
        assert registered(hub) == ["s-0", "s-1", "s-2", "wiki"]


def argv(mode: str) -> list[str]:
    server = raw_server(mode)
    return [server["command"], *server["args"]]
