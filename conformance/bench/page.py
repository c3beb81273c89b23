"""The figures of the run that is kept, as the docs show them. `python -m tests.generate_docs` writes them there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.bench.targets import said

RESULTS: Final = Path(__file__).parent / "results.json"
WORDS: Final = {
    "direct": "the server alone",
    "nginx": "nginx, one worker",
    "envoy": "Envoy, `mcp_router` over three servers",
    "mcp-proxy": "mcp-proxy 0.13, a stdio server",
    "fastmcp": "FastMCP 4.1 proxy, one shared session",
    "hub": "**mcp-hub, everything on**",
}

Results = Mapping[str, Any]
Table = Callable[[Sequence[str], Sequence[Sequence[object]]], str]


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def verdicts(table: Table) -> str:
    return _verdicts(kept()["targets"], table)


def calls(table: Table) -> str:
    """A table for each kind of call that was measured."""
    return "\n".join(_case(part, table) for part in kept().values() if isinstance(part, dict) and "rows" in part)


def waits() -> str:
    return _rest(kept())


def controls(table: Table) -> str:
    return _controls(kept()["controls"], table)


def stages() -> str:
    """The stages that every row ran with. Raises ValueError when they were not the same for all."""
    ran = {tuple(part["proof"]["stages"]) for part in kept().values() if isinstance(part, dict) and "proof" in part}
    if len(ran) != 1:
        raise ValueError(f"the rows ran with different stages: {sorted(ran)}")
    return f"{', '.join(f'`{name}`' for name in ran.pop())}.\n"


def _verdicts(rows: Sequence[Mapping[str, Any]], table: Table) -> str:
    cells = [
        (row["target"], said(row["limit"], row["unit"]), said(row["figure"], row["unit"]), _word(row["met"]))
        for row in rows
    ]
    return table(("target", "at most", "this run", ""), cells)


def _word(met: bool) -> str:
    return "met" if met else "**missed**"


def _case(part: Mapping[str, Any], table: Table) -> str:
    cells = [
        (WORDS[name], row["client"], *(f"{row[key]:,.{n}f}" for key, n in _COLUMNS))
        for name, row in part["rows"].items()
    ]
    head = (part["what"], "client", "CPU µs/call", "calls/s", "p50 ms", "p99 ms")
    ratios = [f"{ratio['median']:.1f} times {_of(name)}" for name, ratio in part["ratios"].items()]
    proof = part["proof"]
    said = f"The hub: {', '.join(ratios)}. {proof['logged']:,} of {proof['calls']:,} calls in its log on disk.\n"
    return f"{table(head, cells)}\n{said}"


_COLUMNS: Final = (("cpu_us", 0), ("calls_per_s", 0), ("p50_ms", 2), ("p99_ms", 2))


def _of(name: str) -> str:
    figure, _, other = name.partition("_to_")
    shown = {"nginx": "nginx", "envoy": "Envoy"}[other]
    return f"{shown} in CPU" if figure == "cpu" else f"{shown} in p99"


def _rest(results: Results) -> str:
    lines = []
    if lists := results.get("lists"):
        cold, again, first = lists["cold_ms"]["median"], lists["repeated_ms"], lists["first_ever_ms"]
        lines.append(f"{lists['what']}: {cold:.1f} ms after a change, {again:.2f} ms again, {first:.1f} ms the first.")
    if memory := results.get("memory"):
        grown = f"{memory['calls_growth']:+.1%} over {memory['calls']:,} calls"
        more = f"{memory['connects_growth']:+.1%} over {memory['connects']:,} clients that came and went"
        lines.append(f"{memory['what'].capitalize()}: {memory['idle_mb']:.0f} MB idle, {grown}, {more}.")
    if issued := results.get("issued"):
        more = issued["more_us"]["median"]
        lines.append(f"A token of the hub's own authorization server beside the local one: {more:+.1f} µs a call.")
    if slow := results.get("slow"):
        lines.append(f"{slow['what']}: {slow['seconds']['median']:.2f} s.")
    if isolation := results.get("isolation"):
        p50, p99 = isolation["p50_ratio"], isolation["p99_ratio"]
        lines.append(
            f"Four servers with 50 calls pending on a fifth that hangs: p50 {p50:.2f} and p99 {p99:.2f} times."
        )
    if start := results.get("start"):
        ready, listed = start["ready_s"], start["other_19_listed_s"]
        lines.append(
            f"20 servers of which one hangs: ready after {ready:.1f} s, the others listed after {listed:.1f} s."
        )
    return "".join(f"- {line}\n" for line in lines)


def _controls(part: Mapping[str, Any], table: Table) -> str:
    costs = sorted(part["cost_us"].items(), key=lambda pair: -pair[1]["median"])
    cells = [(f"`{name}`" if " " not in name else name, _us(cost)) for name, cost in costs]
    said = f"Left out of a hub that takes {part['whole_us']:.0f} µs a call:\n"
    return f"{said}\n{table(('left out', 'CPU µs/call saved (middle half of the rounds)'), cells)}"


def _us(cost: Mapping[str, float]) -> str:
    return f"{cost['median']:.1f} ({cost['from']:.1f} to {cost['to']:.1f})"
