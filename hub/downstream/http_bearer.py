"""What a link says on the wire about who it speaks for: the token of its account, with every request (RFC 6750 §2.1).

It owns how long a request waits for its token and what may be written as one. Where tokens come from, and what a
challenge means, is the credential's to know. No token stands in a text that leaves this module.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from time import monotonic
from typing import Final, TypeVar

from hub.core.errors import NeedsLogin, Unreachable
from hub.downstream.credential import Credential, Credentials
from hub.downstream.link import ServerSpec

TOKEN_S: Final = 30.0  # for one to be renewed, when the request allows as much
# More than RFC 6750 allows in a token, as servers issue what they like; nothing that ends a line or a word.
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
T = TypeVar("T")


class Bearer:
    """One link's. It presents what its credential gives, and remembers the last."""

    def __init__(self, server: str, credential: Credential) -> None:
        self.silent = credential.silent
        self._server, self._credential = server, credential
        self._token: str | None = None  # presented last
        self._line, self._has_served = b"", False

    async def token(self, deadline: float) -> str | None:
        """To present now. Raises NeedsLogin, and Unreachable also when none came until `deadline` (monotonic)."""
        return None if self.silent else await self._within(deadline, self._credential.token())

    async def another(self, token: str | None, status: int, challenge: str | None, deadline: float) -> str:
        """In the place of one that the server refused. Raises as `token`."""
        return await self._within(deadline, self._credential.refused(token, status, challenge))

    async def refused_again(self, token: str | None, status: int, challenge: str | None, deadline: float) -> NeedsLogin:
        """The credential knows that a second one was refused as well; what to raise. Raises as `token`."""
        await self.another(token, status, challenge, deadline)
        return NeedsLogin(
            self._server, f"answers with HTTP {status} to a token that was got for it just now; log in to it again"
        )

    def line(self, token: str | None) -> bytes:
        """Of the request's head. Raises Unreachable for what is no token."""
        if token is None:
            return b""
        if token != self._token:
            if not _TOKEN.fullmatch(token):
                raise Unreachable(
                    self._server, "what its issuer gave as a token cannot be sent in a header; log in to it again"
                )
            self._token, self._line, self._has_served = token, b"authorization: Bearer %b\r\n" % token.encode(), False
        return self._line

    def served(self, token: str | None) -> None:
        """The server did something with that token. One that was followed by another is not worth a word."""
        if token is not None and token == self._token and not self._has_served:
            self._has_served = True
            self._credential.served()

    async def _within(self, deadline: float, asked: Awaitable[T]) -> T:
        left_s = min(TOKEN_S, max(0.0, deadline - monotonic()))
        try:
            async with asyncio.timeout(left_s):
                return await asked
        except TimeoutError as exc:
            raise Unreachable(self._server, "its token was not renewed in time; nothing was done, try again") from exc


def speaker(spec: ServerSpec, given: Credential | None, credentials: Credentials | None) -> Credential | None:
    """Whom a new link speaks for: the account it is opened for, or else the pool's own at servers with a login."""
    if given is not None or spec.auth is None or credentials is None:
        return given
    return credentials.shared(spec.id)
