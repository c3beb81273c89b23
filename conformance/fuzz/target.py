"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """`check` takes any bytes, and raises when the claim does not hold for them."""

    name: str
    claim: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]  # well-formed ones, to begin from
    words: tuple[bytes, ...] = ()  # of the language, for those who make new ones


def cut(data: bytes, places: bytes) -> list[bytes]:
    """The same bytes in pieces, none empty; every byte of `places` is the length of one."""
    pieces: list[bytes] = []
    at = 0
    for length in places:
        if at >= len(data):
            break
        pieces.append(data[at : at + max(1, length)])
        at += max(1, length)
    return [*pieces, data[at:]] if at < len(data) else pieces


def halves(data: bytes, mark: bytes = b"\0\0") -> tuple[bytes, bytes]:
    """What stands before and after the first mark: two inputs in one."""
    first, _, second = data.partition(mark)
    return first, second
