"""The table of clients in the docs, made of the rows that the end-to-end tests run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.e2e.clients.matrix import CLIENTS, ROADS, Client

_HEADS: Final = {"http": "HTTP", "sse": "SSE", "stdio": "stdio"}
_PAIRS: Final = {
    "tools": {"tools": "list", "called": "call"},
    "resources": {"resources": "list", "read": "read"},
    "prompts": {"prompts": "list", "prompted": "get"},
}
_WORDS: Final = {**_HEADS, "resources": "resources", "read": "reading", "prompts": "list of prompts"}


def rows() -> list[tuple[str, ...]]:
    return [
        (
            f"{client.title} (`{client.package}`)",
            client.version,
            *(_revisions(client, road) for road in ROADS),
            *(_does(client, pair) for pair in _PAIRS),
        )
        for client in CLIENTS
    ]


def _revisions(client: Client, road: str) -> str:
    return ", ".join(sorted({run.revision for run in client.passes if run.road == road})) or "n/a"


def _does(client: Client, pair: str) -> str:
    return ", ".join(word for report, word in _PAIRS[pair].items() if report not in client.lacks) or "n/a"


def clients(table: Callable[[Sequence[str], Sequence[Sequence[object]]], str]) -> str:
    """The table, and under it why each thing that is missing is missing."""
    head = ("client", "version", *_HEADS.values(), *_PAIRS)
    return f"{table(head, rows())}\n{''.join(_notes())}"


def _notes() -> list[str]:
    notes = []
    for client in CLIENTS:
        reasons: dict[str, list[str]] = {}
        for what, why in client.lacks.items():
            reasons.setdefault(why, []).append(_WORDS[what])
        notes += [f"- {client.title}, no {' and '.join(what)}: {why}.\n" for why, what in reasons.items()]
    return notes
