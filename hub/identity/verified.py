"""What a verifier of tokens says: whose token it is, until when, and under which names it can be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hub.core.call import Principal


@dataclass(frozen=True, slots=True)
class Verified:
    principal: Principal
    expires_at: float  # seconds since 1970
    issuer: str
    subject: str  # the user's id for our own tokens, `sub` for others'
    client: str | None = None
    family: str | None = None  # id of the grant, for our own
    jti: str | None = None


class Verifier(Protocol):
    async def verify(self, token: str) -> Verified | None:
        """None: not a good token, in any way. Bounded in time; never raises for what the token says."""
