"""What clients say about themselves (RFC 7591 §2), taken as far as the hub goes by it. Pure.

Names are shown to people and believed by nobody. What is not listed here is not kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Any, Final, Literal, cast, get_args

from hub.core.call import Json
from hub.identity.oauth.redirects import fault

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]

AUTH_METHODS: Final[tuple[AuthMethod, ...]] = get_args(AuthMethod)
PUBLIC: Final[AuthMethod] = "none"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628
USUAL: Final = ("authorization_code", "refresh_token")  # of a client that names none
GRANT_TYPES: Final = (*USUAL, DEVICE)
MAX_REDIRECTS: Final = 32
MAX_NAME: Final = 200
MAX_LIST: Final = 32
_TEXTS: Final = {"client_uri": 2048, "software_id": 200, "software_version": 100}


class BadMetadata(ValueError):
    """What is wrong, in words; `code` is an error of RFC 7591 §3.2.2."""

    def __init__(self, words: str, code: str = "invalid_client_metadata") -> None:
        super().__init__(words)
        self.code = code


def registered(asked: Json, schemes: Collection[str]) -> dict[str, Any]:
    """The metadata of a client that registers itself, complete with what it left open. Raises BadMetadata."""
    grants, uris = grant_types(asked), _redirects(asked)
    if (not uris and by_browser(grants)) or len(uris) > MAX_REDIRECTS:
        raise BadMetadata(f"redirect_uris: give 1 to {MAX_REDIRECTS}", "invalid_redirect_uri")
    for uri in uris:
        if (wrong := fault(uri, schemes)) is not None:
            raise BadMetadata(wrong, "invalid_redirect_uri")
    method = asked.get("token_endpoint_auth_method", "client_secret_basic")  # RFC 7591 §2: what goes without saying
    if method not in AUTH_METHODS:
        raise BadMetadata(f"token_endpoint_auth_method: there are {', '.join(AUTH_METHODS)}")
    kind = asked.get("application_type")
    if kind not in (None, "native", "web"):
        raise BadMetadata("application_type: there are native and web")
    kept: dict[str, Any] = {
        "redirect_uris": list(dict.fromkeys(uris)),
        "client_name": name_of(asked) or "a program without a name",
        "grant_types": list(grants),
        "response_types": list(_response_types(asked)) if by_browser(grants) else [],
        "token_endpoint_auth_method": method,
    }
    if kind is not None:
        kept["application_type"] = kind
    for name, most in _TEXTS.items():
        value = asked.get(name)
        if isinstance(value, str) and 0 < len(value) <= most and value.isprintable():
            kept[name] = value
    return kept


def is_public(kept: Json) -> bool:
    """Whether a client with this metadata has no secret."""
    return bool(kept["token_endpoint_auth_method"] == PUBLIC)


def name_of(asked: Json) -> str | None:
    """Without what is not to be seen or turns what is around it; at most `MAX_NAME` characters."""
    name = asked.get("client_name")
    if name is None:
        return None
    if not isinstance(name, str):
        raise BadMetadata("client_name is a string")
    seen = "".join(char for char in name[: 4 * MAX_NAME] if unicodedata.category(char)[0] != "C")
    return seen.strip()[:MAX_NAME] or None


def grant_types(asked: Json) -> tuple[str, ...]:
    """Of those it names, the ones that there are here; the usual ones when it names none, as most mean it."""
    if asked.get("grant_types") is None:
        return USUAL
    named = _strings(asked, "grant_types")
    if "authorization_code" not in named and DEVICE not in named:
        raise BadMetadata(f"grant_types: authorization_code and {DEVICE} are the only ways to a first token here")
    return tuple(grant for grant in GRANT_TYPES if grant in named)


def by_browser(grants: Collection[str]) -> bool:
    """Whether a client with these grant types is answered by a redirect."""
    return "authorization_code" in grants


def _redirects(asked: Json) -> list[str]:
    """None at all are named by clients that have no use for one (RFC 7591 §2)."""
    if asked.get("redirect_uris") is None and not by_browser(grant_types(asked)):
        return []
    return _strings(asked, "redirect_uris")


def _response_types(asked: Json) -> tuple[str, ...]:
    if asked.get("response_types") is not None and "code" not in _strings(asked, "response_types"):
        raise BadMetadata("response_types: there is code only")
    return ("code",)


def described(
    url: str, document: object, schemes: Collection[str]
) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Name, redirect URIs and grant types that a client's own document gives (CIMD §4). Raises BadMetadata.

    Redirect URIs that the hub does not take are left out: one app's scheme is no reason to refuse the others.
    """
    if not isinstance(document, dict):
        raise BadMetadata("the document is no JSON object")
    if document.get("client_id") != url:
        raise BadMetadata("the client_id in the document is not its address, character by character")
    if "client_secret" in document or "client_secret_expires_at" in document:
        raise BadMetadata("the document holds a client_secret, which everybody can read there")
    if document.get("token_endpoint_auth_method", PUBLIC) != PUBLIC:
        raise BadMetadata("token_endpoint_auth_method: of clients with a document, none is the one that is taken here")
    grants, uris = grant_types(document), _redirects(document)
    if len(uris) > MAX_REDIRECTS:
        raise BadMetadata(f"the document lists more than {MAX_REDIRECTS} redirect URIs")
    fit = tuple(dict.fromkeys(uri for uri in uris if fault(uri, schemes) is None))
    if by_browser(grants):
        if not fit:
            raise BadMetadata("the document lists no redirect URI that may be used")
        _response_types(document)
    return name_of(document), fit, grants


def _strings(asked: Json, name: str) -> list[str]:
    value = asked.get(name)
    if not isinstance(value, list) or len(value) > MAX_LIST or not all(isinstance(one, str) for one in value):
        raise BadMetadata(
            f"{name} is a list of at most {MAX_LIST} strings",
            "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata",
        )
    return cast(list[str], value)
