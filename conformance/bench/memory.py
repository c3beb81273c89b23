"""Resident memory of the hub's process tree: idle, after 10,000 calls, and after 1,000 clients came and went."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from conformance.bench import gateways
from conformance.bench.processes import cores, quiet, rss_mb
from conformance.bench.session import in_session

SERVERS = 20


def measure(folder: Path, calls: int = 10_000, connects: int = 1000) -> dict[str, Any]:
    """Raises RuntimeError when a call was answered wrongly."""
    core, where = cores()
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        downstream = stack.enter_context(gateways.echo(where))
        servers = {f"s{n:02d}": {"url": f"{downstream.url}/{n}"} for n in range(SERVERS)}
        hub = stack.enter_context(gateways.hub(core, servers, folder))
        gateways.wait_for_tools(hub, *(f"{name}__echo" for name in servers))
        idle = _settled(hub)
        each, before = calls // 4, gateways.answered(downstream)
        for n in range(4):
            seen = hub.asked(where, each, tool=f"s{n * 5:02d}__echo", concurrency=16)
            if seen["wrong"]:
                raise RuntimeError(f"{seen['wrong']} wrong answers: {seen['first_wrong']}")
        reached = gateways.answered(downstream) - before
        if reached != each * 4:
            raise RuntimeError(f"{reached} of {each * 4} calls arrived")
        called = _settled(hub)
        for number in range(connects):
            come_and_go(hub, f"s{number % SERVERS:02d}__echo", f"client {number} was here", legacy=number % 2 == 1)
        connected = _settled(hub)
        return {
            "what": f"resident memory with {SERVERS} HTTP servers",
            "idle_mb": idle,
            "calls": each * 4,
            "after_calls_mb": called,
            "calls_growth": called / idle - 1,
            "connects": connects,
            "after_connects_mb": connected,
            "connects_growth": connected / called - 1,
            "proof": {"stages": gateways.stages_of(hub), "logged": gateways.logged(hub)},
        }


def _settled(hub: gateways.Gateway) -> float:
    quiet(hub.pid)
    return rss_mb(hub.pid)


def come_and_go(hub: gateways.Gateway, tool: str, text: str, *, legacy: bool) -> None:
    """A client with a connection of its own: one call, in the legacy era in a session that it ends."""
    if not legacy:
        result = gateways.rpc(hub, "tools/call", {"name": tool, "arguments": {"text": text}})
    else:
        result = in_session(hub, {"name": tool, "arguments": {"text": text}})
    if result["content"][0]["text"] != text:
        raise RuntimeError(f"{tool} answered {result!r}")


def show(result: dict[str, Any]) -> None:
    print(f"  idle {result['idle_mb']:.1f} MB", end="")
    print(f"; after {result['calls']} calls {result['after_calls_mb']:.1f} ({result['calls_growth']:+.1%})", end="")
    print(f"; after {result['connects']} connects {result['after_connects_mb']:.1f} ({result['connects_growth']:+.1%})")
    print(f"  on: {' '.join(result['proof']['stages'])}; {result['proof']['logged']} calls in the log on disk")
