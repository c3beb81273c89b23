"""Reads the caching hint of a result. Pure; believes only what the modern era's schema allows."""

from __future__ import annotations

from hub.core.call import Json


def ttl_ms(result: Json) -> int:
    """How long the result says it may be kept; 0 when it says nothing, or nothing valid."""
    given = result.get("ttlMs")
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else 0
