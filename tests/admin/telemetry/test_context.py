"""Trace contexts: whose are taken, what goes on, and what a hostile one gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.admin.telemetry.context import Parent, Traced, new_id, parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_traceparent_is_read_and_written_the_same() -> None:
    parent = parent_of({"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert parent == Parent(int(TRACE, 16), int(SPAN, 16), 1)
    assert (parent.sampled, str(parent)) == (True, f"00-{TRACE}-{SPAN}-01")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    parent = parent_of({"traceparent": f"cc-{TRACE}-{SPAN}-fe-what-comes-then"})
    assert parent is not None
    assert (parent.sampled, str(parent)) == (False, f"00-{TRACE}-{SPAN}-02")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0１",
        7,
        None,
    ],
)
def test_what_the_rules_refuse_is_no_parent(given: object) -> None:
    assert parent_of({"traceparent": given}) is None
    assert parent_of({}) is None


@given(st.text(alphabet="0123456789abcdef-", max_size=70))
def test_whatever_is_taken_is_written_as_a_valid_one(text: str) -> None:
    parent = parent_of({"traceparent": text})
    if parent is not None:
        assert parent_of({"traceparent": str(parent)}) is not None


def test_the_hop_goes_on_as_a_child_in_the_callers_trace() -> None:
    parent = Parent(int(TRACE, 16), int(SPAN, 16), 1)
    traced = Traced({"traceparent": str(parent), "tracestate": "a=b", "baggage": "c=d"}, parent, 0, 0.0)
    assert dict(traced) == {"traceparent": str(traced.hop), "tracestate": "a=b", "baggage": "c=d"}
    assert {traced.root.trace_id, traced.hop.trace_id} == {int(TRACE, 16)}
    assert len({traced.root.span_id, traced.hop.span_id, parent.span_id}) == 3
    assert str(traced.hop).endswith("-01")


def test_a_new_trace_carries_no_state_of_one_that_is_none() -> None:
    traced = Traced({"traceparent": "nonsense", "tracestate": "a=b", "baggage": "c=d"}, None, 0, 0.0)
    assert dict(traced) == {"traceparent": str(traced.hop), "baggage": "c=d"}
    assert traced.parent is None
    assert str(traced.hop).endswith("-03")  # sampled, and random


def test_ids_are_never_nothing() -> None:
    assert all(new_id(1) == 1 for _ in range(50))
    assert len({new_id(64) for _ in range(50)}) == 50
