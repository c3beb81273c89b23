"""The authorization request: what a browser is sent away with, and for which scopes (OAuth 2.1 §4.1.1, RFC 8707 §2).

What is begun is bound to one user and one browser by whoever keeps `Begun`.
"""

from __future__ import annotations

import base64
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from typing import Final
from urllib.parse import urlencode

from hub.identity.outbound.challenge import Challenge
from hub.identity.outbound.errors import Exhausted, Unfit
from hub.identity.outbound.parties import MAX_SCOPES, AuthServer, Client, Place

OFFLINE: Final = "offline_access"
MOST_LOGINS: Final = 3  # for one place, none of which was enough
WITHIN_S: Final = 3600.0
MOST_PLACES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Begun:
    """One login on its way: what the answer is held against. Good for one answer."""

    location: str = field(repr=False)  # where the browser goes
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    issuer: str
    is_naming: bool  # the issuer said that its answers name it
    client: str  # the client_id
    redirect_uri: str
    resource: str
    scopes: tuple[str, ...]  # asked for; empty: what the issuer gives by itself

    @property
    def proof(self) -> dict[str, str]:
        """What goes to the token endpoint beside the code."""
        return {"redirect_uri": self.redirect_uri, "code_verifier": self.verifier, "resource": self.resource}


def begin(
    server: AuthServer, client: Client, place: Place, scopes: Sequence[str], redirect_uri: str, key: str = ""
) -> Begun:
    """`key` comes back before the first dot of `state`. Raises Unfit."""
    if client.issuer != server.issuer:
        raise ValueError("what the hub is at one issuer is nothing at another")
    address = check_login(server)
    state, verifier = f"{key}.{secrets.token_urlsafe(32)}", secrets.token_urlsafe(48)
    asked = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "resource": place.resource,
        **({"scope": " ".join(scopes)} if scopes else {}),
    }
    location = f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"
    return Begun(
        location=location,
        state=state,
        verifier=verifier,
        issuer=server.issuer,
        is_naming=server.is_naming,
        client=client.id,
        redirect_uri=redirect_uri,
        resource=place.resource,
        scopes=tuple(scopes),
    )


def check_login(server: AuthServer) -> str:
    """Where people log in. Raises Unfit where they cannot, or where a code could be redeemed by who stole it."""
    if server.authorization_endpoint is None:
        raise Unfit("nobody can log in at this issuer: it has no authorization endpoint for codes")
    if not server.is_s256:
        raise Unfit("this issuer does not say that it checks PKCE (S256), so no login is begun there")
    return server.authorization_endpoint


def wanted(place: Place, server: AuthServer, challenge: Challenge, held: Sequence[str] = ()) -> tuple[str, ...]:
    """The scopes to ask for: those held already, and the challenge's, or else all that the server lists.

    With `offline_access` only where the issuer knows it: a login should last. None of a server that says nothing.
    Raises Unfit when they are too many.
    """
    kept = (scope for scope in held if scope != OFFLINE)
    scopes = tuple(dict.fromkeys((*kept, *(challenge.scopes or place.scopes or ()))))
    renews = server.grants is None or "refresh_token" in server.grants
    if scopes and renews and OFFLINE in server.scopes and OFFLINE not in scopes:
        scopes = (*scopes, OFFLINE)
    if len(scopes) > MAX_SCOPES:
        raise Unfit(f"the server asks for more than {MAX_SCOPES} scopes")
    return scopes


class Attempts:
    """Logins that were made and were not enough, by whatever names the account and the place. Kept in memory only."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._made: OrderedDict[object, list[float]] = OrderedDict()

    def check(self, key: object, challenge: Challenge, held: Sequence[str] | None = None) -> None:
        """Before a login that a challenge asks for. `held`: the scopes of the token that was not enough.

        Raises Exhausted when another login would bring the same.
        """
        if held is not None and challenge.is_step_up and challenge.scopes and set(challenge.scopes) <= set(held):
            raise Exhausted("the token has every scope the server asks for, and the server still wants more")
        now = self._clock()
        if sum(0 <= now - at < WITHIN_S for at in self._made.get(key, ())) >= MOST_LOGINS:
            raise Exhausted(f"{MOST_LOGINS} logins were not enough for the server; try again in an hour")

    def logged_in(self, key: object) -> None:
        """A login gave a token."""
        self._made[key] = [*self._made.pop(key, []), self._clock()][-MOST_LOGINS:]
        while len(self._made) > MOST_PLACES:
            self._made.popitem(last=False)

    def served(self, key: object) -> None:
        """The server did what it was asked with such a token."""
        self._made.pop(key, None)
