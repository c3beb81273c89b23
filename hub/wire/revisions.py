"""The protocol revisions the hub speaks, and what it offers instead of one that it does not. Pure."""

from __future__ import annotations

from typing import Final

MODERN: Final[tuple[str, ...]] = ("2026-07-28",)
LEGACY: Final[tuple[str, ...]] = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # newest first
SUPPORTED: Final[tuple[str, ...]] = (*MODERN, *LEGACY)

LATEST_MODERN: Final = MODERN[0]
LATEST_LEGACY: Final = LEGACY[0]
ASSUMED: Final = "2025-03-26"  # of a legacy HTTP request without a version header


def is_modern(revision: str) -> bool:
    return revision in MODERN


def is_legacy(revision: str) -> bool:
    return revision in LEGACY


def counter_offer(requested: str) -> str:
    """The revision an `initialize` is answered with: the requested one where `initialize` may negotiate it."""
    return requested if requested in LEGACY else LATEST_LEGACY


def at_least(revision: str, minimum: str) -> bool:
    """Whether a known revision is `minimum` or newer; an unknown one never is."""
    return (revision in LEGACY or revision in MODERN) and revision >= minimum
