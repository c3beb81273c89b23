"""W3C trace context: what a client's says, and what goes on to a downstream in its place. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import getrandbits
from typing import Final

from hub.core.call import Json

SAMPLED: Final = 0x01
RANDOM: Final = 0x02  # says of the trace id that it is
_DEFINED: Final = SAMPLED | RANDOM
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parent:
    """The span that a request was sent from."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags & _DEFINED:02x}"


def parent_of(trace: Json) -> Parent | None:
    """None without a `traceparent`, and for one that the W3C's rules refuse."""
    given = trace.get("traceparent")
    if not isinstance(given, str) or (found := _TRACEPARENT.fullmatch(given)) is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16))
    return parent if parent.trace_id and parent.span_id else None


class Traced(dict[str, str]):
    """The `trace` of a sampled call: on the wire what goes downstream, beside it what the call's own spans need.

    One call has one, from the door to its end.
    """

    __slots__ = ("at_ns", "began", "hop", "intent", "parent", "root")

    def __init__(self, given: Json, parent: Parent | None, at_ns: int, began: float) -> None:
        """`at_ns` of the wall clock and `began` of the monotonic one are the same moment."""
        flags = parent.flags if parent is not None else SAMPLED | RANDOM
        trace_id = parent.trace_id if parent is not None else new_id(128)
        self.parent, self.at_ns, self.began = parent, at_ns, began
        self.root, self.hop = Parent(trace_id, new_id(64), flags), Parent(trace_id, new_id(64), flags)
        self.intent: tuple[float, float] | None = None  # when the intent of a write was noted: from, to
        kept = {key: given[key] for key in ("tracestate", "baggage") if key in given}
        if parent is None:
            kept.pop("tracestate", None)  # it belongs to a trace that is none
        super().__init__(kept, traceparent=str(self.hop))


def new_id(bits: int) -> int:
    """Random, and never 0, which is no id."""
    return getrandbits(bits) or 1
