"""The hub's exceptions. Expected refusals are values (`Denied`); these are what broke.

HubError
└── DownstreamError        one downstream failed; carries its server id
    ├── Unreachable        nothing was sent: the effect is NONE
    ├── NeedsLogin         it refused the hub's credential: the effect is NONE
    ├── Refused            it answered with a JSON-RPC error
    ├── Late               no answer in time: the effect is UNKNOWN
    ├── Lost               the connection ended while the request was out: UNKNOWN
    ├── Oversize           the answer passed the size cap: UNKNOWN
    └── Garbled            the answer is not MCP: UNKNOWN
"""

from __future__ import annotations

from hub.core.call import Json


class HubError(Exception):
    """Base of everything the hub raises on purpose."""


class DownstreamError(HubError):
    """One downstream failed. The text names what happened in words an operator can act on, never a payload."""

    def __init__(self, server: str, text: str) -> None:
        super().__init__(f"{server}: {text}")
        self.server, self.text = server, text


class Unreachable(DownstreamError):
    """Nothing was sent."""


class NeedsLogin(DownstreamError):
    """The downstream does not accept the credential the hub presents."""


class Late(DownstreamError):
    """No answer within the time the call had."""


class Lost(DownstreamError):
    """The connection ended while the request was out."""


class Oversize(DownstreamError):
    """The answer passed the size cap and was cut off."""


class Garbled(DownstreamError):
    """The answer is not MCP."""


class Refused(DownstreamError):
    """The downstream answered with a JSON-RPC error: {"code", "message", "data"?}, whole."""

    def __init__(self, server: str, error: Json) -> None:
        super().__init__(server, f"answered with error {error.get('code')}")
        self.error = error
