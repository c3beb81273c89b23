"""One act of the admin API as data: from it come the route, its checks, and its part of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hub.core.call import EMPTY, Json, Principal

ADMIN: Final = frozenset(("admin",))
READERS: Final = frozenset(("admin", "audit:read"))

BODY_BYTES: Final = 64 * 1024
LARGE_BODY: Final = 1024 * 1024  # of an operation that takes whole documents


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its caller verified, its scope and its parts checked against the operation."""

    who: Principal
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)  # by the operation's schemas: texts, whole numbers, flags
    body: Json = field(default_factory=lambda: EMPTY)
    if_match: str | None = None  # the ETag the caller saw, without quotes

    def version(self) -> int:
        """The version the caller saw, of something whose ETag is its version. Raises Refused: 428 or 412."""
        seen = self.if_match
        if seen is None:
            raise Refused(428, "if_match_missing", "send If-Match with the ETag that you were shown")
        if not seen.isascii() or not seen.isdigit() or len(seen) > 15:
            raise stale()
        return int(seen)


@dataclass(frozen=True, slots=True)
class Answer:
    body: Any = None  # JSON; None with 204
    status: int = 200
    etag: str | None = None  # without quotes; a GET of the same thing gives it, a write asks for it


class Refused(Exception):
    """Answered as problem+json (RFC 9457). The text says what happened and what to do next."""

    def __init__(self, status: int, code: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.members = status, code, detail, members


def stale() -> Refused:
    """For a write whose If-Match is not the ETag of what is there now."""
    return Refused(412, "changed", "somebody changed this since you read it: read it again, and decide anew")


def object_of(required: Json, optional: Json = EMPTY) -> Json:
    """JSON Schema of an object with these members and no others."""
    members = {**required, **optional}
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` stands under /api/v1 and is written as Starlette does: `/servers/{id}`."""

    method: str
    path: str
    name: str  # operationId, and `detail.act` of its audit entry
    summary: str
    handler: Callable[[Asked], Awaitable[Answer]]
    scopes: frozenset[str] = ADMIN  # any of them
    body: Json | None = None  # JSON Schema of the request body; None: it has none
    query: Mapping[str, Json] = field(default_factory=dict)  # JSON Schema by name; all optional
    answer: Json | None = None  # JSON Schema of the body of a success
    status: int = 200  # of a success
    refusals: tuple[int, ...] = ()  # beyond 400, 401, 403, 408, 413, 415, 422, 429, 500, and 404 of a path with `{}`
    versioned: bool = False  # a write that wants If-Match: 428 without it, 412 when it is stale
    body_bytes: int = BODY_BYTES
    parts: Mapping[str, Json] = field(default_factory=dict)  # JSON Schema of the path's `{}`; any text without
