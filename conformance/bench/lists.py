"""`tools/list` over 20 servers of 50 tools: the first after a change of the catalogue, and the same asked again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from conformance.bench import gateways
from conformance.bench.processes import cores, quiet

SERVERS, TOOLS = 20, 50
WHAT = f"tools/list over {SERVERS} servers x {TOOLS} tools, one page, CPU of the hub"


def measure(folder: Path, changes: int = 10, repeated: int = 1000) -> dict[str, Any]:
    """Raises RuntimeError when a list is not the whole one."""
    core, where = cores()
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        downstream = stack.enter_context(gateways.echo(where, "--tools", str(TOOLS), "--bare"))
        # every path is answered alike, so that one process is as many servers as there are paths
        servers = {f"s{n:02d}": {"url": f"{downstream.url}/{n}"} for n in range(SERVERS + 1)}
        hub = stack.enter_context(gateways.hub(core, servers, folder))
        gateways.wait_for_servers(hub, len(servers))
        quiet(hub.pid)
        ask = stack.enter_context(hub.loaded(where, shape="list", concurrency=1, expected=SERVERS * TOOLS))
        first = _right(ask(1))
        cold, seconds = [], []
        for _ in range(changes):
            quiet(hub.pid)
            _switch(hub, folder, servers, on=False)  # a change that needs no server to answer
            seen = _right(ask(1))
            cold.append(seen["cpu_ns"] / 1e6)
            seconds.append(seen["p50_ms"])
            _switch(hub, folder, servers, on=True)
            gateways.wait_for_tools(hub, f"s{SERVERS:02d}__record_{TOOLS - 1:03d}")
        _switch(hub, folder, servers, on=False)
        _right(ask(20))
        runs = [_right(ask(repeated // 5)) for _ in range(5)]
        return {
            "what": WHAT,
            "changes": changes,
            "first_ever_ms": first["cpu_ns"] / 1e6,
            "cold_ms": {"median": median(cold), "min": min(cold), "max": max(cold)},
            "cold_answer_ms": median(seconds),
            "repeated_ms": median(run["cpu_ns"] / run["calls"] / 1e6 for run in runs),
            "repeated_p50_ms": median(run["p50_ms"] for run in runs),
            "proof": {"stages": gateways.stages_of(hub), "items": SERVERS * TOOLS},
        }


def _switch(hub: gateways.Gateway, folder: Path, servers: dict[str, Any], *, on: bool) -> None:
    last = f"s{SERVERS:02d}"
    gateways.write_config(folder, {**servers, last: {**servers[last], "enabled": on}})
    gateways.reload(hub)
    quiet(hub.pid)


def _right(seen: dict[str, Any]) -> dict[str, Any]:
    if seen["wrong"]:
        raise RuntimeError(f"{seen['wrong']} of {seen['calls']} lists are not the whole one: {seen['first_wrong']}")
    return seen


def show(result: dict[str, Any]) -> None:
    cold = result["cold_ms"]
    print(f"  after a change {cold['median']:.2f} ms of CPU ({cold['min']:.2f} to {cold['max']:.2f}), ", end="")
    print(f"again {result['repeated_ms']:.3f} ms; answered in {result['cold_answer_ms']:.2f}", end="")
    print(f" and {result['repeated_p50_ms']:.2f} ms; the first of all took {result['first_ever_ms']:.1f} ms of CPU")
    print(f"  on: {' '.join(result['proof']['stages'])}; every list had its {result['proof']['items']} items")
