"""CPU per `tools/call` of the whole process tree: direct, nginx, hub, in interleaved rounds of one run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from conformance.bench import gateways
from conformance.bench.processes import cores, cpu_ns, load, rss_mb


def measure(folder: Path, rounds: int, calls: int, concurrency: int) -> dict[str, Any]:
    """One row per gateway: medians over the rounds, and the hub's ratio to nginx round by round."""
    gateway_core, other_core = cores()
    with ExitStack() as stack:
        direct = stack.enter_context(gateways.echo(other_core))
        nginx = stack.enter_context(gateways.nginx(gateway_core, direct, folder))
        hub = stack.enter_context(gateways.hub(gateway_core, {"echo": {"url": direct.url}}, folder / "hub"))
        wait_for_tool(hub, "echo__echo")
        row: dict[str, list[dict[str, Any]]] = {g.name: [] for g in (direct, nginx, hub)}
        for gateway in (direct, nginx, hub):  # warm-up, not counted
            load(gateway.url, other_core, tool=f"{gateway.prefix}echo", calls=400, concurrency=8, token=gateway.token)
        for number in range(rounds):
            for gateway in (direct, nginx, hub):
                row[gateway.name].append(one_round(gateway, direct, other_core, calls, concurrency))
            costs = " ".join(f"{name} {seen[-1]['cpu_us']:.0f} us" for name, seen in row.items())
            print(f"  round {number + 1}/{rounds}: {costs}", flush=True)
        ratios = [h["cpu_us"] / n["cpu_us"] for h, n in zip(row["hub"], row["nginx"], strict=True)]
        return {
            "what": f"tools/call echo, 100 bytes, modern to modern, concurrency {concurrency}, all stages on, audit on",
            "rounds": rounds,
            "calls_per_round": calls,
            "rows": {name: summary(seen) for name, seen in row.items()},
            "hub_to_nginx": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
            "hub_rss_mb": rss_mb(hub.pid),
        }


def one_round(
    gateway: gateways.Gateway, direct: gateways.Gateway, where: set[int], calls: int, concurrency: int
) -> dict[str, Any]:
    before, cpu = gateways.answered(direct), cpu_ns(gateway.pid)
    seen = load(
        gateway.url, where, tool=f"{gateway.prefix}echo", calls=calls, concurrency=concurrency, token=gateway.token
    )
    cost = (cpu_ns(gateway.pid) - cpu) / calls / 1000
    reached = gateways.answered(direct) - before
    if seen["wrong"] or reached != calls:
        raise RuntimeError(
            f"{gateway.name}: {seen['wrong']} wrong, {reached} of {calls} arrived: {seen['first_wrong']}"
        )
    return {**seen, "cpu_us": cost, "calls_per_s": calls / seen["seconds"]}


def summary(seen: list[dict[str, Any]]) -> dict[str, float]:
    return {key: median(run[key] for run in seen) for key in ("cpu_us", "calls_per_s", "p50_ms", "p99_ms")}


def wait_for_tool(gateway: gateways.Gateway, name: str) -> None:
    """The first list waits for servers in their first start."""
    for _ in range(50):
        if name in gateways.list_tools(gateway):
            return
    raise TimeoutError(f"{name} is not listed")
