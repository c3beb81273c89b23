"""What waiting costs: slow tools at once, one hanging server among healthy ones, and start-up with one that hangs."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from conformance.bench import gateways
from conformance.bench.processes import cores, started


def slow_tools(folder: Path) -> dict[str, Any]:
    """200 concurrent calls to a tool that sleeps 100 ms in another process."""
    gateway_core, other_core = cores()
    with ExitStack() as stack:
        direct = stack.enter_context(gateways.echo(other_core))
        hub = stack.enter_context(gateways.hub(gateway_core, {"echo": {"url": direct.url}}, folder / "slow"))
        gateways.wait_for_tools(hub, "echo__sleep")
        ask = stack.enter_context(hub.loaded(other_core, tool="echo__sleep", args='{"ms": 100}', concurrency=200))
        ask(200)
        seen = [ask(200) for _ in range(5)]
        if any(run["wrong"] for run in seen):
            raise RuntimeError(f"wrong answers: {seen[0]['first_wrong']}")
        return {
            "what": "200 concurrent calls over modern HTTP to a tool that sleeps 100 ms",
            "seconds": {"median": median(run["seconds"] for run in seen), "max": max(run["seconds"] for run in seen)},
        }


def isolation(folder: Path, rounds: int = 10, calls: int = 500) -> dict[str, Any]:
    """Median and p99 of four servers with 50 calls pending on a fifth that hangs, against the same run without."""
    gateway_core, other_core = cores()
    with ExitStack() as stack:
        downstreams = [stack.enter_context(gateways.echo(other_core)) for _ in range(5)]
        servers = {f"s{number}": {"url": server.url} for number, server in enumerate(downstreams)}
        hub = stack.enter_context(gateways.hub(gateway_core, servers, folder / "isolation"))
        gateways.wait_for_tools(hub, *(f"{name}__echo" for name in servers))
        quiet: list[dict[str, Any]] = []
        busy: list[dict[str, Any]] = []
        measured(hub, other_core, 400)  # warm-up, not counted
        for number in range(rounds):
            # alternating which comes first keeps the drift of the machine out of the ratio
            for hanging in (False, True) if number % 2 else (True, False):
                if hanging:
                    with started(hang_command(hub), other_core) as child:
                        assert child.stdout is not None
                        child.stdout.readline()
                        busy.append(measured(hub, other_core, calls))
                else:
                    quiet.append(measured(hub, other_core, calls))
            print(
                f"  round {number + 1}/{rounds}: p50 {quiet[-1]['p50_ms']:.2f} / {busy[-1]['p50_ms']:.2f} ms",
                flush=True,
            )
        return {
            "what": "four servers, without and with 50 calls pending on a fifth that hangs",
            "rounds": rounds,
            "calls_per_round": calls * 4,
            "p50_ratio": median(b["p50_ms"] / q["p50_ms"] for b, q in zip(busy, quiet, strict=True)),
            "p99_ratio": median(b["p99_ms"] / q["p99_ms"] for b, q in zip(busy, quiet, strict=True)),
            "p50_ms": {"quiet": median(q["p50_ms"] for q in quiet), "busy": median(b["p50_ms"] for b in busy)},
            "p99_ms": {"quiet": median(q["p99_ms"] for q in quiet), "busy": median(b["p99_ms"] for b in busy)},
        }


def hang_command(hub: gateways.Gateway) -> list[str]:
    return [sys.executable, "-m", "conformance.bench.pending", hub.url, "--token", hub.token, "--tool", "s4__hang"]


def measured(hub: gateways.Gateway, where: set[int], calls: int) -> dict[str, Any]:
    """The mean over four servers of the median and the p99 of `calls` calls each."""
    runs = [hub.asked(where, calls, tool=f"s{n}__echo", concurrency=4) for n in range(4)]
    if any(run["wrong"] for run in runs):
        raise RuntimeError(f"wrong answers: {runs[0]['first_wrong']}")
    return {key: sum(run[key] for run in runs) / len(runs) for key in ("p50_ms", "p99_ms")}


def start_up(folder: Path) -> dict[str, Any]:
    """Ready, and everything but the hanging one listed, with 20 servers of which one hangs."""
    gateway_core, other_core = cores()
    with ExitStack() as stack:
        downstreams = [stack.enter_context(gateways.echo(other_core)) for _ in range(19)]
        stuck = stack.enter_context(gateways.echo(other_core, "--hang"))
        servers = {f"s{number}": {"url": server.url} for number, server in enumerate(downstreams)}
        servers["stuck"] = {"url": stuck.url}
        began = time.monotonic()
        hub = stack.enter_context(gateways.hub(gateway_core, servers, folder / "start"))
        ready = time.monotonic() - began
        wanted = {f"s{number}__echo" for number in range(19)}
        while not wanted <= set(gateways.list_tools(hub)):
            if time.monotonic() - began > 60:
                raise TimeoutError("not all healthy servers were listed within a minute")
        return {
            "what": "20 servers, one hangs: from the start of the process",
            "ready_s": ready,
            "other_19_listed_s": time.monotonic() - began,
        }
