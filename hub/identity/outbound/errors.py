"""Why a login at a downstream's authorization server cannot be had. The texts quote nothing of what anybody answered.

OutboundFailed
├── Unavailable    it was not reached, or cannot answer now: nothing is known, and what is held stays good
├── Unfit          what it said cannot be used, or must not be: another issuer's metadata, a mixed-up answer, no PKCE
├── Refused        it answered with an OAuth error, which `error` is
├── Unregistered   the hub is no client there and cannot become one: an admin registers an app and enters it
└── Exhausted      it was asked for these scopes often enough
"""

from __future__ import annotations

import re
from typing import Any, Final

from hub.core.errors import HubError

_WORD: Final = re.compile(r"[a-z_]{1,64}")  # all registered codes; nothing that could be a secret


class OutboundFailed(HubError):
    """Nobody is logged in by it."""


class Unavailable(OutboundFailed):
    """Try again later."""


class Unfit(OutboundFailed):
    """Somebody has to look at the server or its authorization server."""


class Refused(OutboundFailed):
    """`error` is the code it answered with (RFC 6749 §4.1.2.1, §5.2), or "?" when that is no code at all."""

    def __init__(self, error: Any, where: str) -> None:
        self.error: Final[str] = error if isinstance(error, str) and _WORD.fullmatch(error) else "?"
        super().__init__(f"{where} answered with the error {self.error}")


class Unregistered(OutboundFailed):
    """An admin has to register an app for the hub there."""


class Exhausted(OutboundFailed):
    """Logging in again would not help."""
