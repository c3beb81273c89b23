"""The figures of `/metrics` in the words of OTLP: the same names, labels and values. Pure.

Imports the OpenTelemetry SDK, which only a hub with telemetry has to have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isinf

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Figure
from prometheus_client import Metric
from prometheus_client.samples import Sample

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def figures(families: Iterable[Metric], started_ns: int, at_ns: int) -> tuple[Figure, ...]:
    """What was collected at `at_ns`; counts began at `started_ns`. Families without a sample are left out."""
    made = []
    for family in families:
        if family.samples:
            data = _DATA.get(family.type, _gauge)(family, started_ns, at_ns)
            made.append(Figure(family.name, family.documentation, family.unit or None, data))
    return tuple(made)


def _sum(family: Metric, started_ns: int, at_ns: int) -> Sum:
    points = _points(family, f"{family.name}_total", started_ns, at_ns)
    return Sum(points, _CUMULATIVE, is_monotonic=True)


def _gauge(family: Metric, started_ns: int, at_ns: int) -> Gauge:
    return Gauge(_points(family, family.name, started_ns, at_ns))


def _points(family: Metric, name: str, started_ns: int, at_ns: int) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(dict(sample.labels), started_ns, at_ns, float(sample.value))
        for sample in family.samples
        if sample.name == name
    ]


def _histogram(family: Metric, started_ns: int, at_ns: int) -> Histogram:
    rows: dict[tuple[tuple[str, str], ...], dict[str, Sample]] = {}
    for sample in family.samples:
        labels = tuple((key, value) for key, value in sample.labels.items() if key != "le")
        rows.setdefault(labels, {})[sample.labels.get("le", sample.name)] = sample
    points = [_buckets(family.name, dict(labels), row, started_ns, at_ns) for labels, row in rows.items()]
    return Histogram(points, _CUMULATIVE)


def _buckets(
    name: str, labels: dict[str, str], row: dict[str, Sample], started_ns: int, at_ns: int
) -> HistogramDataPoint:
    """Prometheus counts up to each bound, OTLP within each."""
    bounds = sorted((float(bound), bound) for bound in row if not bound.startswith(name))
    within = [int(row[text].value) for _, text in bounds]
    counts = [count - before for count, before in zip(within, [0, *within], strict=False)]
    return HistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=started_ns,
        time_unix_nano=at_ns,
        count=within[-1],
        sum=row[f"{name}_sum"].value,
        bucket_counts=counts,
        explicit_bounds=[bound for bound, _ in bounds if not isinf(bound)],
        min=None,  # type: ignore[arg-type]  # nobody knows it, and the field may be left out
        max=None,  # type: ignore[arg-type]
    )


_DATA: dict[str, Callable[[Metric, int, int], Sum | Gauge | Histogram]] = {"counter": _sum, "histogram": _histogram}
