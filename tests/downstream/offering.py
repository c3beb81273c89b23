"""Logins that a caller is offered, as a test decides: the port `Offers` over a dictionary."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hub.core.call import Principal
from hub.core.ports import Offer


@dataclass(slots=True)
class Logins:
    able: bool = True
    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)  # by account and server
    ended: dict[str, asyncio.Event] = field(default_factory=dict)
    waits: list[tuple[str, float]] = field(default_factory=list)

    def offer(self, who: Principal, server: str) -> Offer | None:
        if not self.able:
            return None
        key = who.account, server
        if key not in self.offers:
            number = len(self.ended) + 1
            self.offers[key] = Offer(f"login-{number}", f"https://hub.example/oauth/connect?c=secret-{number}")
            self.ended[f"login-{number}"] = asyncio.Event()
        return self.offers[key]

    async def finished(self, id: str, timeout_s: float) -> bool:
        self.waits.append((id, timeout_s))
        if id not in self.ended:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                return await self.ended[id].wait()
        except TimeoutError:
            return False

    def log_in(self, id: str = "login-1") -> None:
        """The page was opened, and the login came to its good end."""
        self.ended[id].set()
