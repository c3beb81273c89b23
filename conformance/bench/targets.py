"""What the hub has to reach, each target with where its figure stands in the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """`figure` of the part of that name is to be at most `limit`."""

    part: str
    words: str
    path: tuple[str, ...]
    limit: float
    unit: str = ""

    def figure(self, results: Results) -> float | None:
        """None: this run did not measure it."""
        found: Any = results.get(self.part)
        for key in self.path:
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return float(found)


def _cpu(part: str, words: str, limit: float, other: str = "nginx") -> Target:
    return Target(part, words, ("ratios", f"cpu_to_{other}", "median"), limit, "x")


TARGETS: Final = (
    _cpu("echo", "echo, CPU against nginx", 4.8),
    _cpu("echo", "echo, CPU against Envoy's mcp_router", 1.0, "envoy"),
    _cpu("legacy-in", "legacy session in, CPU against nginx", 8),
    _cpu("legacy-out", "legacy session out, CPU against nginx", 8),
    _cpu("big", "100 KB result, CPU against nginx", 9),
    _cpu("stdio", "stdio server, CPU against nginx", 7),
    Target("issued", "an issued token beside the local one", ("more_us", "median"), 20, " µs"),
    Target("lists", "tools/list, first after a change", ("cold_ms", "median"), 5, " ms"),
    Target("lists", "tools/list, again", ("repeated_ms",), 0.3, " ms"),
    Target("echo-64", "p99 at concurrency 64 against nginx", ("ratios", "p99_to_nginx", "median"), 2.5, "x"),
    Target("slow", "200 concurrent calls of 100 ms", ("seconds", "median"), 1, " s"),
    Target("start", "ready with 20 servers, one hanging", ("ready_s",), 2, " s"),
    Target("memory", "resident, idle with 20 servers", ("idle_mb",), 120, " MB"),
    Target("memory", "its growth over 10,000 calls", ("calls_growth",), 0.05),
    Target("memory", "its growth over 1,000 connects", ("connects_growth",), 0.05),
)


def judged(results: Results) -> list[dict[str, Any]]:
    """One row per target that this run measured."""
    rows = []
    for target in TARGETS:
        figure = target.figure(results)
        if figure is not None:
            row = {"target": target.words, "limit": target.limit, "figure": figure, "unit": target.unit}
            rows.append({**row, "met": figure <= target.limit})
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        word = "met   " if row["met"] else "MISSED"
        print(
            f"  {word} {row['target']}: {said(row['figure'], row['unit'])}, at most {said(row['limit'], row['unit'])}"
        )


def said(figure: float, unit: str) -> str:
    """A figure in words; a growth has no unit."""
    return f"{figure:.3g}{unit}" if unit else f"{figure:.1%}"
