"""What a link says about who it speaks for: a token that is fresh with every request, of one account at one server."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """Of one account at one server."""

    silent: bool
    """True: it never has a token, and is not asked for one. What is refused is told to it all the same."""

    async def token(self) -> str | None:
        """The access token to present now; None: this account holds none, and the request goes without.

        Waits only when the token has ended and another is being got. Raises `NeedsLogin` when nothing can be had
        without a login, and `Unreachable` when the issuer cannot be asked at the moment. One who stops waiting stops
        nobody else's renewal: each request waits no longer than it has time.
        """

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        """The server answered 401, or 403 with a `WWW-Authenticate`: another token, to be tried exactly once.

        `token` is the one it refused, `challenge` the header as it came (several of them joined by ", "). Told as well
        when that other token was refused; its answer is not used then. Raises as `token`; `NeedsLogin` is then known to
        whoever offers logins, with its challenge.
        """

    def served(self) -> None:
        """The server did what it was asked with the token. Called at most once per link and token. Never waits."""


class Credentials(Protocol):
    def shared(self, server: str) -> Credential | None:
        """Of the pool's own link: the account for all, or a silent one where everybody has his own. None: no OAuth."""

    def own(self, server: str, account: str) -> Credential | None:
        """Of a link for this account alone; None: it holds nothing there (or the server has one account for all)."""
