"""What the hub asks at a token endpoint, and how its answers are read (RFC 6749 §5, RFC 8693, RFC 7009).

`resource` goes with every request (RFC 8707 §2). An answer is bounded and read strictly; nothing of it is logged or
quoted. What becomes of the tokens is for whoever asked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeGuard
from urllib.parse import quote, urlencode, urlsplit

from hub.core.call import Json
from hub.core.ports import Fetched, Fetcher, FetchRefused
from hub.identity.jwks import strict
from hub.identity.outbound.errors import Refused, Unavailable, Unfit
from hub.identity.outbound.held import MAX_TOKEN, Tokens
from hub.identity.outbound.parties import MAX_SCOPES, AuthServer, Client, is_scope

FORM: Final = "application/x-www-form-urlencoded"
MAX_BYTES: Final = 65_536
MAX_LIFE_S: Final = 10 * 366 * 86_400
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693 §3, the name of a kind
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN: Final = re.compile(r"[!-~]+")  # what one header line may bear
_LATER: Final = (408, 425, 429)
_PERIOD: Final = re.compile(r"[0-9]{1,10}")


class TokenEndpoint:
    """Asks token endpoints. Raises, from each: Unavailable, Refused, Unfit."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def redeem(self, server: AuthServer, client: Client, code: str, proof: Mapping[str, str]) -> Tokens:
        """For a code. `proof` is what else was bound to it: redirect_uri, code_verifier, resource."""
        return _read(
            await self._ask(server, client, {"grant_type": "authorization_code", "code": code, **proof}), server
        )

    async def refresh(self, server: AuthServer, client: Client, token: str, resource: str) -> Tokens:
        """With `token` again where the answer brings no new one (RFC 6749 §6)."""
        form = {"grant_type": "refresh_token", "refresh_token": token, "resource": resource}
        tokens = _read(await self._ask(server, client, form), server)
        return tokens if tokens.refresh is not None else replace(tokens, refresh=token)

    async def own(self, server: AuthServer, client: Client, resource: str, scopes: Sequence[str] = ()) -> Tokens:
        """In the hub's own name (client_credentials). Raises ValueError for a client without a secret."""
        if client.secret is None:
            raise ValueError("only a client with a secret gets tokens in its own name")
        form = {"grant_type": "client_credentials", "resource": resource, **_scope(scopes)}
        return _read(await self._ask(server, client, form), server)

    async def exchange(
        self,
        server: AuthServer,
        client: Client,
        subject: tuple[str, str],
        resource: str,
        scopes: Sequence[str] = (),
        audience: str | None = None,
    ) -> Tokens:
        """An access token for `resource` in place of `subject`: a token, and the URI of its type (RFC 8693 §2)."""
        form = {
            "grant_type": EXCHANGE,
            "subject_token": subject[0],
            "subject_token_type": subject[1],
            "requested_token_type": ACCESS_TOKEN,
            "resource": resource,
            **({} if audience is None else {"audience": audience}),
            **_scope(scopes),
        }
        said = await self._ask(server, client, form)
        if said.get("issued_token_type", ACCESS_TOKEN) not in (ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"):
            raise Unfit(f"{where(server.token_endpoint)} gave a token of another kind than was asked for")
        return _read(said, server)

    async def revoke(self, server: AuthServer, client: Client, token: str) -> bool:
        """RFC 7009. False: this server revokes nothing. A token it does not know is as good as revoked."""
        if server.revocation_endpoint is None:
            return False
        form, headers = authenticated(client, {"token": token})
        fetched = await self._post(server.revocation_endpoint, form, headers)
        if fetched.status != 200:
            raise Refused(error_in(fetched.body), where(server.revocation_endpoint))
        return True

    async def _ask(self, server: AuthServer, client: Client, form: Mapping[str, str]) -> Json:
        if client.issuer != server.issuer:
            raise ValueError("what the hub is at one issuer is nothing at another")
        written, headers = authenticated(client, form)
        fetched = await self._post(server.token_endpoint, written, headers)
        place = where(server.token_endpoint)
        if fetched.status != 200:
            raise Refused(error_in(fetched.body), place)
        said = object_in(fetched.body, place)
        if "error" in said and "access_token" not in said:  # some say no with a 200
            raise Refused(said["error"], place)
        return said

    async def _post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Fetched:
        body = urlencode(form).encode()
        try:
            fetched = await self._fetcher.post(url, body, content_type=FORM, headers=headers, max_bytes=MAX_BYTES)
        except FetchRefused as exc:
            raise Unavailable(str(exc)) from exc
        if fetched.status >= 500 or fetched.status in _LATER:
            raise Unavailable(f"{where(url)} answered with status {fetched.status}")
        return fetched


def authenticated(client: Client, form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers by which the client says who it is, in its one way (RFC 6749 §2.3)."""
    if client.secret is None or client.method == "none":
        return {**form, "client_id": client.id}, {}
    if client.method == "client_secret_post":
        return {**form, "client_id": client.id, "client_secret": client.secret}, {}
    # encoded before they are joined (§2.3.1); %20 for a blank is read alike by those who decode urls instead of forms
    pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
    # the id in the form proves nothing, so it is no second way (§2.3); servers of the MCP SDK know nobody without it
    return {**form, "client_id": client.id}, {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _read(said: Json, server: AuthServer) -> Tokens:
    place = where(server.token_endpoint)
    access, refresh, kind = said.get("access_token"), said.get("refresh_token"), said.get("token_type")
    if not _is_token(access):
        raise Unfit(f"{place} gave no access token that a request can bear")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749 §7.1: of unknown kinds none is used
        raise Unfit(f"{place} gave a token that is no bearer token")
    if refresh is not None and not _is_token(refresh):
        raise Unfit(f"{place} gave a refresh token that cannot be used")
    return Tokens(access, refresh, _life(said.get("expires_in"), place), _granted(said.get("scope"), place))


def object_in(body: bytes, place: str) -> Json:
    """Raises Unfit, quoting nothing."""
    try:
        said = strict(body)
    except ValueError as exc:
        raise Unfit(f"{place} answered with something that is no JSON, or can be read in two ways") from exc
    if not isinstance(said, dict):
        raise Unfit(f"{place} answered with JSON that is no object")
    return said


def error_in(body: bytes) -> Any:
    """The OAuth error that an answer holds; None: it holds none."""
    try:
        said = strict(body)
    except ValueError:
        return None
    return said.get("error") if isinstance(said, dict) else None


def _is_token(given: Any) -> TypeGuard[str]:
    return isinstance(given, str) and len(given) <= MAX_TOKEN and _TOKEN.fullmatch(given) is not None


def _life(given: Any, place: str) -> float | None:
    if isinstance(given, str) and _PERIOD.fullmatch(given):  # a number in quotes is common
        given = int(given)
    if given is None:
        return None
    if type(given) not in (int, float) or not 0 < given <= MAX_LIFE_S:
        raise Unfit(f"{place} gave a token that has ended, or ends at no time that could be (expires_in)")
    return float(given)


def _granted(given: Any, place: str) -> tuple[str, ...] | None:
    """Without a word they are those asked for (RFC 6749 §5.1)."""
    if given is None:
        return None
    listed = tuple(dict.fromkeys(given.split())) if isinstance(given, str) else None
    if listed is None or len(listed) > 5 * MAX_SCOPES or not all(map(is_scope, listed)):
        raise Unfit(f"{place} granted scopes that are none")
    return listed


def _scope(scopes: Sequence[str]) -> dict[str, str]:
    return {"scope": " ".join(scopes)} if scopes else {}


def where(url: str) -> str:
    """Host and port, for words."""
    return urlsplit(url).netloc or "the authorization server"
