"""The keys of an issuer (RFC 7517), and where it publishes them (RFC 8414, OpenID Connect Discovery).

Only public keys for signatures are taken, each for the algorithms it fits. What an issuer says replaces what it said
before; while it says nothing, what it said last holds for a day. No token can make the hub ask more often than that an
issuer bears.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from hub.core.call import Json
from hub.core.ports import Fetcher, FetchRefused
from hub.identity.issuers import ALGORITHMS, Issuer, Unanswered
from hub.wire import jsonrpc

log = logging.getLogger(__name__)

MAX_BYTES: Final = 65_536
MAX_KEYS: Final = 100
UNKNOWN_S: Final = 30.0  # least between two fetches that tokens cause
FIRST_S: Final = 5.0  # the same, while no key is known at all
RENEW_S: Final = 600.0  # after that they are fetched again behind whoever asks: a key that is withdrawn ends
KEPT_S: Final = 86_400.0  # known keys, while the issuer does not answer
METADATA_S: Final = 3600.0
RSA_BITS: Final = (2048, 8192)
_WELL_KNOWN: Final = ("oauth-authorization-server", "openid-configuration")

PublicKey = RSAKey | ECKey | OKPKey


def strict(data: bytes) -> Any:
    """The value of one JSON text in which no object names a member twice. Raises ValueError."""
    value = jsonrpc.loads(data)
    json.loads(data, object_pairs_hook=_once)
    return value


@dataclass(frozen=True, slots=True)
class Key:
    public: PublicKey
    kid: str | None
    algorithms: frozenset[str]


class Jwks:
    """One issuer's keys. One event loop uses it."""

    def __init__(
        self, issuer: Issuer, fetcher: Fetcher, where: Callable[[], Awaitable[str]], clock: Callable[[], float] = time
    ) -> None:
        """`where` gives the address of the set, and raises `Unanswered`. `clock` gives seconds since 1970."""
        self._issuer, self._fetcher, self._where, self._clock = issuer, fetcher, where, clock
        self._keys: tuple[Key, ...] = ()
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._fault = "it was not asked yet"

    async def key(self, kid: str | None, algorithm: str) -> Key | None:
        """The one key that may have made such a signature. Raises `Unanswered` when no keys are known.

        Without a `kid` only where one key fits; of several of one name none is taken.
        """
        if not self._are_known():
            await self._fetch(FIRST_S)
            if not self._are_known():
                raise Unanswered(f"the issuer {self._issuer.name} told no keys: {self._fault}")
        found = self._find(kid, algorithm)
        if found is None:
            await self._fetch(UNKNOWN_S)
            return self._find(kid, algorithm)
        if not _within(RENEW_S, self._fetched_at, self._clock()):
            self._start(UNKNOWN_S)
        return found

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    def _are_known(self) -> bool:
        return _within(KEPT_S, self._fetched_at, self._clock())

    def _find(self, kid: str | None, algorithm: str) -> Key | None:
        fit = [key for key in self._keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fit[0] if len(fit) == 1 else None

    async def _fetch(self, least_s: float) -> None:
        """Wait for the fetch under way, or for a new one if it is time; else for nothing."""
        task = self._start(least_s)
        if task is not None:
            await asyncio.wait({task})

    def _start(self, least_s: float) -> asyncio.Task[None] | None:
        if self._fetching is None and not _within(least_s, self._asked_at, self._clock()):
            self._asked_at = self._clock()
            self._fetching = asyncio.create_task(self._load(), name=f"keys of {self._issuer.name}")
        return self._fetching

    async def _load(self) -> None:
        try:
            document = await ask(self._fetcher, self._issuer, await self._where())
            self._keys, self._fetched_at = keys_of(document, self._issuer.algorithms), self._clock()
        except Unanswered as exc:
            self._note(str(exc))
        except Exception as exc:  # the outermost of this task: keys that cannot be had are no keys
            self._note(f"its keys cannot be read ({type(exc).__name__})")
        finally:
            self._fetching = None

    def _note(self, fault: str) -> None:
        self._fault = fault
        log.warning("the keys of the issuer %s could not be fetched; those known stay: %s", self._issuer.name, fault)


class Metadata:
    """What an issuer says about itself, asked for when it is needed. One event loop uses it."""

    def __init__(self, issuer: Issuer, fetcher: Fetcher, clock: Callable[[], float] = time) -> None:
        self._issuer, self._fetcher, self._clock = issuer, fetcher, clock
        self._document: Json | None = None
        self._at: float | None = None
        self._asked_at: float | None = None
        self._fault = Unanswered(f"the issuer {issuer.name} was not asked yet")
        self._asking = asyncio.Lock()

    async def document(self) -> Json:
        """All that it says, of the issuer that was asked for. Raises `Unanswered`."""
        async with self._asking:
            if not _within(METADATA_S, self._at, self._clock()):
                await self._renew()
        if self._document is None:
            raise Unanswered(str(self._fault))
        return self._document

    async def address(self, name: str) -> str:
        """The address that stands under this name. Raises `Unanswered`."""
        found = (await self.document()).get(name)
        if not isinstance(found, str) or not found.startswith(("https://", "http://")) or len(found) > 2048:
            raise Unanswered(f"the metadata of the issuer {self._issuer.name} has no usable {name}")
        return found

    async def _renew(self) -> None:
        """If it is time; what it said before stays while it says nothing."""
        now = self._clock()
        if _within(FIRST_S, self._asked_at, now):
            return
        self._asked_at = now
        try:
            self._document = await self._ask()
            self._at = self._clock()
        except Unanswered as exc:
            self._fault = exc

    async def _ask(self) -> Json:
        """The first of its documents that there is; one of another issuer is an attack, or a mistake, and ends it."""
        fault = Unanswered("")
        for url in metadata_urls(self._issuer.issuer):
            try:
                document = await ask(self._fetcher, self._issuer, url)
            except Unanswered as exc:
                fault = exc
                continue
            if document.get("issuer") != self._issuer.issuer:  # RFC 8414 §3.3
                raise Unanswered(f"the metadata at the issuer {self._issuer.name} is another issuer's")
            return document
        raise fault


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """RFC 8414 §3 before the path, OpenID Connect before and after it."""
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    path = path.removesuffix("/")
    base = f"{scheme}://{host}/.well-known/"
    if not path:
        return tuple(base + name for name in _WELL_KNOWN)
    return (*(f"{base}{name}/{path}" for name in _WELL_KNOWN), f"{scheme}://{host}/{path}/.well-known/{_WELL_KNOWN[1]}")


async def ask(fetcher: Fetcher, issuer: Issuer, url: str) -> Json:
    """The object at an address of the issuer. Raises `Unanswered`."""
    try:
        fetched = await fetcher.get(url, max_bytes=MAX_BYTES)
    except FetchRefused as exc:
        raise Unanswered(f"the issuer {issuer.name} was not reached: {exc}") from exc
    return object_in(issuer, fetched.status, fetched.body)


def object_in(issuer: Issuer, status: int, body: bytes) -> Json:
    """What it answered. Raises `Unanswered`, quoting nothing of it."""
    if status != 200:
        raise Unanswered(f"the issuer {issuer.name} answered with status {status}")
    if len(body) > MAX_BYTES:
        raise Unanswered(f"the issuer {issuer.name} answered with more than {MAX_BYTES} bytes")
    try:
        document = strict(body)
    except ValueError as exc:
        raise Unanswered(f"the issuer {issuer.name} answered with something that is no JSON") from exc
    if not isinstance(document, dict):
        raise Unanswered(f"the issuer {issuer.name} answered with JSON that is no object")
    return document


def keys_of(document: Json, algorithms: tuple[str, ...]) -> tuple[Key, ...]:
    """The keys of a set that can be used here; the others are left out (RFC 7517 §5). Raises `Unanswered`."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise Unanswered(f"its answer is no set of at most {MAX_KEYS} keys")
    found = (_key(jwk, algorithms) for jwk in listed if isinstance(jwk, dict))
    return tuple(key for key in found if key is not None)


def _key(jwk: Json, algorithms: tuple[str, ...]) -> Key | None:
    kid, use, operations = jwk.get("kid"), jwk.get("use", "sig"), jwk.get("key_ops", ["verify"])
    if use != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if kid is not None and (not isinstance(kid, str) or len(kid) > 255):
        return None
    kind = jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None
    fit = frozenset(name for name in algorithms if ALGORITHMS[name] == kind and jwk.get("alg", name) == name)
    if not fit:
        return None
    try:
        return Key(_public(jwk), kid, fit)
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _public(jwk: Json) -> PublicKey:
    """Nothing but the public numbers is looked at: no certificate, no address, no private part."""
    if jwk["kty"] == "RSA":
        numbers = _only(jwk, "n", "e")
        modulus, exponent = (base64_to_int(numbers[name]).bit_length() for name in ("n", "e"))
        if not RSA_BITS[0] <= modulus <= RSA_BITS[1] or exponent > 33:
            raise ValueError("an RSA key of another size")
        return RSAKey.import_key({"kty": "RSA", **numbers})
    if jwk["kty"] == "EC":
        return ECKey.import_key({"kty": "EC", **_only(jwk, "crv", "x", "y")})
    return OKPKey.import_key({"kty": "OKP", **_only(jwk, "crv", "x")})


def _only(jwk: Json, *names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        value = jwk[name]
        if not isinstance(value, str) or len(value) > 1400:
            raise ValueError("no number of a key")
        found[name] = value
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found


def _within(seconds: float, since: float | None, now: float) -> bool:
    """A clock that was put back makes nothing last longer."""
    return since is not None and 0 <= now - since < seconds
