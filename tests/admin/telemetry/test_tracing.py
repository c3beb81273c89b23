"""What a call leaves as spans: through the real pipeline and OpenTelemetry's own span type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from hub.admin.telemetry.context import Traced
from hub.admin.telemetry.otlp import Source, SpanSender
from hub.admin.telemetry.spans import Span
from hub.admin.telemetry.tracing import TracedAuditor, Tracing
from hub.core.call import Call, Client, Denied, Done, Effect, Item, Kind, Listing, One, Outcome, Route
from hub.core.pipeline import Pipeline, Record
from hub.core.ports import Auditor, Next, Stage
from tests.core.chain import PAY, SEE, Does, Find, Hang, Log, Reach, a_call

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Kept:
    """What was put, and the spans that an exporter makes of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Span, ...]] = []

    def put(self, call: tuple[Span, ...]) -> None:
        self.calls.append(call)

    def exported(self) -> dict[str, ReadableSpan]:
        exporter = InMemorySpanExporter()
        assert SpanSender(exporter, Source("hub", "1")).send(self.calls)
        found = exporter.get_finished_spans()
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}


class NoDisk(Log):
    async def finish(self, record: Record, outcome: Outcome) -> None:
        raise OSError("the disk is full")


async def passes(call: Call, next: Next) -> Outcome:
    return await next(call)


async def ran(
    call: Call, stages: Sequence[Stage], dispatch: Stage, log: Auditor | None = None, sample: float = 0.0
) -> tuple[Kept, Outcome]:
    kept = Kept()
    tracing = Tracing(sample, kept.put)
    chain = Pipeline(stages, dispatch, TracedAuditor(log or Log(), tracing))
    return kept, await chain.handle(tracing.entered(call))


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def own_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def attribute(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(key)


async def test_one_call_is_one_tree_in_the_callers_trace() -> None:
    reach = Reach(Done({"content": []}, size_bytes=7))
    kept, _ = await ran(a_call(trace=SAMPLED), [Does(passes, "outer"), Find(One(PAY))], reach)
    spans = kept.exported()
    root, hop = spans["tools/call hr__pay"], spans["tools/call pay"]
    assert {span.get_span_context().trace_id for span in spans.values()} == {int(TRACE, 16)}  # type: ignore[union-attr]
    assert parent_id(root) == int(SPAN, 16)
    assert root.parent is not None
    assert root.parent.is_remote
    chain = [root, spans["stage outer"], spans["stage resolve"], hop]
    assert [parent_id(span) for span in chain[1:]] == [own_id(span) for span in chain[:-1]]
    assert parent_id(spans["audit intent"]) == own_id(spans["stage resolve"])
    assert parent_id(spans["audit"]) == own_id(root)
    assert [span.kind for span in (root, spans["stage outer"], hop)] == [
        SpanKind.SERVER,
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
    ]
    for outer, inner in pairwise(chain):
        assert outer.start_time is not None
        assert inner.start_time is not None
        assert outer.start_time <= inner.start_time <= (inner.end_time or 0) <= (outer.end_time or 0)
    assert reach.seen[0].trace["traceparent"] == f"00-{TRACE}-{own_id(hop):016x}-01"


async def test_the_attributes_are_the_conventions_own_and_hold_nothing_of_the_call() -> None:
    call = a_call(
        {"name": "hr__pay", "arguments": {"iban": "argument-canary"}}, trace={**SAMPLED, "baggage": "b-canary=1"}
    )
    result = Done({"content": [{"type": "text", "text": "result-canary"}]}, size_bytes=7, notes=("note-canary",))
    kept, _ = await ran(call, [Find(One(PAY))], Reach(result))
    spans = kept.exported()
    root = dict(spans["tools/call hr__pay"].attributes or {})
    assert root == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "hr__pay",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp",
        "mcp_hub.call.id": "run-000001",
        "mcp_hub.endpoint": "/mcp",
        "mcp_hub.outcome": "done",
        "mcp_hub.effect": "done",
        "mcp_hub.request.bytes": 0,
        "mcp_hub.result.bytes": 7,
    }
    assert attribute(spans["tools/call pay"], "mcp_hub.server") == "hr"
    assert "canary" not in json.dumps([span.to_json() for span in spans.values()])


async def test_a_refusal_names_its_stage_and_code_and_never_its_reason() -> None:
    async def refuses(call: Call, next: Next) -> Outcome:
        return Denied("policy", "reason-canary")

    kept, _ = await ran(a_call(trace=SAMPLED), [Find(One(SEE)), Does(passes, "a"), Does(refuses, "rule")], Reach())
    spans = kept.exported()
    assert "tools/call see" not in spans
    for name, verdict, code in (("rule", "denied:policy", "policy"), ("a", "passed", None)):
        span = spans[f"stage {name}"]
        assert (attribute(span, "mcp_hub.verdict"), attribute(span, "error.type")) == (verdict, code)
        assert span.status.status_code is (StatusCode.ERROR if code else StatusCode.UNSET)
    root = spans["tools/call hr__see"]
    assert (attribute(root, "error.type"), root.status.status_code) == ("policy", StatusCode.ERROR)
    assert "canary" not in json.dumps([span.to_json() for span in spans.values()])


@pytest.mark.parametrize(
    ("answer", "error", "outer"),
    [
        (Done({"isError": True}), "tool_error", "tool_error"),
        (Denied("downstream_down", "x", effect=Effect.NONE), "downstream_down", "downstream_down"),
        (Done({}), None, None),
    ],
)
async def test_the_hop_says_how_it_failed(answer: Outcome, error: str | None, outer: str | None) -> None:
    kept, _ = await ran(a_call(trace=SAMPLED), [Find(One(SEE))], Reach(answer))
    spans = kept.exported()
    assert attribute(spans["tools/call see"], "error.type") == error
    assert attribute(spans["tools/call hr__see"], "error.type") == outer


async def test_a_call_that_is_cut_off_keeps_its_hop_for_the_downstreams_spans() -> None:
    hang, kept = Hang(), Kept()
    tracing = Tracing(0.0, kept.put)
    chain = Pipeline([Find(One(PAY))], hang, TracedAuditor(Log(), tracing))
    deadline = asyncio.get_running_loop().time() + 0.02
    outcome = await chain.handle(tracing.entered(a_call(trace=SAMPLED, deadline=deadline)))
    assert isinstance(outcome, Denied)
    spans = kept.exported()
    assert attribute(spans["tools/call pay"], "error.type") == "deadline"
    assert parent_id(spans["tools/call pay"]) == own_id(spans["tools/call hr__pay"])


async def test_a_list_that_is_cut_off_had_no_hop() -> None:
    hang, kept = Hang(), Kept()
    tracing = Tracing(0.0, kept.put)
    chain = Pipeline([Find(Listing("tool"))], hang, TracedAuditor(Log(), tracing))
    deadline = asyncio.get_running_loop().time() + 0.02
    await chain.handle(tracing.entered(a_call(method="tools/list", trace=SAMPLED, deadline=deadline)))
    assert [span.name for span in kept.calls[0]] == ["tools/list", "audit"]


async def test_an_entry_that_the_log_did_not_take_shows_as_the_calls_end() -> None:
    kept, outcome = await ran(a_call(trace=SAMPLED), [Find(One(SEE))], Reach(), NoDisk())
    assert isinstance(outcome, Denied)
    spans = kept.exported()
    for name in ("audit", "tools/call hr__see"):
        assert attribute(spans[name], "error.type") == "audit_unavailable"


@pytest.mark.parametrize(
    "trace", [{}, {"traceparent": f"00-{TRACE}-{SPAN}-00", "tracestate": "a=b"}, {"traceparent": "nonsense"}]
)
async def test_a_call_that_nobody_sampled_leaves_nothing_and_goes_on_as_it_came(trace: dict[str, str]) -> None:
    reach = Reach()
    kept, _ = await ran(a_call(trace=trace), [Find(One(PAY))], reach)
    assert (kept.calls, reach.seen[0].trace) == ([], trace)


def test_the_share_is_of_calls_whose_callers_do_not_say() -> None:
    chances = iter((0.09, 0.1, 0.5))
    tracing = Tracing(0.1, Kept().put, lambda: next(chances))
    assert [isinstance(tracing.entered(a_call()).trace, Traced) for _ in range(3)] == [True, False, False]
    assert not isinstance(tracing.entered(a_call(trace={"traceparent": f"00-{TRACE}-{SPAN}-00"})).trace, Traced)
    assert isinstance(tracing.entered(a_call(trace=SAMPLED)).trace, Traced)


async def test_a_hidden_or_invented_name_is_in_no_span() -> None:
    call = a_call({"name": "invented-canary"}, trace=SAMPLED)
    kept, _ = await ran(call, [], Reach())  # nothing resolves it
    assert list(kept.exported()) == ["tools/call", "audit"]
    assert "canary" not in repr(kept.calls)


@pytest.mark.parametrize(
    ("kind", "method", "names"),
    [
        ("prompt", "prompts/get", ("prompts/get hr__x", "prompts/get x")),
        ("resource", "resources/read", ("resources/read", "resources/read")),
    ],
)
async def test_addresses_of_resources_may_be_a_callers_words_and_are_left_out(
    kind: Kind, method: str, names: tuple[str, str]
) -> None:
    item = Item(kind, "hr", "hr__x", "x", {}, {}, "c" * 64)
    kept, _ = await ran(a_call(method=method, trace=SAMPLED), [Find(One(item))], Reach())
    assert [span.name for span in kept.calls[0] if span.kind != "internal"] == list(names)


async def test_a_list_has_no_hop_and_a_strange_method_no_name() -> None:
    call = a_call(
        method="tools/list", trace=SAMPLED, endpoint="x", client=Client("modern", "2026-07-28", transport="stdio")
    )
    kept, _ = await ran(call, [Find(Listing("tool"))], Reach())
    root, *_ = kept.calls[0]
    assert [span.kind for span in kept.calls[0]].count("client") == 0
    assert (root.name, root.attributes["mcp_hub.endpoint"]) == ("tools/list", "/x/mcp")
    assert root.attributes["network.transport"] == "pipe"
    kept, _ = await ran(replace(call, method="canary/x"), [], Reach())
    assert kept.calls[0][0].name == "unknown"


async def test_a_routed_call_names_the_server_it_went_to() -> None:
    async def routes(call: Call, next: Next) -> Outcome:
        return await next(replace(call, route=Route("hr-eu", "near")))

    kept, _ = await ran(a_call(trace=SAMPLED), [Find(One(SEE)), Does(routes, "route")], Reach())
    assert attribute(kept.exported()["tools/call see"], "mcp_hub.server") == "hr-eu"
