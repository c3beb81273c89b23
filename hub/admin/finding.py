"""What a check found: how bad it is, what was seen, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    said: str
    next: str = ""  # what to do; every problem has one

    def shown(self) -> dict[str, Any]:
        return {"check": self.check, "level": self.level, "said": self.said, "next": self.next}
