"""What is done with connections, as the audit log has it: who, where, whose; never a token, a code or an address."""

from __future__ import annotations

from typing import Final, Literal

from hub.core.call import LOCAL, Json, Principal
from hub.core.connections import SHARED, ConnectionRow
from hub.core.ports import Journal
from hub.identity.outbound.errors import Exhausted, OutboundFailed, Refused, Unavailable, Unregistered
from hub.identity.outbound.tokens import where

HUB: Final = "hub"  # who acts where nobody asked for it
EVERYBODY: Final = "everybody who uses this hub"
THIS: Final = "this computer"
Revoked = Literal["yes", "no", "failed", "later", "unreadable"]
"""Whether the issuer ended what was held: it did, it ends nothing, it could not be asked or would not, it is asked
after this was written, and nobody can read what was held."""


class Acts:
    """Each is durable when it returns, and raises what the journal raises."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def logged_in(self, whose: str, row: ConnectionRow) -> None:
        await self._said("connections.login", whose, "done", row)

    async def login_failed(
        self, whose: str, server: str, account: str, issuer: str | None, why: OutboundFailed
    ) -> None:
        detail = {"act": "connections.login", "server": server, "account": account, "wrong": kind_of(why)}
        if issuer is not None:
            detail["issuer"] = where(issuer)
        if isinstance(why, Refused):
            detail["error"] = why.error
        await self._journal.event("auth", _name(whose), f"denied:{kind_of(why)}", None, detail)

    async def logged_out(self, whose: str, row: ConnectionRow, revoked: Revoked, why: str | None = None) -> None:
        more = {"revoked": revoked} if why is None else {"revoked": revoked, "why": why}
        await self._said("connections.logout", whose, "done", row, more)

    async def ended(self, row: ConnectionRow) -> None:
        await self._said("connections.ended", HUB, "done", row, {"why": row.ended})

    async def _said(self, act: str, whose: str, outcome: str, row: ConnectionRow, more: Json = {}) -> None:
        detail = {
            "act": act,
            "server": row.server,
            "issuer": where(row.issuer),
            "account": row.user,
            "connection": row.id,
            **({"label": row.label} if row.label else {}),
            **more,
        }
        await self._journal.event("auth", _name(whose), outcome, None, detail)


def whose_of(who: Principal) -> str:
    """Whose account this caller's is, in words for people."""
    if who.account == SHARED:
        return EVERYBODY
    if who.account == LOCAL:
        return THIS
    kind, _, name = who.name.partition(":")
    return f"{kind} {name}"


def kind_of(why: OutboundFailed) -> str:
    match why:
        case Refused():
            return "refused"
        case Unavailable():
            return "unavailable"
        case Unregistered():
            return "unregistered"
        case Exhausted():
            return "exhausted"
        case _:
            return "unfit"


def _name(whose: str) -> str:
    """As everything else in the log names who did it."""
    if whose == THIS:
        return LOCAL
    kind, blank, name = whose.partition(" ")
    return f"{kind}:{name}" if blank and kind in ("user", "key") else whose
