"""Keeps the one `subscriptions/listen` open through which a modern server on a stream tells that its lists changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Refused
from hub.downstream.link import Exchange, Notice, as_dict

log = logging.getLogger(__name__)

Request = Callable[[str, Json, Exchange], Awaitable[Json]]

RELISTEN_S: Final = 1.0
RELISTEN_CAP_S: Final = 60.0
_KINDS: Final = ("tools", "prompts", "resources")


def wanted(capabilities: Json) -> dict[str, bool]:
    """The filter for every list that the server says it tells changes of."""
    return {
        f"{kind}ListChanged": True
        for kind in _KINDS
        if (as_dict(capabilities.get(kind)) or {}).get("listChanged") is True
    }


async def keep_listening(
    server: str, request: Request, capabilities: Json, notified: Notice, first_s: float = RELISTEN_S
) -> None:
    """Listen until the connection ends or the server refuses. What came meanwhile goes where all notifications go.

    After a gap every list counts as changed, because what happened in it is not told again.
    """
    notifications = wanted(capabilities)
    delay_s = first_s
    while notifications:
        try:
            await request(
                "subscriptions/listen",
                {"notifications": notifications},
                Exchange(timeout_s=inf, hard_deadline=inf, max_bytes=1 << 20),
            )
        except Refused as exc:
            log.info("%s tells no changes of its lists: it refused to be listened to (%s)", server, exc.text)
            return
        except DownstreamError:
            return
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RELISTEN_CAP_S)
        for kind in _KINDS:
            if f"{kind}ListChanged" in notifications:
                notified(f"notifications/{kind}/list_changed", {})
