"""What the pages of logins at downstreams need of the parts behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hub.core.call import Json
from hub.core.connections import ConnectionRow
from hub.core.ports import Offer
from hub.identity.outbound.account import Connection


class Pending(Protocol):
    """A login that somebody was offered and has not begun."""

    @property
    def server(self) -> str: ...

    @property
    def account(self) -> str:
        """Whose connection it makes, as `Principal.account`."""

    @property
    def whose(self) -> str:
        """Who may use that account then, in words."""

    @property
    def is_user(self) -> bool:
        """Whether `account` is a user's id, so that this user must be logged in with the browser."""


class Finished(Protocol):
    """A login that came to its good end."""

    @property
    def server(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def connection(self) -> ConnectionRow: ...


class Connect(Protocol):
    """Logins at downstreams, and what came of them."""

    def pending(self, token: str, /) -> Pending | None:
        """None: nobody was offered this, it came to its good end, or it is over."""

    async def begin(self, token: str, browser: str, /) -> str:
        """Where to send this browser: the issuer. Its answer counts in this browser only, and the one begun last.

        Raises `Lost`, OutboundFailed, which are in the log then.
        """

    async def finish(self, query: Sequence[tuple[str, str]], browser: str, /) -> Finished:
        """What the issuer answered, in its order, repeated names too. In the log before it returns or raises.

        Raises `Lost` (unknown, used, expired, another browser's), OutboundFailed.
        """

    def offer_to(self, account: str, whose: str, server: str, label: str = "", /) -> Offer:
        """A login at `server`, whose account is called `label` here. Raises `Unofferable` in words.

        `whose` is a user's name after "user ", as it is with all that are offered.
        """

    def protected(self) -> tuple[str, ...]:
        """Ids of the servers that everybody may log in to with an account of his own."""

    def document(self) -> Json | None:
        """The hub's client metadata; None: it has no address that issuers could read it at."""

    def of(self, user: str, /) -> tuple[Connection, ...]:
        """This user's own, by server and label."""

    def get(self, user: str, id: str, /) -> Connection:
        """Raises Unusable, for somebody else's too."""

    async def rename(self, user: str, id: str, label: str, /) -> object:
        """Raises Unusable. Logs nothing."""

    async def choose(self, user: str, id: str, /) -> object:
        """Of several accounts at one place, use this one. Raises Unusable. Logs nothing."""

    async def disconnect(self, user: str, id: str, who: str, /) -> object:
        """Forget it, and have its issuer end it. In the log, as done by `who`, before it returns. Raises Unusable."""
