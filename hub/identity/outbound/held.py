"""What a connection holds, open for as long as it is needed, and how it is sealed for the store.

A seal is bound to who the connection is of, where it leads and which version of the row it stands in: what is put into
another row, or under another version, does not open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from hub.core.connections import ConnectionRow, Ended, RegistrationRow
from hub.wire import jsonrpc

MAX_TOKEN: Final = 16 * 1024  # characters; what goes into a header, or into a form

Reason = Ended | Literal["new", "expired", "unreadable"]

WORDS: Final[dict[Reason, str]] = {
    "new": "nobody has logged in yet",
    "expired": "the login has ended",
    "invalid_grant": "the login was ended by the issuer, or its renewal was cut short",
    "invalid_client": "the issuer does not know this hub any more",
    "rejected": "the server does not take what the login gave",
    "unreadable": "what was stored does not open: the key is another one, or somebody changed the database",
}


@dataclass(frozen=True, slots=True)
class NeedsLogin:
    """There is no token, and there will be none until somebody logs in."""

    reason: Reason

    def __str__(self) -> str:
        return WORDS[self.reason]


@dataclass(frozen=True, slots=True)
class NotNow:
    """There is no token at the moment: its issuer could not be asked. Nobody has to log in; it is tried again."""

    why: str  # in words


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an issuer gave. Times are its own: seconds from the answer on."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_in: float | None = None
    scopes: tuple[str, ...] | None = None  # None: as asked for


class TokenClient(Protocol):
    async def refresh(self, row: ConnectionRow, held: Tokens, registration: RegistrationRow | None) -> Tokens:
        """New tokens for this connection, asked for once; for one of `client_credentials` without a refresh token.

        `registration` is what is stored of the client it was granted to; None: an app of the configuration, the hub's
        own document, or nothing any more, which is `Refused` as `invalid_client`.
        Bounded in time. Raises `hub.identity.outbound.errors.OutboundFailed`.
        """


class Sealer(Protocol):
    def seal(self, plain: bytes, bound: bytes) -> bytes: ...

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        """None: not sealed by a key that is still there, altered, or bound to something else."""


def fits(tokens: Tokens) -> bool:
    """Whether these can be kept."""
    given = (tokens.access, *(() if tokens.refresh is None else (tokens.refresh,)))
    return all(0 < len(token) <= MAX_TOKEN and token.isascii() and token.isprintable() for token in given)


def sealed_tokens(sealer: Sealer, row: ConnectionRow, access: str, refresh: str | None) -> bytes:
    """For the `sealed` of exactly this row, in its version."""
    return sealer.seal(jsonrpc.dumps([access, refresh]), _bound(row))


def opened_tokens(sealer: Sealer, row: ConnectionRow) -> Tokens | None:
    """None: what stands there is not what was sealed for this row."""
    plain = sealer.open(row.sealed, _bound(row))
    if plain is None:
        return None
    access, refresh = jsonrpc.loads(plain)
    return Tokens(access, refresh)


def sealed_secret(sealer: Sealer, row: RegistrationRow, secret: str) -> bytes:
    return sealer.seal(secret.encode(), _bound_client(row))


def opened_secret(sealer: Sealer, row: RegistrationRow) -> str | None:
    """None: a public client, or a secret that was not sealed for this row."""
    plain = None if row.sealed is None else sealer.open(row.sealed, _bound_client(row))
    return None if plain is None else plain.decode()


def _bound(row: ConnectionRow) -> bytes:
    place = (row.tenant, row.id, row.user, row.server, row.issuer, row.resource, row.client, row.version)
    return jsonrpc.dumps(["connection", *place])


def _bound_client(row: RegistrationRow) -> bytes:
    return jsonrpc.dumps(["registration", row.tenant, row.issuer, row.client, row.version])
