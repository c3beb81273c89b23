"""Who gives tokens for a downstream: its protected resource metadata (RFC 9728), then that issuer's own (RFC 8414).

A server says for itself only what is at its own address: metadata of another resource ends the search, and so does
metadata of another issuer. Nothing here is a login yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

from hub.core.addresses import fit_url
from hub.core.call import Json
from hub.core.ports import Fetched, Fetcher, FetchRefused
from hub.identity.jwks import metadata_urls, strict
from hub.identity.outbound.errors import OutboundFailed, Unavailable, Unfit
from hub.identity.outbound.parties import AuthServer, Place, is_scope

MAX_BYTES: Final = 65_536
MAX_ISSUERS: Final = 10
MAX_LIST: Final = 500
KEPT_S: Final = 3600.0  # what an issuer said about itself
MOST: Final = 500  # issuers
_LATER: Final = (408, 425, 429)
_RESOURCE: Final = "/.well-known/oauth-protected-resource"


class Discovery:
    """One event loop uses it. What it raises: `Unavailable` and `Unfit`."""

    def __init__(
        self,
        fetcher: Fetcher,
        entered: Callable[[str], AuthServer | None] = lambda issuer: None,
        clock: Callable[[], float] = time,
    ) -> None:
        """`entered` gives an issuer an admin described, for those that publish nothing. `clock`: seconds since 1970."""
        self._fetcher, self._entered, self._clock = fetcher, entered, clock
        self._kept: OrderedDict[str, tuple[float, AuthServer]] = OrderedDict()

    async def place(self, url: str, said: str | None = None) -> Place:
        """The server at `url` by its metadata, which `said` is the address of when its challenge named one.

        Never remembered: the issuer that a server names may change with any challenge.
        """
        plain = is_plain(url)
        faults: list[OutboundFailed] = []
        for address in place_urls(url, said):
            document = await self._document(address, plain, faults)
            if document is not None:
                return place_in(document, url)
        raise _worst(faults, "the server has no metadata that says who gives tokens for it")

    async def server(self, issuer: str, *, anew: bool = False) -> AuthServer:
        """`anew`: not what it said a while ago. What it said last serves while it cannot be reached."""
        entered = self._entered(issuer)
        if entered is not None:
            return entered
        kept = self._kept.get(issuer)
        if kept is not None and not anew and 0 <= self._clock() - kept[0] < KEPT_S:
            return kept[1]
        try:
            found = await self._server(issuer)
        except Unavailable:
            if kept is None or anew:
                raise
            return kept[1]
        self._kept[issuer] = self._clock(), found
        self._kept.move_to_end(issuer)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return found

    async def _server(self, issuer: str) -> AuthServer:
        plain = is_plain(issuer)
        if "?" in issuer:
            raise Unfit("an issuer's name has no query")  # RFC 8414 §2
        faults: list[OutboundFailed] = []
        for address in metadata_urls(issuer):
            document = await self._document(address, plain, faults)
            if document is not None:
                return server_in(document, issuer)
        raise _worst(faults, f"the issuer {_host(issuer)} has no metadata")

    async def _document(self, url: str, plain: bool, faults: list[OutboundFailed]) -> Json | None:
        """None: there is none there, which `faults` tells about. Raises Unfit when the address may not be asked."""
        check_url(url, plain)
        try:
            fetched = await self._fetcher.get(url, max_bytes=MAX_BYTES)
        except FetchRefused as exc:
            faults.append(Unavailable(str(exc)))
            return None
        if fetched.status >= 500 or fetched.status in _LATER:
            faults.append(Unavailable(f"{_host(url)} answered with status {fetched.status}"))
        found = _object(fetched)
        if found is None:
            faults.append(Unfit(f"{_host(url)} has no metadata at any address where it could be"))
        return found


def place_urls(url: str, said: str | None) -> Iterator[str]:
    """In the order to be asked: the one named, the one with the path, the root's (RFC 9728 §3.1)."""
    if said is not None:
        yield said
    scheme, place, path, query, _ = urlsplit(url)
    suffix = ("" if path == "/" else path) + (f"?{query}" if query else "")
    if suffix:
        yield f"{scheme}://{place}{_RESOURCE}{suffix}"
    yield f"{scheme}://{place}{_RESOURCE}"


def place_in(document: Json, url: str) -> Place:
    """Raises Unfit when it is not about the server at `url`."""
    resource, issuers = document.get("resource"), document.get("authorization_servers")
    if not isinstance(resource, str) or not covers(resource, url):
        raise Unfit(
            "the server's metadata is about another resource than the server: its `resource` has to be the address "
            "the server is entered with, or one above it"
        )
    listed = _texts(issuers, MAX_ISSUERS)
    if not listed:
        raise Unfit("the server's metadata names no authorization server")
    for issuer in listed:
        check_url(issuer, is_plain(url))
    methods = document.get("bearer_methods_supported")
    if methods is not None and "header" not in (_texts(methods, MAX_LIST) or ()):
        raise Unfit("the server takes no token in a header")
    return Place(resource, listed, _scopes(document.get("scopes_supported")))


def server_in(document: Json, issuer: str) -> AuthServer:
    """Raises Unfit when it is another issuer's (RFC 8414 §3.3), or cannot be used."""
    if document.get("issuer") != issuer:
        raise Unfit(f"the metadata at the issuer {_host(issuer)} is another issuer's")
    plain = is_plain(issuer)
    token = _endpoint(document, "token_endpoint", plain)
    if token is None:
        raise Unfit(f"the metadata of the issuer {_host(issuer)} has no token_endpoint")
    grants, types = _texts(document.get("grant_types_supported")), _texts(document.get("response_types_supported"))
    return AuthServer(
        issuer=issuer,
        token_endpoint=token,
        authorization_endpoint=(
            _endpoint(document, "authorization_endpoint", plain) if types is None or "code" in types else None
        ),
        registration_endpoint=_endpoint(document, "registration_endpoint", plain),
        revocation_endpoint=_endpoint(document, "revocation_endpoint", plain),
        scopes=frozenset(_scopes(document.get("scopes_supported")) or ()),
        methods=_texts(document.get("token_endpoint_auth_methods_supported")),
        grants=None if grants is None else frozenset(grants),
        is_s256="S256" in (_texts(document.get("code_challenge_methods_supported")) or ()),
        is_cimd=document.get("client_id_metadata_document_supported") is True,
        is_naming=document.get("authorization_response_iss_parameter_supported") is True,
    )


def covers(resource: str, url: str) -> bool:
    """Whether the server at `url` is that resource or stands below it: same origin, and its path by whole segments."""
    try:
        whole, part = fit_url(resource, plain_loopback=True), fit_url(url, plain_loopback=True)
    except ValueError:
        return False
    if (whole.scheme, whole.host, whole.port) != (part.scheme, part.host, part.port):
        return False
    above, _, query = whole.path_and_query.partition("?")
    below, _, other = part.path_and_query.partition("?")
    return f"{below}/".startswith(above.removesuffix("/") + "/") and (not query or query == other)


def check_url(url: str, plain: bool) -> None:
    """`plain`: whoever named it is reached without TLS, on this machine. Raises Unfit."""
    try:
        fit_url(url, plain_loopback=plain)
    except ValueError as exc:
        raise Unfit(f"an address that was found on the way to the login cannot be asked: {exc}") from exc


def is_plain(url: str) -> bool:
    """Of a server or issuer on this machine. Raises Unfit for one elsewhere that is not https."""
    check_url(url, plain=True)
    return fit_url(url, plain_loopback=True).scheme == "http"


def _endpoint(document: Json, name: str, plain: bool) -> str | None:
    found = document.get(name)
    if found is None:
        return None
    if not isinstance(found, str):
        raise Unfit(f"the {name} of an issuer is no address")
    check_url(found, plain)
    return found


def _object(fetched: Fetched) -> Json | None:
    if fetched.status != 200:
        return None
    try:
        found = strict(fetched.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _texts(given: Any, most: int = MAX_LIST) -> tuple[str, ...] | None:
    """None: nothing is said. Raises Unfit."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > most or not all(isinstance(one, str) for one in given):
        raise Unfit(f"a list in the metadata is none, or has more than {most} entries")
    return tuple(given)


def _scopes(given: Any) -> tuple[str, ...] | None:
    listed: Sequence[str] | None = _texts(given)
    if listed is not None and not all(map(is_scope, listed)):
        raise Unfit("the metadata lists a scope that is none")
    return None if listed is None else tuple(dict.fromkeys(listed))


def _worst(faults: Sequence[OutboundFailed], words: str) -> OutboundFailed:
    """One that may go away by itself, if there is one: then nothing is known."""
    return next((fault for fault in faults if isinstance(fault, Unavailable)), Unfit(words))


def _host(url: str) -> str:
    return urlsplit(url).netloc[:255] or "?"
