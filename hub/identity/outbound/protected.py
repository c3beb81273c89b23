"""A downstream that is logged in to: where it is, and what of the way to its tokens an admin entered. Values only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hub.core.connections import ConnectionRow, ServerAuth
from hub.identity.outbound.discovery import covers
from hub.identity.outbound.parties import AuthServer, Client, Place


@dataclass(frozen=True, slots=True)
class Protected:
    url: str  # of the server, as it is entered
    auth: ServerAuth


def entered_place(protected: Protected) -> Place | None:
    """Where nothing is left for the server to say: resource and issuer are entered."""
    auth = protected.auth
    if auth.resource is None or auth.issuer is None:
        return None
    return Place(auth.resource, (auth.issuer,), auth.scopes or None)


def narrowed(place: Place, auth: ServerAuth) -> Place:
    """What the server said, and in its place what is entered."""
    return replace(
        place,
        resource=auth.resource or place.resource,
        issuers=place.issuers if auth.issuer is None else (auth.issuer,),
        scopes=auth.scopes or place.scopes,
    )


def entered_server(auth: ServerAuth, issuer: str) -> AuthServer | None:
    """An issuer that publishes nothing, as it is entered. Who enters it vouches for PKCE by S256."""
    if auth.issuer is None or auth.token_endpoint is None or issuer != auth.issuer:
        return None
    return AuthServer(
        issuer=auth.issuer,
        token_endpoint=auth.token_endpoint,
        authorization_endpoint=auth.authorization_endpoint,
        revocation_endpoint=auth.revocation_endpoint,
        is_s256=True,
    )


def entered_client(auth: ServerAuth, issuer: str) -> Client | None:
    """The app that is entered for this issuer, or for whichever the server names."""
    app = auth.client
    if app is None or auth.issuer not in (None, issuer):
        return None
    return Client(issuer, app.id, "admin", app.method, app.secret)


def unfit(row: ConnectionRow, protected: Protected | None) -> str | None:
    """Why what this connection holds is nothing for the server as it is entered now, in words; None: it may be shown.

    A token goes nowhere but to the place it was granted for (RFC 8707 §2): another address under the same name is
    another server.
    """
    if protected is None:
        return "the hub has no such server any more, or does not log in to it"
    auth = protected.auth
    if row.resource != auth.resource and (auth.resource is not None or not covers(row.resource, protected.url)):
        return "the server has another address than it had at the login"
    if auth.issuer not in (None, row.issuer):
        return "the server has another issuer than it had at the login"
    if row.grant != auth.grant or (row.grant == "client_credentials" and not _is_app(row, auth)):
        return "the server is logged in to in another way than it was"
    return None


def _is_app(row: ConnectionRow, auth: ServerAuth) -> bool:
    return auth.client is not None and auth.client.id == row.client
