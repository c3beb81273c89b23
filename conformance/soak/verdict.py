"""What the figures prove, claim by claim. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from conformance.soak.samples import Sample

WARM_UP: Final = 0.2  # of the run: not judged
FILLING_S: Final = 240.0  # nor before what is bounded is full: heads of connections, texts of lists, pages of files
MOST_WARM_UP: Final = 0.4  # but never more of the run than this
FLAT: Final = 0.05  # growth over the rest of it
TREND_S: Final = 1800.0  # within less, one step of the allocator looks like a trend
POOL: Final = min(32, (os.cpu_count() or 1) + 4)  # workers of the event loop's pool, started when they are needed
_PAIRS: Final = 400  # samples of which slopes are taken at most


@dataclass(frozen=True, slots=True)
class Claim:
    claim: str
    holds: bool
    seen: str


def flat(samples: Sequence[Sample]) -> Claim:
    """Neither the last quarter nor, in a long run, the slope shows growth. What the hub gives back is no fault."""
    end = samples[-1].at_s
    begin = min(max(end * WARM_UP, FILLING_S), end * MOST_WARM_UP)
    warm = [sample for sample in samples if sample.at_s >= begin]
    sizes = [float(sample.rss_kb) for sample in warm]
    quarter = max(1, len(sizes) // 4)
    first, last = median(sizes[:quarter]), median(sizes[-quarter:])
    grown = last / first - 1
    slope = trend([sample.at_s for sample in warm], sizes)
    judged_s = warm[-1].at_s - warm[0].at_s
    drift = slope * judged_s / median(sizes)
    seen = (
        f"{first / 1024:.1f} MB in the first quarter, {last / 1024:.1f} MB in the last ({grown:+.1%}); "
        f"trend {drift:+.1%} over {judged_s:.0f} s, {slope * 3600 / 1024:+.2f} MB an hour"
    )
    worst = max(grown, drift) if judged_s >= TREND_S else grown
    return Claim(f"resident memory is flat within {FLAT:.0%} after warm-up", worst <= FLAT, seen)


def trend(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between samples half a run apart: no single outlier moves it."""
    half = len(values) // 2
    if half == 0:
        return 0.0
    step = max(1, half // _PAIRS)
    return median(
        (values[place + half] - values[place]) / (times[place + half] - times[place])
        for place in range(0, len(values) - half, step)
    )


def back_to(base: Sample, end: Sample) -> list[Claim]:
    """Once every caller has left, nothing is held that was not held before the first one came."""
    words = {"http": "sessions and streams over HTTP", "sse": "sessions over HTTP+SSE", "children": "processes"}
    claims = []
    for what in ("descriptors", "tasks", "children", "http", "sse"):
        before, after = getattr(base, what), getattr(end, what)
        claim = f"no {words.get(what, what)} left over"
        claims.append(Claim(claim, 0 <= after <= before, f"{before} before the load, {after} after it"))
    seen = f"{base.threads} before the load, {end.threads} after it; the pool may have {POOL}"
    claims.append(Claim("no threads but those of its pool", end.threads < base.threads + POOL, seen))
    return claims
