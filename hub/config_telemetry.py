"""The `telemetry` section: where traces and metrics are sent, and how much of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hub.config_section import Section
from hub.config_servers import Entries, url_problem

SECTION: Final = "telemetry"  # also whose stored secrets its headers are, among the ids of servers
SAMPLE: Final = 0.1  # of the calls whose caller does not say: every tenth is enough to see where time goes
EVERY_S: Final = 60.0  # what OpenTelemetry's own programs do


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where OpenTelemetry data goes, over OTLP/HTTP. Changes with a restart."""

    endpoint: str  # without /v1/traces and /v1/metrics
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    traces: bool = True
    metrics: bool = True
    sample: float = SAMPLE
    service_name: str = "mcp-hub"
    interval_s: float = EVERY_S  # between two reports of metrics


def read_telemetry(top: Section, entries: Entries) -> Telemetry | None:
    """None without the section: then nothing is measured for it, and nothing sent. `entries` resolve its headers."""
    if top.take(SECTION) is None:
        return None
    section = top.section(SECTION)
    endpoint = section.text("endpoint", "")
    if not endpoint:
        section.fault("endpoint", "is needed: the collector's address, such as http://127.0.0.1:4318")
    elif "?" in endpoint:
        section.fault("endpoint", "must not hold a query (?...)")
    elif (problem := url_problem(endpoint)) is not None:
        section.fault("endpoint", problem)
    made = Telemetry(
        endpoint=endpoint.rstrip("/"),
        headers=entries.headers(section),
        traces=section.flag("traces", True),
        metrics=section.flag("metrics", True),
        sample=section.number("sample", SAMPLE, 0, 1),
        service_name=section.text("service_name", "mcp-hub"),
        interval_s=section.number("interval_s", EVERY_S, 1, 3600),
    )
    section.close()
    if named := entries.secrets.named():
        own = entries.parsed.secrets.get(SECTION, ())  # of a server that happens to have this name
        entries.parsed.secrets[SECTION] = (*own, *(name for name in named if name not in own))
    return made
