"""How a paste says that one logs in to a server: `auth` and `oauth` of other programs, in our own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.admin.paste.pasted import Wrong

_OWN: Final = ("account", "grant", "issuer", "resource", "revocation_endpoint")
_IDS: Final = ("CLIENT_ID", "clientId", "client_id")
_SECRETS: Final = ("CLIENT_SECRET", "clientSecret", "client_secret")
_ENDPOINTS: Final = {
    "authorization_endpoint": ("authorization_endpoint", "authorizationUrl", "authorization_url"),
    "token_endpoint": ("token_endpoint", "tokenUrl", "token_url"),
}
_OTHERS: Final = frozenset(("type", "enabled", "callbackPort", "callback_port", "redirectUri", "redirect_uri"))


def login(given: Any, *, own: bool) -> tuple[Any, tuple[str, ...]]:
    """(`auth` of ours, or None where nothing need be said; warnings). `own`: the admin's own words. Raises Wrong."""
    if given is False and own:
        return False, ()
    if given in (None, False, True, {}, "none", "oauth") or (
        isinstance(given, Mapping) and given.get("enabled") is False
    ):
        return None, ()  # who can be logged in to is found out
    if not isinstance(given, Mapping):
        raise Wrong("auth must be an object; a token belongs into headers: {Authorization: Bearer TOKEN}")
    return _Login(dict(given)).result(own)


class _Login:
    def __init__(self, left: dict[str, Any]) -> None:
        self._left = left
        self._made: dict[str, Any] = {}
        self._warnings: list[str] = []

    def result(self, own: bool) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
        for key in _OWN:
            if (value := self._left.pop(key, None)) is not None:
                self._made[key] = value
        self._client(own)
        self._scopes()
        self._endpoints()
        for key in self._left.keys() - _OTHERS:
            if own:
                self._made[key] = self._left[key]  # the configuration's own reader says what is wrong with it
            else:
                self._warnings.append(f"{str(key)[:40]!r} of its login is not known here and was left out")
        return self._made or None, tuple(self._warnings)

    def _client(self, own: bool) -> None:
        client, id, secret = self._left.pop("client", None), self._one(_IDS), self._one(_SECRETS)
        if client is None and id is not None:
            client = {"id": id} if secret in (None, "") else {"id": id, "secret": secret}
        if client is None:
            return
        if not isinstance(client, Mapping) or not all(isinstance(text, str) for text in client.values()):
            raise Wrong("auth.client must be an object of texts: id, secret, method")
        self._made["client"] = dict(client)
        if not own:
            self._warnings.append(
                "its app must allow the hub's redirect URI, {public_url}/oauth/connect/callback: enter it at the issuer"
            )

    def _scopes(self) -> None:
        scopes, scope = self._left.pop("scopes", None), self._left.pop("scope", None)
        found = scopes if scopes is not None else scope
        if isinstance(found, str):
            found = found.split()
        if found:
            self._made["scopes"] = found

    def _endpoints(self) -> None:
        found = {name: url for name, keys in _ENDPOINTS.items() if (url := self._one(keys)) is not None}
        if "issuer" in self._made:
            self._made |= found
        elif found:
            self._warnings.append("addresses of its login without an issuer were left out: the server says them itself")

    def _one(self, keys: tuple[str, ...]) -> Any:
        given = [self._left.pop(key) for key in keys if key in self._left]
        return given[0] if given else None
