"""What keys need while the hub runs: their last use written down, and a word before they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from hub.identity.keys import Keys

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0  # as exact as a last use is told
WARN_EVERY_S: Final = 86_400.0
EXPIRES_SOON: Final = timedelta(days=7)


async def tend(keys: Keys, every_s: float = EVERY_S, clock: Callable[[], float] = monotonic) -> None:
    """Until it is cancelled; a last look at what was used is the caller's (`keys.flush`)."""
    warned: float | None = None
    while True:
        if warned is None or clock() - warned >= WARN_EVERY_S:
            warned = clock()
            warn(keys)
        await asyncio.sleep(every_s)
        try:
            await keys.flush()
        except Exception as exc:  # the outermost loop: a full disk now is no reason to stop looking
            log.warning("when keys were last used cannot be written down; it is tried again: %s", exc)


def warn(keys: Keys) -> None:
    for row in keys.expiring(EXPIRES_SOON):
        log.warning(
            "the key %s (%s) expires at %s; its successor: mcp-hub keys rotate %s",
            row.name,
            row.id,
            row.expires_at,
            row.name,
        )
