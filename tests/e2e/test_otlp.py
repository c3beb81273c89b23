"""One call's trace through a client, the hub and a downstream that all export, in a collector that is a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from tests.e2e.collector import Collector, Seen, free_port, tree
from tests.e2e.hub_process import ADMIN, CLIENT, SERVERS, Hub, Place, until
from tests.e2e.lacking import lack
from tests.equipment import COLLECTOR, ROOT

pytestmark = pytest.mark.e2e

DOCS: Final = ROOT / "hub" / "docs" / "telemetry.md"
WRITE: Final = os.environ.get("MCP_HUB_WRITE_DOCS") == "1"
CLIENT_SCRIPT: Final = Path(__file__).parent / "traced_client.py"
ARGUMENT: Final = "argument-canary-ada"
BLOCK: Final = re.compile(r"(<!-- trace -->\n```text\n)(.*?)(```\n)", re.DOTALL)
SERVICES: Final = {"agent", "mcp-hub", "greeter"}


class Checkout(Place):
    """The hub of this checkout, whose environment has the extra packages; the installed one has none of them."""

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hub.cli.main", *words, "--config", str(self.config)]


@dataclass(frozen=True, slots=True)
class World:
    collector: Collector
    hub: Hub

    def ask(self) -> str:
        argv = [sys.executable, str(CLIENT_SCRIPT), self.collector.url, self.hub.run["url"], CLIENT]
        done = subprocess.run([*argv, "greeter__greet", ARGUMENT], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()


def config(collector: str, **telemetry: Any) -> dict[str, Any]:
    greeter = {"command": sys.executable, "args": [str(SERVERS / "traced.py"), collector]}
    given = {"endpoint": collector, "headers": {"x-api-key": "header-canary"}, "sample": 0, "interval_s": 1}
    return {"mcpServers": {"greeter": greeter}, "telemetry": {**given, **telemetry}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if not COLLECTOR.ready:
        lack("the collector is not installed: run `python -m tests.equipment`")
    with Collector(tmp_path) as collector:
        place = Checkout(tmp_path / "home", config(collector.url), MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)
        with Hub(place) as hub:
            hub.wait_for("greeter__greet")
            yield World(collector, hub)


def turn(collector: Collector) -> Sequence[Seen] | None:
    """The trace that began with the agent's turn, once all three programs have sent their part."""
    spans = collector.spans()
    root = next((span for span in spans if span.name == "agent turn"), None)
    found = [span for span in spans if root is not None and span.trace == root.trace]
    return found if {span.service for span in found} == SERVICES else None


def drawn(spans: Sequence[Seen]) -> str:
    rows = []
    for depth, span in tree(spans):
        rows.append(f"{span.service:8} {span.kind:9} {'  ' * depth + span.name:44} {span.ms:7.2f} ms")
    return "\n".join(rows)


def shape(text: str) -> str:
    return re.sub(r" +[\d.]+ ms$", "", text.strip(), flags=re.MULTILINE)


def test_one_call_is_one_trace_through_client_hub_and_downstream(world: World) -> None:
    assert world.ask() == f"Hello, {ARGUMENT}!"
    spans = until(lambda: turn(world.collector), "the collector has the trace")
    rows = tree(spans)
    assert [span.name for depth, span in rows if depth == 0] == ["agent turn"]  # one tree, nobody is an orphan
    served = next(span for span in spans if (span.service, span.kind) == ("mcp-hub", "server"))
    hop = next(span for span in spans if (span.service, span.kind) == ("mcp-hub", "client"))
    sent = next(span for span in spans if (span.service, span.kind) == ("agent", "client"))
    downstream = next(span for span in spans if (span.service, span.kind) == ("greeter", "server"))
    assert (served.parent, downstream.parent) == (sent.id, hop.id)
    assert served.attributes["gen_ai.tool.name"] == "greeter__greet"
    assert (hop.attributes["gen_ai.tool.name"], hop.attributes["mcp_hub.server"]) == ("greet", "greeter")
    assert served.start <= hop.start <= downstream.start
    assert served.ms >= hop.ms >= downstream.ms > 0
    assert world.hub.place.entry(served.attributes["mcp_hub.call.id"])["item"] == "greeter__greet"

    block = drawn(spans)
    if WRITE:
        DOCS.write_text(BLOCK.sub(lambda found: f"{found[1]}{block}\n{found[3]}", DOCS.read_text()))
    (told,) = (found[2] for found in BLOCK.finditer(DOCS.read_text()))
    assert shape(told) == shape(block), f"run this test with MCP_HUB_WRITE_DOCS=1 to have in {DOCS}:\n{block}"


def test_the_collector_gets_the_figures_and_no_argument_result_or_token(world: World) -> None:
    world.ask()
    until(lambda: turn(world.collector), "the collector has the trace")
    until(lambda: "mcp_request_duration_seconds" in world.collector.text(), "the collector has the figures")
    world.hub.stop()
    text = world.collector.text()
    assert "-> tool_name: Str(greeter__greet)" in text
    assert "mcp_hub_server_state" in text
    for canary in (ARGUMENT, "Hello", CLIENT, ADMIN, "header-canary"):
        assert canary not in text


def test_what_a_hub_has_seen_is_sent_before_it_stops(world: World) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert world.hub.call("greeter__greet", {"name": "x"}, meta={"traceparent": traceparent}).status == 200
    world.hub.stop()
    found = until(
        lambda: [span for span in world.collector.spans() if span.parent == "00f067aa0ba902b7"], "the last trace"
    )
    assert [(span.service, span.trace) for span in found] == [("mcp-hub", "4bf92f3577b34da6a3ce929d0e0e4736")]


def test_a_collector_that_is_away_costs_no_call_and_no_stop(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    given = {"mcpServers": {"company": {"connector": "sandbox"}}, "telemetry": config(away, sample=1)["telemetry"]}
    with Hub(Checkout(tmp_path / "home", given, MCP_HUB_TOKEN=CLIENT, MCP_HUB_ADMIN_TOKEN=ADMIN)) as hub:
        tool = "company__query_customer_data"
        hub.wait_for(tool)
        until(lambda: "the collector does not take" in hub.stderr(), "it is said", 30.0)
        began = monotonic()
        for _ in range(20):
            assert hub.call(tool, {"customer_id": "C-1001"}).status == 200
        assert monotonic() - began < 4.0  # less than one attempt to send takes
        hub.stop()
        assert monotonic() - began < 10.0
        assert "Traceback" not in hub.stderr()
        assert "header-canary" not in hub.stderr()


def test_a_hub_without_the_extra_packages_says_how_to_get_them(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", {"telemetry": {"endpoint": "http://127.0.0.1:4318"}})
    refused = place.run("serve", status=1)
    assert "pip install 'mcp-hub[otel]'" in refused.stderr
    assert "Traceback" not in refused.stderr
