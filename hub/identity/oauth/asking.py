"""Parameters as clients send them, and what the hub asks of an authorization request beyond OAuth's own core. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_plus

from hub.identity.oauth import scopes as scoping
from hub.identity.oauth.asked import OAuthClient, Unfit, Wish
from hub.identity.oauth.ports import Addresses
from hub.identity.oauth.redirects import is_one_of
from hub.identity.oauth.tokens import endpoints_of

MAX_PARAMETERS: Final = 64
MAX_VALUE: Final = 8192
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 §4.2: SHA-256 in base64url
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_AGE: Final = re.compile(r"[0-9]{1,9}")


class Refusal(Exception):
    """An OAuth error that a client is told: its code, and words."""

    def __init__(self, error: str, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.error, self.words, self.status = error, words, status


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of one request, by name; of those that came twice, the first."""

    values: Mapping[str, str] = field(repr=False)
    repeated: frozenset[str]
    resources: tuple[str, ...]  # the one that may come several times (RFC 8707 §2)

    def get(self, name: str) -> str | None:
        """None for an empty one too (RFC 6749 §3.1)."""
        return self.values.get(name) or None

    def once(self) -> None:
        """Raises Refusal when one was repeated (RFC 6749 §3.1, §3.2)."""
        if self.repeated:
            raise Refusal("invalid_request", f"a parameter was sent twice: {_plain(min(self.repeated))}")

    def resource(self) -> str | None:
        """Raises Refusal for several: every token here has one audience."""
        named = set(self.resources)
        if len(named) > 1:
            raise Refusal("invalid_target", "a token is for one resource: name one")
        return named.pop() if named else None


def parameters(pairs: Sequence[tuple[str, str]]) -> Parameters:
    """Raises Refusal when there are too many, or one is too long."""
    if len(pairs) > MAX_PARAMETERS or any(len(name) + len(value) > MAX_VALUE for name, value in pairs):
        raise Refusal("invalid_request", f"at most {MAX_PARAMETERS} parameters of {MAX_VALUE} characters are read")
    counted = Counter(name for name, _ in pairs if name != "resource")
    return Parameters(
        dict(reversed(pairs)),
        frozenset(name for name, times in counted.items() if times > 1),
        tuple(value for name, value in pairs if name == "resource" and value),
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a program says it is."""

    client: str | None
    basic: str | None = field(default=None, repr=False)  # the header, written anew


def credentials(asked: Parameters, authorization: str | None) -> Credentials:
    """Raises Refusal for a header that is none, and for two ways at once (RFC 6749 §2.3)."""
    if authorization is None:
        return Credentials(asked.get("client_id"))
    scheme, _, coded = authorization.strip().partition(" ")
    try:
        if scheme.lower() != "basic" or len(coded) > MAX_VALUE:
            raise ValueError("no Basic")
        id, colon, secret = base64.b64decode(coded.strip(), validate=True).decode("utf-8").partition(":")
    except (ValueError, binascii.Error):
        id = colon = secret = ""
    if not id or not colon:
        raise Refusal("invalid_client", "the Authorization header is not a Basic one of client id and secret", 401)
    id, secret = unquote_plus(id), unquote_plus(secret)
    if asked.get("client_secret") is not None or asked.get("client_id") not in (None, id):
        raise Refusal("invalid_request", "the client names itself in two ways: use one")
    return Credentials(id, "Basic " + base64.b64encode(f"{quote(id, '')}:{quote(secret, '')}".encode()).decode())


def redirect_uri(asked: Parameters, client: OAuthClient) -> str:
    """Where the answer may go. Raises Unfit: until this is known, nobody may be sent anywhere (RFC 6749 §4.1.2.1)."""
    uri = asked.get("redirect_uri")
    if uri is None or "redirect_uri" in asked.repeated:
        raise Unfit("The program did not say, or said twice, where to send you back. Nothing was allowed.")
    if not is_one_of(uri, client.redirect_uris, native=client.auth_method == "none"):
        raise Unfit(
            "The program wants you sent back to an address that it has not registered. Nothing was allowed. "
            "If you started this yourself, remove the login in the program and log in again."
        )
    return uri


def wish_of(asked: Parameters, client: OAuthClient, uri: str, resources: Addresses) -> Wish:
    """The request in the hub's terms. Raises Refusal."""
    asked.once()
    for name in ("request", "request_uri"):  # OpenID Connect §6: objects that would say the same once more
        if asked.get(name) is not None:
            raise Refusal(f"{name}_not_supported", "send the parameters themselves")
    if asked.get("response_mode") not in (None, "query"):
        raise Refusal("invalid_request", "response_mode: there is query only")
    if asked.get("response_type") is None:
        raise Refusal("invalid_request", "response_type is missing: there is code")
    if asked.get("response_type") != "code":
        raise Refusal("unsupported_response_type", "response_type: there is code only")
    challenge = asked.get("code_challenge")
    if challenge is None or asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise Refusal("invalid_request", "PKCE is required: send code_challenge and code_challenge_method=S256")
    resource, scopes = _reach(asked, resources)
    prompt = frozenset((asked.get("prompt") or "").split())
    if not prompt <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise Refusal("invalid_request", "prompt: there are login, consent and select_account, or none alone")
    age = asked.get("max_age")
    if age is not None and not (age.isascii() and _AGE.fullmatch(age)):
        raise Refusal("invalid_request", "max_age is a number of seconds")
    return Wish(
        client,
        uri,
        resource,
        scopes,
        challenge,
        asked.get("state"),
        prompt,
        None if age is None else int(age),
    )


def device_wish_of(asked: Parameters, client: OAuthClient, resources: Addresses) -> Wish:
    """As `wish_of`, of a program that no redirect reaches (RFC 8628 §3.1). Raises Refusal."""
    asked.once()
    resource, scopes = _reach(asked, resources)
    return Wish(client, "", resource, scopes, "")


def is_same(resources: Addresses, one: str, other: str) -> bool:
    """Whether two addresses are for the same tokens, however they are written."""
    if one == other:
        return True
    reached = endpoints_of(resources, one)
    return reached is not None and reached == endpoints_of(resources, other)


def _reach(asked: Parameters, resources: Addresses) -> tuple[str, tuple[str, ...]]:
    """Resource and scopes, with what goes without saying."""
    resource = _resource(asked, resources)
    scopes = scoping.parse(asked.get("scope"))
    if scopes is None:
        raise Refusal("invalid_scope", "scope: there are mcp, mcp:server:ID, mcp:tool:PATTERN, admin and audit:read")
    return resource, scopes or ("admin" if resources.is_admin(resource) else "mcp",)


def _resource(asked: Parameters, resources: Addresses) -> str:
    named = asked.resource()
    if named is None:
        return resources.of("", None)  # clients older than RFC 8707 in MCP know one endpoint, and do not name it
    if len(named) > 2048 or endpoints_of(resources, named) is None:
        raise Refusal("invalid_target", "resource: this is no address of the hub")
    return named


def _plain(text: str) -> str:
    """What may stand in an error's words (RFC 6749 §5.2)."""
    return re.sub(r"[^A-Za-z0-9_.-]", "?", text[:40])
