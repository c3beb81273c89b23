"""Which of the two forms of answer a client takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"


def accepts(headers: Mapping[str, str]) -> frozenset[str]:
    """The subset of the two that the Accept header takes, wildcards included; without one it takes both."""
    kinds = {part.partition(";")[0].strip().lower() for part in headers.get("accept", "*/*").split(",")}
    taken = set()
    if kinds & {JSON, "application/*", "*/*"}:
        taken.add(JSON)
    if kinds & {EVENTS, "text/*", "*/*"}:
        taken.add(EVENTS)
    return frozenset(taken)
