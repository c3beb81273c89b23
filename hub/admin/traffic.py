"""How the hub is doing now: each server's state, and what was answered lately. Read only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from hub.admin.operation import Answer, Asked, Operation
from hub.admin.recent import Recent
from hub.core.call import Json

if TYPE_CHECKING:  # the pool costs the import of the SDK, which the command line does without
    from hub.downstream.health import Health

_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_TIME: Final[Json] = {"type": ["number", "null"]}
_MINUTE: Final[Json] = {
    "type": "object",
    "required": ["calls", "denied", "errors", "p50_ms", "p95_ms"],
    "properties": {"calls": _COUNT, "denied": _COUNT, "errors": _COUNT, "p50_ms": _TIME, "p95_ms": _TIME},
}
_COUNTS: Final[Json] = {"calls": _COUNT, "denied": _COUNT, "errors": _COUNT, "last_minute": _MINUTE}
_SERVER: Final[Json] = {
    "type": "object",
    "required": ["id", "state", "reason", *_COUNTS],
    "properties": {"id": {"type": "string"}, "state": {"type": "string"}, "reason": {"type": "string"}, **_COUNTS},
}
_ANSWER: Final[Json] = {
    "type": "object",
    "required": ["version", "started_at", "reloaded_at", "trouble", "servers", "total"],
    "properties": {
        "version": {"type": "string"},
        "started_at": {"type": "string", "format": "date-time"},
        "reloaded_at": {"type": ["string", "null"], "format": "date-time"},
        "trouble": {"type": "array", "items": {"type": "string"}},
        "servers": {"type": "array", "items": _SERVER},
        "total": {"type": "object", "required": list(_COUNTS), "properties": _COUNTS},
    },
}


def operations(
    version: str,
    started_at: str,
    health: Callable[[], Iterable[Health]],
    recent: Recent,
    reloaded_at: Callable[[], str | None] = lambda: None,
    trouble: Callable[[], Iterable[str]] = tuple,
) -> tuple[Operation, ...]:
    """`reloaded_at`: when the configuration was last read anew, RFC 3339 UTC. `trouble`: what of it is not in force."""

    async def traffic(asked: Asked) -> Answer:
        rows: dict[str, dict[str, Any]] = {}
        for each in health():
            told = {"id": each.server, "state": each.state, "reason": each.reason}
            rows[each.server] = {**told, **recent.of(each.server).shown()}
        body = {
            "version": version,
            "started_at": started_at,
            "reloaded_at": reloaded_at(),
            "trouble": list(trouble()),
            "servers": [rows[id] for id in sorted(rows)],
            "total": recent.total().shown(),
        }
        return Answer(body)

    return (
        Operation(
            "GET",
            "/traffic",
            "traffic.show",
            "each server's state and calls: since the start, and in the last minute with their times",
            traffic,
            answer=_ANSWER,
        ),
    )
