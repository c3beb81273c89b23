"""Who the hub speaks as at each server: a fresh token with every request, of one account and of no other.

The hub's links present what is given here, and come back with what was refused.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hub.core import errors
from hub.core.connections import SHARED, ConnectionRow
from hub.identity.outbound import challenge as asked
from hub.identity.outbound.book import Changed
from hub.identity.outbound.held import NeedsLogin, NotNow
from hub.identity.outbound.own_name import OwnName
from hub.identity.outbound.parts import Parts
from hub.identity.outbound.protected import Protected, unfit

MOST: Final = 10_000  # accounts at servers, whose voice is remembered


class Speaking:
    """`hub.downstream.credential.Credentials`. One event loop uses it."""

    def __init__(self, parts: Parts, most: int = MOST) -> None:
        self._parts, self._most = parts, most
        self._own_name = OwnName(parts)
        self._voices: OrderedDict[tuple[str, str], Account] = OrderedDict()
        parts.connections.watch(self._on_change)

    def shared(self, server: str) -> Account | Silent | None:
        protected = self._parts.protected().get(server)
        if protected is None:
            return None
        return self._voice(server, SHARED) if protected.auth.account == "shared" else Silent(self._parts, server)

    def own(self, server: str, account: str) -> Account | None:
        protected = self._parts.protected().get(server)
        if protected is None or protected.auth.account == "shared" or account == SHARED:
            return None
        if self._parts.connections.current(server, account) is None:
            return None
        return self._voice(server, account)

    async def aclose(self) -> None:
        await self._own_name.aclose()

    def _voice(self, server: str, account: str) -> Account:
        key = server, account
        voice = self._voices.get(key)
        if voice is None:
            voice = self._voices[key] = Account(self._parts, self._own_name, server, account)
        self._voices.move_to_end(key)
        while len(self._voices) > self._most:
            self._voices.popitem(last=False)[1].forget()
        return voice

    def _on_change(self, changed: Changed) -> None:
        voice = self._voices.get((changed.server, changed.user))
        if voice is not None:
            voice.forget()


class Silent:
    """A server where everybody has his own account, as it is without one. `hub.downstream.credential.Credential`."""

    silent: bool = True

    def __init__(self, parts: Parts, server: str) -> None:
        self._parts, self._server = parts, server

    async def token(self) -> str | None:
        return None

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        self._parts.challenges.said(self._server, SHARED, asked.challenge(challenge))
        words = "it lets nobody in without a login: its users log in with their own accounts"
        raise errors.NeedsLogin(self._server, f"{words}: mcp-hub login {self._server}")

    def served(self) -> None:
        return None


class Account:
    """One account at one server, or the one that all use. `hub.downstream.credential.Credential`."""

    silent: bool = False

    def __init__(self, parts: Parts, own_name: OwnName, server: str, account: str) -> None:
        self._parts, self._own_name = parts, own_name
        self._server, self._account = server, account
        self._row: ConnectionRow | None = None  # whose token is remembered, and where it may go
        self._protected: Protected | None = None
        self._access = ""

    def __repr__(self) -> str:
        return f"Account({self._server!r}, {self._account!r})"

    def forget(self) -> None:
        """The token that is remembered."""
        self._row, self._protected, self._access = None, None, ""

    async def token(self) -> str | None:
        parts = self._parts
        row, protected = parts.connections.current(self._server, self._account), parts.protected().get(self._server)
        is_known = row is not None and row is self._row and protected is self._protected
        if is_known and row is not None and parts.connections.age(row) == "fresh":
            return self._access
        return await self._token(row, protected)

    async def refused(self, token: str | None, status: int, challenge: str | None) -> str:
        said = asked.challenge(challenge)
        self._parts.challenges.said(self._server, self._account, said)
        row, protected = self._current(), self._parts.protected().get(self._server)
        if row is None or token is None or unfit(row, protected) is not None:
            return await self._other_than(token, str(NeedsLogin("new")))
        if status != 401 or said.is_step_up:
            return await self._other_than(token, "what was asked needs more than its login was given")
        found = await self._parts.connections.refused(self._server, self._account, row.resource, token)
        if isinstance(found, str):
            return found
        raise self._failed(found)

    def served(self) -> None:
        row = self._current()
        if row is not None:
            self._parts.attempts.served((self._account, self._server, row.label))

    async def _token(self, row: ConnectionRow | None, protected: Protected | None) -> str | None:
        """As `token`. In the hub's own name the first one is got here, and another in the place of one that ended."""
        in_own_name = protected is not None and protected.auth.grant == "client_credentials"
        found = await self._held(row, protected)
        if in_own_name and not isinstance(found, str | NotNow):
            await self._own_name.connect(self._server)
            found = await self._held(self._current(), protected)
        if found is None or isinstance(found, str):
            return found
        raise self._failed(found)

    async def _held(self, row: ConnectionRow | None, protected: Protected | None) -> str | _Not | None:
        if row is None:
            return None
        misfit = unfit(row, protected)
        if misfit is not None:
            return _Misfit(misfit)
        found = await self._parts.connections.token(self._server, self._account, row.resource)
        if isinstance(found, str) and self._current() is row:
            self._row, self._protected, self._access = row, protected, found
        return found

    async def _other_than(self, token: str | None, why: str) -> str:
        """Somebody has logged in since the request went out, or nobody has."""
        now = await self.token()
        if now is None or now == token:
            raise self._failed(_Misfit(why))
        return now

    def _current(self) -> ConnectionRow | None:
        return self._parts.connections.current(self._server, self._account)

    def _failed(self, found: _Not) -> errors.DownstreamError:
        if isinstance(found, NotNow):
            return errors.Unreachable(self._server, f"a new token for it cannot be had now: {found.why}")
        who = "an admin logs in for everybody" if self._account == SHARED else "log in"
        return errors.NeedsLogin(self._server, f"{found}; {who}: mcp-hub login {self._server}")


@dataclass(frozen=True, slots=True)
class _Misfit:
    """What is held is nothing for this request."""

    why: str

    def __str__(self) -> str:
        return self.why


_Not = NeedsLogin | NotNow | _Misfit
