"""The figures of a running hub, from the kernel and from its own /metrics, taken now and then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.soak import processes
from conformance.soak.wire import Wire, request

_LINE: Final = re.compile(r"^(mcp_active_connections|mcp_hub_tasks|mcp_hub_server_state)(?:\{(.*)\})? (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float  # since the load began
    rss_kb: int  # of the hub's own process
    descriptors: int
    threads: int
    children: int
    tasks: int
    http: int  # legacy sessions, listens and long calls
    sse: int
    ready: int  # servers that the hub says are
    cpu: float  # of one core, since the last sample
    calls_per_s: float
    log_mb: float


@dataclass(slots=True)
class Figures:
    """Takes samples of one hub."""

    pid: int
    port: int
    log: Path
    _cpu_s: float = 0.0
    _calls: int = 0
    _at_s: float = 0.0

    async def take(self, at_s: float, calls: int) -> Sample:
        descriptors, children = len(processes.descriptors(self.pid)), len(processes.children(self.pid))
        told = await self._metrics()
        cpu_s, past_s = processes.cpu_s(self.pid), max(at_s - self._at_s, 0.001)
        sample = Sample(
            at_s=round(at_s, 1),
            rss_kb=processes.rss_kb(self.pid),
            descriptors=descriptors,
            threads=processes.threads(self.pid),
            children=children,
            tasks=int(told.get("mcp_hub_tasks", -1)),
            http=int(told.get('mcp_active_connections transport="http"', -1)),
            sse=int(told.get('mcp_active_connections transport="sse"', -1)),
            ready=sum(1 for name, value in told.items() if 'state="ready"' in name and value == 1.0),
            cpu=round((cpu_s - self._cpu_s) / past_s, 3),
            calls_per_s=round((calls - self._calls) / past_s, 1),
            log_mb=round(log_bytes(self.log) / 1e6, 1),
        )
        self._cpu_s, self._calls, self._at_s = cpu_s, calls, at_s
        return sample

    async def _metrics(self) -> dict[str, float]:
        wire = await Wire.connect(self.port)
        try:
            answer = await wire.ask(request("GET", "/metrics", self.port, "", {}))
        finally:
            wire.close()
        found = _LINE.findall(answer.body.decode())
        return {f"{name} {labels}".strip(): float(value) for name, labels, value in found}


def log_bytes(log: Path) -> int:
    """The log with what is not yet merged into it."""
    return sum(each.stat().st_size for each in log.parent.glob(f"{log.name}*") if each.suffix != ".reserve")


def thinned(samples: Sequence[Sample], most: int = 200) -> Sequence[Sample]:
    """Evenly chosen, the first and the last among them."""
    if len(samples) <= most:
        return samples
    return [samples[round(number * (len(samples) - 1) / (most - 1))] for number in range(most)]
