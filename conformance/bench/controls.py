"""What each control costs: the CPU of a `tools/call` by the whole hub, less that of a hub that has one stage less.

The hubs without a stage exist for this alone: `conformance.bench.launch` builds their pipelines, and no configuration
can. All hubs run at once, and each round asks every one of them, so that the drift of the machine falls out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from conformance.bench import gateways
from conformance.bench.launch import LOG
from conformance.bench.processes import cores

NEEDED = ("resolve",)  # without it no other stage has anything to judge, and no call has anywhere to go
BOTTOM = "dispatch"
TOGETHER = "all of these"


def measure(folder: Path, rounds: int = 40, calls: int = 400, only: tuple[str, ...] | None = None) -> dict[str, Any]:
    """`only`: leave these stages out, instead of each. Raises RuntimeError when an answer is wrong."""
    core, where = cores()
    with ExitStack() as stack:
        server = stack.enter_context(gateways.echo(where))

        def start(name: str, *without: str) -> gateways.Gateway:
            servers = {"echo": {"url": server.url}}
            return stack.enter_context(gateways.hub(core, servers, folder / name, *without))

        hubs = {"": start("whole")}
        names = [name for name in gateways.stages_of(hubs[""]) if name not in (*NEEDED, BOTTOM)]
        chosen = (*names, LOG) if only is None else only
        hubs |= {name: start(f"without-{name}", name) for name in chosen}
        if only is None:
            hubs[TOGETHER] = start("bare", *names, LOG)
        asks = {}
        for name, hub in hubs.items():  # the last to start has answered by then, too
            gateways.wait_for_tools(hub, "echo__echo")
            asks[name] = stack.enter_context(hub.loaded(where, tool="echo__echo", concurrency=16))
        costs: dict[str, list[float]] = {name: [] for name in hubs}
        for name in hubs:
            _cost(asks[name], server, calls)  # warm-up, not counted
        for _ in range(rounds):
            for name in hubs:
                costs[name].append(_cost(asks[name], server, calls))
        return {
            "what": "CPU of tools/call echo, concurrency 16, with one stage left out at a time",
            "rounds": rounds,
            "calls_per_round": calls,
            "whole_us": median(costs[""]),
            "cost_us": {name: _less(costs[""], seen) for name, seen in costs.items() if name},
        }


def _less(whole: list[float], without: list[float]) -> dict[str, float]:
    """The median of the differences of each round, and where their middle half lies."""
    each = sorted(all_on - less for all_on, less in zip(whole, without, strict=True))
    return {"median": median(each), "from": each[len(each) // 4], "to": each[len(each) * 3 // 4]}


def _cost(ask: Callable[[int], dict[str, Any]], server: gateways.Gateway, calls: int) -> float:
    before = gateways.answered(server)
    seen = ask(calls)
    reached = gateways.answered(server) - before
    if seen["wrong"] or reached != calls:
        raise RuntimeError(f"{seen['wrong']} wrong, {reached} of {calls} arrived: {seen['first_wrong']}")
    return float(seen["cpu_ns"]) / calls / 1000


def show(result: dict[str, Any]) -> None:
    print(f"  the whole hub: {result['whole_us']:.1f} us a call; of it")
    for name, cost in sorted(result["cost_us"].items(), key=lambda pair: -pair[1]["median"]):
        print(f"  {name:14}{cost['median']:7.1f} us (half of the rounds: {cost['from']:.1f} to {cost['to']:.1f})")
