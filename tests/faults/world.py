"""One hub of this checkout in a process of its own over hostile servers and healthy ones, and what must hold of it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from conformance.faults.bystander import Bystander
from hub.audit.read import check_chain, entries_of
from tests.e2e.raw_http import Answer, Http
from tests.e2e.real import ADMIN_TOKEN, TOKEN, Hub, Json, process, wait_until
from tests.equipment import ROOT

CALL_S, HARD_S = 1.5, 3.0
RESULT_BYTES: Final = 1024 * 1024
WITHIN_S: Final = 15.0  # the hard end of a call, on a machine that is busy with other tests
GROWN_MB: Final = 90.0  # what one fault may cost for a moment; what the hostile servers send is above it
TYPICAL_S, WORST_S = 1.0, 8.0  # of a bystander: milliseconds, but for two busy cores
TIMEOUTS: Final = {"call": CALL_S, "hard": HARD_S, "list": 3, "initialize": 5, "connect": 2}
PLENTY: Final = {"per_caller": {"per_minute": 1_000_000, "burst": 100_000}}
GOOD: Final[Mapping[str, Json]] = {
    "sandbox": {"connector": "sandbox", "trusted": True},
    "good": {
        "command": sys.executable,
        "args": ["-m", "conformance.servers.hostile_stdio", "legacy"],
        "env": {"PYTHONPATH": str(ROOT)},
    },
}


def stdio_server(era: str, *more: str, **entry: Any) -> Json:
    return {**GOOD["good"], "args": [*GOOD["good"]["args"][:-1], era, *more], "timeouts": TIMEOUTS, **entry}


def url_server(url: str, **entry: Any) -> Json:
    return {"url": url, "timeouts": TIMEOUTS, "max_result_bytes": RESULT_BYTES, **entry}


@contextmanager
def http_server(era: str, log: Path, *pem: str) -> Iterator[int]:
    """The port of one hostile HTTP server."""
    with process([sys.executable, "-m", "conformance.servers.hostile_http", era, *pem], log, cwd=ROOT):
        yield int(wait_until(lambda: log.read_text().partition("\n")[0] or None, f"the {era} server"))


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub

    @property
    def pid(self) -> int:
        assert self.hub.child is not None
        return self.hub.child.pid

    @property
    def port(self) -> int:
        return int(self.hub.url.rpartition(":")[2])

    @property
    def http(self) -> Http:
        return Http(self.port, TOKEN)

    @property
    def admin(self) -> Http:
        return Http(self.port, ADMIN_TOKEN)

    def call(self, name: str, arguments: Json | None = None, **more: Any) -> Answer:
        return self.http.call(name, arguments, **more)

    def said(self, name: str) -> str | None:
        """What a tool says; None while it fails."""
        result = self.call(name).message.get("result", {})
        return None if result.get("isError", not result) else str(result["content"][0]["text"])

    def tools(self) -> set[str]:
        return {tool["name"] for tool in self.http.modern("tools/list").result["tools"]}

    def listed(self, *names: str) -> None:
        wait_until(lambda: set(names) <= self.tools() or None, f"{names} listed")

    def server(self, id: str) -> Json:
        rows = self.admin.request("GET", "/api/v1/servers").json["servers"]
        found: Json = next(row for row in rows if row["id"] == id)
        return found

    def entries(self, call: str) -> list[Json]:
        return entries_of(self.hub.data_dir / "audit.db", call)

    def entry(self, answer: Answer) -> Json:
        """The last entry of the call, which an answer must not come before."""
        found = self.entries(answer.call_id)
        assert found, f"{answer.call_id} was answered and is not in the log"
        return found[-1]

    def noise(self, id: str, kind: str) -> float:
        return self.figure(f'mcp_hub_server_noise{{kind="{kind}",server_name="{id}"}}')

    def figure(self, name: str) -> float:
        lines = self.http.request("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def bystander(self) -> Bystander:
        return Bystander(self.pid, (self._asks_sandbox, self._asks_good))

    def _asks_sandbox(self) -> bool:
        answer = self.call("sandbox__query_customer_data", {"customer_id": "C-1001"})
        return bool(answer.result["structuredContent"]["customer"]["customer_id"] == "C-1001")

    def _asks_good(self) -> bool:
        return self.said("good__well") == "well"


@contextmanager
def world(folder: Path, servers: Mapping[str, Json], env: Mapping[str, str] = {}, **settings: Any) -> Iterator[World]:
    hub = Hub(folder / "hub", {**GOOD, **servers}, {"limits": PLENTY, **settings}, env)
    try:
        hub.start()
        made = World(hub)
        made.listed("sandbox__query_customer_data", "good__well")
        yield made
    finally:
        if hub.child is not None:
            hub.stop()


@contextmanager
def hostile_world(folder: Path) -> Iterator[World]:
    """Every transport, hostile."""
    with ExitStack() as stack:
        ports = {
            era: stack.enter_context(http_server(era, folder / f"{era}.log")) for era in ("modern", "legacy", "sse")
        }
        servers = {
            "modern": url_server(f"http://127.0.0.1:{ports['modern']}/mcp"),
            "legacy": url_server(f"http://127.0.0.1:{ports['legacy']}/mcp"),
            "sse": url_server(f"http://127.0.0.1:{ports['sse']}/sse", type="sse"),
            "pipe": stdio_server("modern", max_result_bytes=RESULT_BYTES),
            "oldpipe": stdio_server("legacy", max_result_bytes=RESULT_BYTES),
        }
        made = stack.enter_context(world(folder, servers))
        made.listed(*(f"{id}__well" for id in servers))
        yield made


def together(calls: Sequence[Any]) -> list[Any]:
    """All at once; the first that raises raises here."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


def calm(seen: Bystander, grown_mb: float = GROWN_MB) -> None:
    """What must hold of the others while one server is hostile."""
    assert seen.wrong == []
    assert seen.typical_s < TYPICAL_S
    assert seen.worst_s < WORST_S
    assert seen.grown_mb < grown_mb


def recovered(made: World, *ids: str, traces: bool = False) -> None:
    """The hub lives, its log holds, it did not stumble, and each of these servers is of use again."""
    for id in ids:
        wait_until(lambda id=id: True if made.said(f"{id}__well") == "well" else None, f"{id} is of use again", 30.0)  # type: ignore[misc]
    assert made.hub.child is not None
    assert made.hub.child.poll() is None
    report = check_chain(made.hub.data_dir / "audit.db")
    assert report.ok, report
    assert traces or "Traceback" not in made.hub.log.read_text()


def endured(made: World, ids: Sequence[str], way: str, codes: Collection[str]) -> list[Answer]:
    """Call that way of all these servers at once: refused in time with one of `codes`, logged, and nobody else hurt."""
    began = monotonic()
    with made.bystander() as seen:
        answers: list[Answer] = together([partial(made.call, f"{id}__{way}") for id in ids])
    assert monotonic() - began < WITHIN_S
    for id, answer in zip(ids, answers, strict=True):
        assert answer.result.get("isError") is True, (id, answer.body[:300])
        assert answer.code in codes, (id, answer.code, answer.text)
        assert f"'{id}'" in answer.text, answer.text
        entry = made.entry(answer)
        assert (entry["kind"], entry["item"]) == ("call", f"{id}__{way}")
        assert entry["outcome"] in ("unknown", f"denied:{answer.code}"), entry
    calm(seen)
    recovered(made, *ids)
    return answers
