"""OAuth's own rules, by Authlib: who a client is, what a code or a refresh token may be turned into, PKCE.

Authlib is synchronous. Everything that it asks for is looked up before it is called and stands in `Held`; what it
decided is written down after it has returned. One server object is made for each request, so that nothing of one
request is within reach of another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer as Rules
from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DeviceCodeGrant

from hub.core.accounts import CodeRow, GrantRow, UserRow
from hub.core.call import Json
from hub.identity.oauth import scopes as scoping
from hub.identity.oauth.asked import OAuthClient, Reply
from hub.identity.oauth.asking import Refusal
from hub.identity.oauth.device import Told
from hub.identity.oauth.families import digest
from hub.identity.oauth.metadata import AUTH_METHODS
from hub.identity.oauth.redirects import is_one_of

Mint = Callable[[GrantRow, tuple[str, ...]], tuple[str, int]]

# Authlib asks whether requests come by TLS. That is for the edge and the configuration to say, not for OAuth's rules.
_HERE: Final = "https://hub.invalid/"


@dataclass(slots=True)
class Held:
    """What one request is about, as far as it was found; and what Authlib decided."""

    client: OAuthClient | None = None
    user: UserRow | None = None  # None: there is none any more, or it may not log in
    grant: GrantRow | None = None
    code: CodeRow | None = None
    told: Told | None = None  # what a device code stands at; None: it is not known, or another client's
    mint: Mint | None = None
    refresh: str | None = field(default=None, repr=False)  # the refresh token to answer with
    about: Json | None = None  # what introspection says of a token that is good
    revoke: bool = False


def authorizable(values: Mapping[str, str], client: OAuthClient) -> None:
    """RFC 6749 §4.1.1 and RFC 7636 §4.3. Raises Refusal."""
    rules = _Rules(Held(client))
    try:
        rules.get_consent_grant(_Request("GET", values, None))
    except OAuth2Error as exc:
        raise Refusal(exc.error, exc.description or "") from exc


def authenticated(values: Mapping[str, str], basic: str | None, held: Held) -> Reply | None:
    """None when the client proved to be the one it names; else the answer."""
    rules = _Rules(held)
    request = _Request("POST", values, basic)
    try:
        rules.authenticate_client(request, AUTH_METHODS)
    except OAuth2Error as exc:
        return _reply(rules.handle_error_response(request, exc), basic)
    return None


def token(values: Mapping[str, str], basic: str | None, held: Held) -> Reply:
    """RFC 6749 §4.1.3, §6; RFC 8628 §3.4."""
    return _reply(_Rules(held).create_token_response(_Request("POST", values, basic)), basic)


def revoked(values: Mapping[str, str], basic: str | None, held: Held) -> Reply:
    """RFC 7009. Whether the grant is to end stands in `held.revoke` then."""
    return _reply(_Rules(held).create_endpoint_response("revocation", _Request("POST", values, basic)), basic)


def introspected(values: Mapping[str, str], basic: str | None, held: Held) -> Reply:
    """RFC 7662."""
    return _reply(_Rules(held).create_endpoint_response("introspection", _Request("POST", values, basic)), basic)


def _reply(answer: tuple[int, Json, dict[str, str]], basic: str | None) -> Reply:
    status, body, headers = answer
    kept = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    # RFC 6749 §5.2 wants the challenge where the header was used; browsers open a dialog for any other.
    if status == 401 and basic is not None and "WWW-Authenticate" in headers:
        kept["WWW-Authenticate"] = headers["WWW-Authenticate"]
    return Reply(status, body, kept)


class _Request(OAuth2Request):  # type: ignore[misc]
    def __init__(self, method: str, values: Mapping[str, str], basic: str | None) -> None:
        super().__init__(method, _HERE, headers={} if basic is None else {"Authorization": basic})
        self._values = dict(values)
        self.payload = BasicOAuth2Payload(self._values)

    @property
    def form(self) -> dict[str, str]:
        return self._values


class _Client:
    """As Authlib asks about one."""

    def __init__(self, client: OAuthClient) -> None:
        self.row = client

    def get_client_id(self) -> str:
        return self.row.id

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, uri: str) -> bool:
        return is_one_of(uri, self.row.redirect_uris, native=self.row.auth_method == "none")

    def check_client_secret(self, secret: str) -> bool:
        return self.row.secret_sha256 is not None and hmac.compare_digest(self.row.secret_sha256, digest(secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """The one it registered, everywhere: a secret counts nowhere as optional."""
        return method == self.row.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self.row.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.row.grant_types


class _Code:
    code_challenge_method = "S256"

    def __init__(self, row: CodeRow, grant: GrantRow) -> None:
        self.code_challenge, self._row, self._grant = row.challenge, row, grant

    def get_redirect_uri(self) -> str:
        return self._row.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self._grant.scopes)


class _Token:
    """A refresh token, or what revocation and introspection ask about."""

    def __init__(self, grant: GrantRow) -> None:
        self.grant = grant

    def check_client(self, client: _Client) -> bool:
        return client.row.id == self.grant.client

    def get_scope(self) -> str:
        return " ".join(self.grant.scopes)

    def is_expired(self) -> bool:
        return False  # what has ended is not found in the first place

    def is_revoked(self) -> bool:
        return False


class _S256(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 with one method. Authlib by itself takes `plain`, and requests without any challenge."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD: Final = ["S256"]
    CODE_CHALLENGE_METHODS: Final = {
        "S256": lambda verifier, challenge: hmac.compare_digest(create_s256_code_challenge(verifier), challenge)
    }

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE with S256 is required")
        super().validate_code_challenge(grant, redirect_uri)


class _CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
        held = self.server.held
        if held.code is None or held.grant is None or client.row.id != held.code.client:
            return None
        return _Code(held.code, held.grant) if held.code.sha256 == digest(code) else None

    def authenticate_user(self, authorization_code: _Code) -> UserRow | None:
        user: UserRow | None = self.server.held.user
        return user

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        """It was used up before it was looked at, so that of two requests at once only one can have it."""


class _RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Token | None:
        grant = self.server.held.grant
        return None if grant is None else _Token(grant)

    def authenticate_user(self, refresh_token: _Token) -> UserRow:
        user: UserRow | None = self.server.held.user
        if user is None:
            raise InvalidGrantError("the user may not log in any more")
        return user

    def _validate_token_scope(self, token: _Token) -> None:
        """Narrower, never wider; Authlib compares words, and of ours some narrow what others reach."""
        scope = self.request.payload.scope
        asked = scoping.parse(scope)
        if asked is None or not scoping.is_within(asked or token.grant.scopes, token.grant.scopes):
            raise InvalidScopeError("the scope is not within what the user allowed")

    def revoke_old_credential(self, refresh_token: _Token) -> None:
        """The row says which token is in force; it is compared and swapped afterwards."""


class _Device:
    """A device code, as far as Authlib asks about one. Of another client, it is not found in the first place."""

    def __init__(self, held: Held, client: OAuthClient) -> None:
        self._held, self._client = held, client

    def get_client_id(self) -> str:
        return self._client.id

    def get_user_code(self) -> None:
        return None

    def get_scope(self) -> str:
        return "" if self._held.grant is None else " ".join(self._held.grant.scopes)

    def is_expired(self) -> bool:
        return self._held.told == "expired"


class _DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def query_device_credential(self, device_code: str) -> _Device:
        held = self.server.held
        if held.client is None or held.told in (None, "reused"):
            raise InvalidGrantError("the device code is not known here, or was used: begin again")
        return _Device(held, held.client)

    def query_user_grant(self, user_code: None) -> tuple[UserRow | None, bool] | None:
        held = self.server.held
        if held.told == "denied":
            return None, False
        if held.told != "allowed":
            return None
        if held.user is None or held.grant is None:
            raise InvalidGrantError("what the user had allowed was ended meanwhile")
        return held.user, True

    def should_slow_down(self, credential: _Device) -> bool:
        return bool(self.server.held.told == "slow_down")


class _Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = AUTH_METHODS

    def check_params(self, request: _Request, client: _Client) -> None:
        """A hint that is none is ignored (RFC 7009 §2.2.1); so is every other, because tokens tell themselves apart."""
        if not request.form.get("token"):
            raise InvalidRequestError("token is missing")

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Token | None:
        grant = self.server.held.grant
        return None if grant is None else _Token(grant)

    def revoke_token(self, token: _Token, request: _Request) -> None:
        self.server.held.revoke = True


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS: Final = [method for method in AUTH_METHODS if method != "none"]
    check_params = _Revocation.check_params
    query_token = _Revocation.query_token

    def check_permission(self, token: _Token, client: _Client, request: _Request) -> bool:
        """Anybody can register a client with a secret: such a one learns of its own tokens only."""
        return client.row.origin == "admin" or token.check_client(client)

    def introspect_token(self, token: _Token) -> dict[str, Any]:
        about = self.server.held.about
        return {"active": False} if about is None else {"active": True, **about}


class _Rules(Rules):  # type: ignore[misc]
    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held
        self.register_grant(_CodeGrant, [_S256(required=True)])
        self.register_grant(_RefreshGrant)
        self.register_grant(_DeviceGrant)
        self.register_endpoint(_Revocation)
        self.register_endpoint(_Introspection)
        self.register_token_generator("default", self._tokens)

    def query_client(self, client_id: str) -> _Client | None:
        client = self.held.client
        return None if client is None or client.id != client_id else _Client(client)

    def authenticate_client(self, request: _Request, methods: Any, endpoint: str = "token") -> _Client:
        """A client that is gone is told so by 401 invalid_client: that makes programs register again.

        A header is judged wherever there is one: Authlib would take a public client and not look at its secret.
        """
        with_header = "Authorization" in request.headers
        methods = [method for method in methods if (method == "client_secret_basic") == with_header]
        try:
            client: _Client = super().authenticate_client(request, methods, endpoint)
        except InvalidClientError as exc:
            words = "the client did not prove to be the one it names"
            if self.held.client is None:
                words = "the client is not registered here, or not any more: register it again"
            raise InvalidClientError(description=words, status_code=401) from exc
        return client

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: Json, headers: Any) -> tuple[int, Json, dict[str, str]]:
        return status, body, dict(headers)

    def save_token(self, token: Json, request: _Request) -> None:
        """Afterwards, by whoever called."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def _tokens(self, *, scope: str | None, include_refresh_token: bool, **_: object) -> dict[str, Any]:
        held = self.held
        if held.grant is None or held.mint is None:
            raise InvalidGrantError("there is no grant")
        scopes = scoping.parse(scope) or held.grant.scopes
        access, seconds = held.mint(held.grant, scopes)
        made: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": " ".join(scopes),
        }
        if include_refresh_token and held.refresh is not None:
            made["refresh_token"] = held.refresh
        return made
