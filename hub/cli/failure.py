"""How a verb says that it did not do what was asked: words for people, a status for scripts."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1  # refused or failed
USAGE: Final = 2  # wrong usage, a bad configuration included


class Failed(Exception):
    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status
