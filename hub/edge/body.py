"""The body of one request, within its size and its time. Knows nothing of what it holds."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

from hub.edge.cycle import WHOLE_BODY
from hub.edge.request import Receive, Scope

Fault = Literal["too_large", "slow_body", "gone"]


async def read_body(
    scope: Scope, receive: Receive, declared: str | None, max_bytes: int, timeout_s: float
) -> bytes | Fault:
    """The whole body, or why there is none. `declared` is the Content-Length header, if any."""
    if declared is not None and _number(declared) > max_bytes:
        return "too_large"
    extensions = scope.get("extensions")
    if extensions is not None and WHOLE_BODY in extensions:  # no timer, no wait: 7 us
        whole = cast(bytes, extensions[WHOLE_BODY]["body"])
        return "too_large" if len(whole) > max_bytes else whole
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(receive, max_bytes)
    except TimeoutError:
        return "slow_body"


async def _read(receive: Receive, max_bytes: int) -> bytes | Fault:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return "gone"
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            return "too_large"
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _number(declared: str) -> float:
    """Too long to be a number is too large to be a body."""
    return int(declared) if declared.isdecimal() and len(declared) <= 20 else float("inf")
