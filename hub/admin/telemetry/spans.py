"""One answered call as spans. Pure values: no clock, no library, nothing is sent.

They hold names of the catalogue, the hub's own words, sizes and times; never arguments, results, reasons or tokens. Who
called stands in the log, under the same call id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from hub.admin.metrics import METHODS, UNKNOWN
from hub.admin.telemetry.context import Parent, Traced, new_id
from hub.audit.record import outcome_word
from hub.core.call import Call, Denied, Done, Effect, Item, One, Outcome
from hub.core.pipeline import Record
from hub.downstream.dispatch import Dispatch

SpanKind = Literal["server", "client", "internal"]
_NAMED: Final = {"tool": "gen_ai.tool.name", "prompt": "gen_ai.prompt.name"}  # the rest may be a caller's own words


@dataclass(frozen=True, slots=True)
class Span:
    """Times are nanoseconds of the wall clock."""

    name: str
    kind: SpanKind
    own: Parent  # what its children have as their parent
    parent: Parent | None
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    error: bool = False
    remote: bool = False  # the parent is another program's


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call came to its end. Monotonic seconds."""

    outcome: Outcome
    noted: float  # when the log was given the entry
    ended: float
    logged: bool = True  # the log took it


def spans_of(record: Record, traced: Traced, ending: Ending) -> tuple[Span, ...]:
    """The call, each stage that ran inside the one around it, the hop to the downstream, and the log."""
    clock = _Clock(traced)
    made = [_root(record, traced, ending, clock)]
    above = traced.root
    below: Outcome | None = None
    own: list[bool] = []  # whether a stage made its verdict, or handed on what it got
    for _, verdict, _, _ in record.verdicts:
        own.append(verdict is not below)
        below = verdict
    for (stage, verdict, seconds, entered), made_it in zip(reversed(record.verdicts), reversed(own), strict=True):
        start, end = clock.at(entered), clock.at(entered + seconds)
        if stage == Dispatch.name and isinstance(record.call.target, One):
            made.append(_hop(record.call, record.call.target.item, traced, above, _error(verdict), start, end))
        else:
            made.append(_stage(record.call, stage, above, verdict if made_it else None, start, end))
            above = made[-1].own
    if _cut_off(record):  # the downstream's spans have it for their parent; when it began is not known any more
        error = _error(ending.outcome) or "cancelled"
        target = record.call.target
        if isinstance(target, One):
            start = clock.at(traced.intent[1] if traced.intent is not None else record.started)
            made.append(_hop(record.call, target.item, traced, traced.root, error, start, clock.at(ending.noted)))
    if traced.intent is not None:
        made.append(_log("audit intent", above, clock, *traced.intent))
    made.append(_log("audit", traced.root, clock, ending.noted, ending.ended, failed=not ending.logged))
    return tuple(made)


class _Clock:
    """From the seconds of the record to the time of day."""

    def __init__(self, traced: Traced) -> None:
        self._at_ns, self._began = traced.at_ns, traced.began

    def at(self, seconds: float) -> int:
        return self._at_ns + int((seconds - self._began) * 1e9)


def _root(record: Record, traced: Traced, ending: Ending, clock: _Clock) -> Span:
    call, outcome = record.call, ending.outcome
    item = call.target.item if isinstance(call.target, One) else None
    attributes: dict[str, str | int] = {
        **_of_method(call),
        **(_of_item(item, item.name) if item is not None else {}),
        "mcp.protocol.version": call.client.revision,
        "network.transport": "pipe" if call.client.transport == "stdio" else "tcp",
        "mcp_hub.call.id": call.id,
        "mcp_hub.endpoint": f"/{call.endpoint}/mcp" if call.endpoint else "/mcp",
        "mcp_hub.outcome": outcome_word(call, outcome),
        "mcp_hub.effect": record.effect.value,
        "mcp_hub.request.bytes": call.size_bytes,
    }
    if isinstance(outcome, Done):
        attributes["mcp_hub.result.bytes"] = outcome.size_bytes
    error = _error(outcome) if ending.logged else "audit_unavailable"
    if error is not None:
        attributes["error.type"] = error
    name = _span_name(call, item, item.name if item is not None else "")
    start, end = clock.at(traced.began), clock.at(ending.ended)
    return Span(name, "server", traced.root, traced.parent, start, end, attributes, error is not None, True)


def _hop(call: Call, item: Item, traced: Traced, above: Parent, error: str | None, start_ns: int, end_ns: int) -> Span:
    server = item.server if call.route is None else call.route.server
    attributes = {**_of_method(call), **_of_item(item, item.native), "mcp_hub.server": server}
    if error is not None:
        attributes["error.type"] = error
    name = _span_name(call, item, item.native)
    return Span(name, "client", traced.hop, above, start_ns, end_ns, attributes, error is not None)


def _stage(call: Call, stage: str, above: Parent, verdict: Outcome | None, start_ns: int, end_ns: int) -> Span:
    """`verdict` is None where the stage handed on what it got."""
    word = "passed" if verdict is None else outcome_word(call, verdict)
    attributes = {"mcp_hub.stage": stage, "mcp_hub.verdict": word}
    refused = isinstance(verdict, Denied)
    if isinstance(verdict, Denied):
        attributes["error.type"] = verdict.code
    own = Parent(above.trace_id, new_id(64), above.flags)
    return Span(f"stage {stage}", "internal", own, above, start_ns, end_ns, attributes, refused)


def _log(name: str, above: Parent, clock: _Clock, start: float, end: float, failed: bool = False) -> Span:
    own = Parent(above.trace_id, new_id(64), above.flags)
    attributes = {"error.type": "audit_unavailable"} if failed else {}
    return Span(name, "internal", own, above, clock.at(start), clock.at(end), attributes, failed)


def _cut_off(record: Record) -> bool:
    """Whether the call ended while its request was out: dispatch has then left no verdict."""
    return record.effect is Effect.UNKNOWN and not any(verdict[0] == Dispatch.name for verdict in record.verdicts)


def _error(outcome: Outcome) -> str | None:
    if isinstance(outcome, Denied):
        return outcome.code
    return "tool_error" if isinstance(outcome, Done) and outcome.result.get("isError") is True else None


def _span_name(call: Call, item: Item | None, name: str) -> str:
    method = call.method if call.method in METHODS else UNKNOWN
    return f"{method} {name}" if item is not None and item.kind in _NAMED else method


def _of_method(call: Call) -> dict[str, str | int]:
    known = call.method if call.method in METHODS else UNKNOWN
    operation: dict[str, str | int] = {"gen_ai.operation.name": "execute_tool"} if known == "tools/call" else {}
    return {"mcp.method.name": known, **operation}


def _of_item(item: Item, name: str) -> dict[str, str | int]:
    key = _NAMED.get(item.kind)
    return {} if key is None else {key: name}
