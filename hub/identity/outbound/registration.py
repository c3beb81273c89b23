"""What the hub is at an issuer: an app an admin entered, a document of the hub's own (CIMD), or a registration.

In that order, and at that issuer only: what an issuer gave is never shown to another one. Where the result is kept is
for whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any, Final, TypeGuard

from hub.core.call import Json
from hub.core.ports import Fetcher, FetchRefused
from hub.identity.outbound.errors import Refused, Unavailable, Unfit, Unregistered
from hub.identity.outbound.parties import METHODS, AuthServer, Client, Method
from hub.identity.outbound.tokens import error_in, object_in, where
from hub.wire import jsonrpc

MAX_BYTES: Final = 65_536
MAX_ID: Final = 512
MAX_SECRET: Final = 2048
LEAST_S: Final = 60.0  # a secret that ends sooner is none to begin a login with
_LATER: Final = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class HubClient:
    """The hub, as it names itself to issuers."""

    redirect_uris: tuple[str, ...]  # the one logins use first
    name: str = "MCP hub"
    uri: str | None = None  # a page about it
    document_url: str | None = None  # where issuers find `document`; None: nowhere they could ask

    def __post_init__(self) -> None:
        """Raises ValueError, in words."""
        if not self.redirect_uris:
            raise ValueError("a client of an issuer needs a redirect URI")
        if self.document_url is not None and not self.document_url.startswith("https://"):
            raise ValueError("the address of the hub's client document starts with https://")


def document(own: HubClient) -> Json:
    """What stands at `document_url`, whose address is the client's id (CIMD §4). Raises ValueError without one."""
    if own.document_url is None:
        raise ValueError("the hub has no public address for its client document")
    return {"client_id": own.document_url, **_said(own, "none", ("authorization_code", "refresh_token"))}


class Registrar:
    def __init__(
        self,
        own: HubClient | None,
        fetcher: Fetcher,
        entered: Callable[[str], Client | None] = lambda issuer: None,
        clock: Callable[[], float] = time,
    ) -> None:
        """`own` None: no browser reaches this hub, and it is nothing but the apps that are entered.

        `entered` gives the app an admin entered for an issuer. `clock` gives seconds since 1970.
        """
        self._own, self._fetcher, self._entered, self._clock = own, fetcher, entered, clock

    async def client(self, server: AuthServer, known: Client | None = None, scopes: tuple[str, ...] = ()) -> Client:
        """`known`: what was registered there before, if the issuer still takes it; it comes back where it serves.

        `scopes` are what logins will ask for. Raises Unavailable, Refused, Unfit, Unregistered.
        """
        entered = self._entered(server.issuer)
        if entered is not None:
            return _of(entered, server)
        own = self._own
        if own is None:
            raise Unregistered("no browser reaches this hub, so that it is no client of an issuer but as apps entered")
        if own.document_url is not None and takes_documents(server):
            return Client(server.issuer, own.document_url, "metadata", redirect_uris=own.redirect_uris)
        if known is not None and known.origin == "dynamic" and self._serves(own, known, server):
            return known
        if server.registration_endpoint is None:
            raise Unregistered(
                f"the issuer {where(server.issuer)} registers no apps by itself: register the hub there, with the "
                f"redirect URI {own.redirect_uris[0]}, and enter the client id and secret it gives"
            )
        return await self._register(own, server, server.registration_endpoint, scopes)

    async def instead(self, server: AuthServer, refused: Client, scopes: tuple[str, ...] = ()) -> Client:
        """After `invalid_client`. Raises as `client`, and Unregistered where only an admin can do something."""
        if refused.origin != "dynamic":
            what = "the app entered for it" if refused.origin == "admin" else "the hub's client document"
            raise Unregistered(f"the issuer {where(server.issuer)} does not take {what}: look at its id and secret")
        return await self.client(server, None, scopes)

    def named(self, issuer: str, id: str) -> Client | None:
        """What the hub is there by this id without a registration, if it still is: an entered app, or its document."""
        entered = self._entered(issuer)
        if entered is not None and (entered.issuer, entered.id) == (issuer, id):
            return entered
        if self._own is not None and id == self._own.document_url:
            return Client(issuer, id, "metadata", redirect_uris=self._own.redirect_uris)
        return None

    def _serves(self, own: HubClient, known: Client, server: AuthServer) -> bool:
        lasts = known.expires_at is None or self._clock() + LEAST_S < known.expires_at
        return known.issuer == server.issuer and lasts and known.redirect_uris == own.redirect_uris

    async def _register(self, own: HubClient, server: AuthServer, url: str, scopes: tuple[str, ...]) -> Client:
        method = method_at(server)
        grants: tuple[str, ...] = ("authorization_code", "refresh_token")
        if server.grants is not None and "refresh_token" not in server.grants:
            grants = grants[:1]
        asked = _said(own, method, grants)
        if scopes:  # some take the absence for none at all
            asked["scope"] = " ".join(scopes)
        try:
            body = jsonrpc.dumps(asked)
            fetched = await self._fetcher.post(url, body, content_type="application/json", max_bytes=MAX_BYTES)
        except FetchRefused as exc:
            raise Unavailable(str(exc)) from exc
        if fetched.status >= 500 or fetched.status in _LATER:
            raise Unavailable(f"{where(url)} answered with status {fetched.status}")
        if fetched.status not in (200, 201):
            raise Refused(error_in(fetched.body), where(url))
        return self._registered(own, server, object_in(fetched.body, where(url)), method)

    def _registered(self, own: HubClient, server: AuthServer, said: Json, asked: Method) -> Client:
        """What the issuer made of it (RFC 7591 §3.2.1): it may have chosen another way to authenticate."""
        place, id, secret = where(server.issuer), said.get("client_id"), said.get("client_secret")
        if not _is_visible(id, MAX_ID) or not (secret is None or _is_visible(secret, MAX_SECRET)):
            raise Unfit(f"the issuer {place} registered the hub by an id or secret that cannot be used")
        method = said.get("token_endpoint_auth_method", asked)
        if method not in METHODS:
            raise Unfit(f"the issuer {place} registered the hub with a way to authenticate that it does not know")
        if secret is None:
            method = "none"
        given = said.get("redirect_uris", list(own.redirect_uris))
        if not isinstance(given, list) or not set(own.redirect_uris) <= {uri for uri in given if type(uri) is str}:
            raise Unfit(f"the issuer {place} registered the hub without its redirect URI")
        ends = said.get("client_secret_expires_at", 0)
        if type(ends) not in (int, float) or not 0 <= ends < 1e12:
            raise Unfit(f"the issuer {place} registered the hub until no time that could be")
        return Client(
            issuer=server.issuer,
            id=id,
            origin="dynamic",
            method=method,
            secret=None if method == "none" else secret,
            expires_at=None if ends == 0 or method == "none" else float(ends),
            redirect_uris=own.redirect_uris,
        )


def takes_documents(server: AuthServer) -> bool:
    """CIMD §6.2; such a client has no secret, so the issuer has to take those without."""
    return server.is_cimd and (server.methods is None or "none" in server.methods)


def method_at(server: AuthServer) -> Method:
    """The best that the issuer takes; it says nothing: RFC 8414 §2. Raises Unfit."""
    methods = server.methods if server.methods is not None else ("client_secret_basic",)
    found = next((method for method in METHODS if method in methods), None)
    if found is None:
        raise Unfit(f"the issuer {where(server.issuer)} takes no way to authenticate that the hub knows")
    return found


def application_type(redirect_uri: str) -> str:
    """OpenID Connect Registration §2: an address of this machine is a native app's."""
    return "web" if redirect_uri.startswith("https://") else "native"


def _of(entered: Client, server: AuthServer) -> Client:
    if entered.issuer != server.issuer:
        raise ValueError("an app was entered for another issuer")
    return entered


def _said(own: HubClient, method: Method, grants: tuple[str, ...]) -> dict[str, Any]:
    return {
        "client_name": own.name,
        **({} if own.uri is None else {"client_uri": own.uri}),
        "redirect_uris": list(own.redirect_uris),
        "grant_types": list(grants),
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": application_type(own.redirect_uris[0]),
    }


def _is_visible(given: Any, most: int) -> TypeGuard[str]:
    return isinstance(given, str) and 0 < len(given) <= most and all(" " <= char <= "~" for char in given)
