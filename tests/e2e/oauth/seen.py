"""What a tour shows: a page of the hub, in one of its looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """`template` of hub/edge/pages, and which of its looks."""

    template: str
    look: str = ""

    @property
    def name(self) -> str:
        return f"{self.template}-{self.look}" if self.look else self.template
