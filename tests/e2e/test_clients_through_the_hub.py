"""Clients and adapters of many makers, each through one running hub: what they saw, and what the hub saw of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pytest

from connectors.sandbox import documents
from tests.e2e.clients.matrix import CLIENTS, METHODS, ROADS, Client, Pass
from tests.e2e.hub_process import ADMIN, CLIENT, Hub, Json, Place, until
from tests.e2e.lacking import lack
from tests.e2e.real import node
from tests.equipment import npm_ready, npm_server

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 120.0
FEATURES: Final = "every+demo://resource/static/document/features.md"
SCHEMA: Final = "sandbox+schema://database"
ORDER: Final = ("sandbox__get_order", {"order_id": "O-50121"})
CITY: Final = ("every__args-prompt", {"city": "Ulm"})
ANALYSIS: Final = ("sandbox__customer-analysis", {"customer_id": "C-1001"})
RUNS: Final = [
    pytest.param(client, run, id="-".join(filter(None, (client.id, run.road, run.mode))))
    for client in CLIENTS
    for run in client.passes
]


@dataclass
class Scene:
    """One hub over a server in it and one beside it, both with tools, resources and prompts."""

    hub: Hub

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """What the hub has, as its own wire says."""
        listed = {what: self.hub.http.modern(f"{what}/list").result[what] for what in ("tools", "resources", "prompts")}
        return {
            what: sorted(item["uri" if what == "resources" else "name"] for item in items)
            for what, items in listed.items()
        }

    @cached_property
    def order(self) -> Json:
        found: Json = self.hub.call(*ORDER).result["structuredContent"]
        return found

    def done(self, after: int, run: Pass) -> set[str]:
        """The methods that were answered over this road in this revision, as the log behind `after` has it."""
        entries = self.hub.admin.request("GET", f"/api/v1/audit?after={after}&limit=1000").json["entries"]
        return {
            entry["method"]
            for entry in entries
            if entry["kind"] in ("call", "list")
            and entry["outcome"] == "done"
            and (entry["client"]["transport"], entry["client"]["revision"]) == (run.road, run.revision)
        }

    def last(self) -> int:
        newest: int = self.hub.admin.request("GET", "/api/v1/audit?limit=1").json["entries"][-1]["seq"]
        return newest


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if not npm_ready():
        lack("node with the servers of tests/e2e/npm: run `python -m tests.equipment`")
    config = {
        "mcpServers": {"sandbox": {"connector": "sandbox"}, "every": node("everything")},
        "limits": {"per_caller": {"per_minute": 1_000_000, "burst": 100_000}},
    }
    place = Place(tmp_path_factory.mktemp("clients") / "home", config, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
    with Hub(place) as hub:
        hub.wait_for("every__echo", ORDER[0])
        yield Scene(hub)


def message(client: Client, run: Pass) -> str:
    return f"Grüße, 你好 ☃ \u2028 from {client.id} {run.road}{run.mode}"


def said(scene: Scene, client: Client, run: Pass) -> Json:
    """What the client reports; it and all that it started are ended."""
    place = scene.hub.place
    task = {
        "road": run.road,
        "mode": run.mode,
        "url": f"http://127.0.0.1:{scene.hub.port}/{'sse' if run.road == 'sse' else 'mcp'}",
        "token": CLIENT,
        "command": place.argv("stdio"),
        "calls": [["every__echo", {"message": message(client, run)}], ORDER],
        "reads": [SCHEMA, FEATURES],
        "gets": [CITY, ANALYSIS],
    }
    env = {name: value for name, value in place.env.items() if not name.startswith("MCP_HUB_")}  # as a user's client
    child = subprocess.Popen(
        client.command(json.dumps(task)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=place.cwd,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=LIMIT_S)
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.communicate()
    assert child.returncode == 0, f"{client.id} ended with {child.returncode}:\n{err[-3000:]}"
    report: Json = json.loads(out)
    return report


@pytest.mark.parametrize(("client", "run"), RUNS)
def test_a_client_sees_what_the_hub_has_and_the_hub_sees_it_speak(scene: Scene, client: Client, run: Pass) -> None:
    if client.missing:
        lack(f"{'; '.join(client.missing)}: run `python -m tests.equipment`")
    names, order = scene.names, scene.order
    before = scene.last()
    report = said(scene, client, run)
    assert set(report) == set(METHODS) - set(client.lacks), "what it can do is not what its row says"
    for what in set(names) - set(client.lacks):
        assert sorted(report[what]) == names[what]
    echo, found = report["called"]
    assert echo == f"Echo: {message(client, run)}"
    assert json.loads(found) == order
    features = (npm_server("everything").parent / "docs" / "features.md").read_text()
    assert report.get("read", [documents.SCHEMA, features]) == [documents.SCHEMA, features]
    assert report["prompted"] == ["What's weather in Ulm?", documents.analysis(ANALYSIS[1])]

    wanted = {METHODS[what] for what in report}
    until(lambda: wanted <= scene.done(before, run), f"{wanted} in the log, {run.revision} over {run.road}")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.id)
def test_a_client_has_or_explains_every_road_and_every_thing_to_do(client: Client) -> None:
    roads = {run.road for run in client.passes}
    assert roads | (set(client.lacks) & set(ROADS)) == set(ROADS)
    assert not roads & set(client.lacks)
    assert set(client.lacks) <= {*ROADS, *METHODS}
    assert all(client.lacks.values())
    assert client.version[0].isdigit()


def test_frameworks_of_several_makers_are_among_the_clients() -> None:
    assert len({client.home for client in CLIENTS if client.home is not None}) >= 5
