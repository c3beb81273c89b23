"""Which link a call goes out on: the pool's, or its caller's own where everybody has his own account.

An account without a connection uses the pool's link, which never has a token there. No account uses another's link.
"""

from __future__ import annotations

from typing import Final, Protocol

from hub.core.errors import Unreachable
from hub.downstream.credential import Credentials
from hub.downstream.link import Link, ServerSpec
from hub.downstream.personal_links import PersonalLinks

_SLACK_S: Final = 1.0  # so that an opening that fails by its own time can say so


class PoolLinks(Protocol):
    """The part of the pool that reaches a downstream."""

    def link(self, server: str) -> Link: ...

    async def started(self, server: str, timeout_s: float) -> Link: ...

    def spec(self, server: str) -> ServerSpec | None: ...


class Reach:
    """`hub.downstream.dispatch.Links`. `account` is `Principal.account`; servers without accounts ask for none."""

    def __init__(self, pool: PoolLinks, personal: PersonalLinks, credentials: Credentials) -> None:
        self._pool, self._personal, self._credentials = pool, personal, credentials
        self.spec = pool.spec

    def link(self, server: str, account: str) -> Link:
        """The live link that this account uses. Raises Unreachable, or NeedsLogin of the pool's."""
        if not account or not self.connected(server, account):
            return self._pool.link(server)
        link = self._personal.link(server, account)
        if link is None:
            raise Unreachable(server, "it is still connecting; try again in a few seconds")
        return link

    async def started(self, server: str, account: str, timeout_s: float) -> Link:
        """As `link`, but a server of the pool in its first start is waited for.

        The account's own link is opened, within the time that its server has for it: it ends whenever it is idle, and
        the call that finds it so must not fail for it. Raises DownstreamError.
        """
        spec = self.spec(server)
        if not account or spec is None or not self.connected(server, account):
            return await self._pool.started(server, timeout_s)
        opening_s = spec.timeouts.connect_s + spec.timeouts.initialize_s
        return await self._personal.opened(server, account, max(timeout_s, opening_s + _SLACK_S))

    def connected(self, server: str, account: str) -> bool:
        """Whether this account has a connection of its own there; nobody has one at a server that is switched off."""
        spec = self.spec(server)
        if spec is None or not spec.enabled or spec.auth is None or spec.auth.account != "user":
            return False
        return self._credentials.own(server, account) is not None
