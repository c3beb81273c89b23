"""`auth` of a server: how the hub gets tokens for it. Without the key it finds out by itself what the server wants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from hub.config_secrets import Secrets, Unresolved
from hub.config_section import Section
from hub.core.addresses import fit_url
from hub.core.connections import EnteredClient, GrantKind, Method, ServerAuth
from hub.downstream.link import Transport
from hub.identity.outbound.parties import MAX_SCOPES, is_scope

Account = Literal["user", "shared"]

_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "revocation_endpoint")
_ID: Final = re.compile(r"[\x20-\x7e]{1,512}")  # RFC 6749 A.1; longer ones fit no registration
_SECRET: Final = re.compile(r"[\x20-\x7e]{0,2048}")  # RFC 6749 A.2
_TWICE: Final = "and headers.Authorization both say who the hub is there; keep one of them"
_ELSEWHERE: Final = "needs another url, for tokens are sent to it"
_CALLED: Final = "write client: {id: TEXT, secret: secret:NAME}"
_FOREIGN: Final = {
    **{
        key: _CALLED for key in ("CLIENT_ID", "CLIENT_SECRET", "client_id", "client_secret", "clientId", "clientSecret")
    },
    "authorizationUrl": "is called authorization_endpoint here, and needs issuer",
    "tokenUrl": "is called token_endpoint here, and needs issuer",
    "redirect_uri": "is the hub's own: {public_url}/oauth/connect/callback; remove this key",
    "redirectUri": "is the hub's own: {public_url}/oauth/connect/callback; remove this key",
    "callbackPort": "is of another program; remove this key",
    "enabled": "write auth: false for a server without logins",
    "scope": "is called scopes here, and is a list",
}


@dataclass(frozen=True, slots=True)
class Read:
    auth: ServerAuth | None
    is_literal: bool = False  # it holds a secret in plain text


def read_server_auth(entry: Section, secrets: Secrets, transport: Transport, url: str, headers: Iterable[str]) -> Read:
    """`headers`: the names of those that are sent anyway. `false` means no logins, and nothing but these.

    Where a token would cross the network in the clear, there are none unless somebody asks for them, which is a fault.
    """
    is_url = transport in ("http", "sse")
    has_header = any(name.lower() == "authorization" for name in headers)
    problem = _url_problem(url) if url else None
    node = entry.take("auth")
    if node is None:
        return Read(ServerAuth() if is_url and not has_header and problem is None else None)
    if not is_url:
        entry.fault(
            "auth", f"is for servers with a url; one of {transport} gets what it needs in env, or needs nothing"
        )
    if isinstance(node.value, bool):
        if node.value and has_header:
            entry.fault("auth", _TWICE)
        if node.value and problem is not None:
            entry.fault("auth", f"{_ELSEWHERE}: {problem}")
        return Read(ServerAuth() if node.value and is_url and not has_header else None)
    if has_header:
        entry.fault("auth", _TWICE)
    if problem is not None:
        entry.fault("auth", f"{_ELSEWHERE}: {problem}")
    made = _Auth(entry.section("auth"), secrets).read()
    return made if is_url and not has_header else Read(None, made.is_literal)


class _Auth:
    def __init__(self, section: Section, secrets: Secrets) -> None:
        self._section, self._secrets = section, secrets
        self._is_literal = False

    def read(self) -> Read:
        section = self._section
        client = self._client() if section.take("client") is not None else None
        grant: GrantKind = section.choice("grant", "code", GrantKind)
        usual: Account = "shared" if grant == "client_credentials" else "user"
        account: Account = section.choice("account", usual, Account)
        made = ServerAuth(
            account=account,
            grant=grant,
            client=client,
            issuer=self._url("issuer"),
            resource=self._url("resource"),
            scopes=self._scopes(),
            **{name: self._url(name) for name in _ENDPOINTS},
        )
        self._check(made)
        section.close(foreign=_FOREIGN)
        return Read(made, self._is_literal)

    def _check(self, made: ServerAuth) -> None:
        section = self._section
        if made.grant == "client_credentials":
            if made.account == "user":
                section.fault("account", "is shared with client_credentials: the hub logs in as itself, and as nobody")
            if made.client is None or made.client.secret is None:
                section.fault("grant", "client_credentials needs client: {id: TEXT, secret: secret:NAME}")
        given = [name for name in _ENDPOINTS if getattr(made, name) is not None]
        if not given:
            return
        missing = [name for name in ("issuer", "client") if getattr(made, name) is None]
        if missing:
            section.fault(
                given[0], f"is for an issuer that publishes nothing about itself: give {' and '.join(missing)}"
            )
        if made.token_endpoint is None:
            section.fault(given[0], "needs token_endpoint beside it: of one issuer all are given, or none")
        elif made.grant == "code" and made.authorization_endpoint is None:
            section.fault(given[0], "needs authorization_endpoint beside it: people log in there")

    def _client(self) -> EnteredClient:
        section = self._section.section("client")
        id, secret = self._resolved(section, "id") or "", self._secret(section)
        if not section.has("id"):
            section.fault(None, "id is needed: what the issuer calls the app that was registered for the hub")
        elif id and not _ID.fullmatch(id):
            section.fault("id", "must be at most 512 characters of ASCII that can be seen")
        usual: Method = "none" if secret is None else "client_secret_basic"
        method: Method = section.choice("method", usual, Method)
        if method == "none" and secret is not None:
            section.fault("method", "none goes without a secret; remove one of them")
        elif method != "none" and secret is None:
            section.fault("method", f"{method} needs a secret beside it, such as secret:NAME")
        section.close()
        return EnteredClient(id, secret, method)

    def _secret(self, section: Section) -> str | None:
        value = self._resolved(section, "secret")
        if value is not None and not _SECRET.fullmatch(value):
            section.fault("secret", "is no client's secret: at most 2048 characters of ASCII that can be seen")
        return value

    def _resolved(self, section: Section, key: str) -> str | None:
        given = section.text(key, None)
        if given is None:
            return None
        try:
            value, referred = self._secrets.resolve(given)
        except Unresolved as exc:
            section.fault(key, str(exc))
            return ""
        self._is_literal |= key == "secret" and not referred
        return value

    def _url(self, key: str) -> str | None:
        given = self._section.text(key, None)
        if given is None:
            return None
        problem = _url_problem(given)
        if problem is None and key == "issuer" and "?" in given:
            problem = "an issuer has no query (?...)"
        if problem is not None:
            self._section.fault(key, problem)
        return given

    def _scopes(self) -> tuple[str, ...]:
        found = self._section.texts("scopes") or ()
        if len(found) > MAX_SCOPES:
            self._section.fault("scopes", f"must be {MAX_SCOPES} at most")
        for scope in found:
            if not is_scope(scope):
                self._section.fault("scopes", f"{scope[:80]!r} is no scope: no blanks, quotes or backslashes")
        return tuple(dict.fromkeys(found))


def _url_problem(url: str) -> str | None:
    """Why no token may be sent there, or asked for, in words."""
    try:
        fit_url(url, plain_loopback=True)
    except ValueError as exc:
        return str(exc)
    return None
