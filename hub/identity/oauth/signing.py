"""The keys that access tokens are signed with: one file, readable by its owner only, turned by itself.

The newest signs. Of one that it replaced only the public half is kept, until its last token has expired. Losing the
file costs every access token that is out, and clients get new ones with their refresh tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from hub.core.call import Json
from hub.core.errors import HubError
from hub.identity.private_file import write_private

log = logging.getLogger(__name__)

ALGORITHM: Final = "ES256"
CURVE: Final = "P-256"
TURN_S: Final = 30 * 86_400.0
LEEWAY_S: Final = 30.0  # of clocks that differ
MARK_BYTES: Final = 32
MOST: Final = 16  # keys; a clock that jumps about makes more than one a month


class SigningFailed(HubError):
    """The keys cannot be kept; the text says why and what to do next."""


@dataclass(frozen=True, slots=True)
class _Key:
    key: ECKey = field(repr=False)  # the newest with its private half, the others without
    kid: str  # RFC 7638
    made: float  # seconds since the epoch


class SigningKeys:
    """One file. Used while the directory's lock is held, by one process; threads may read while one turns."""

    def __init__(self, path: Path, token_s: float = 600.0, clock: Callable[[], float] = time.time) -> None:
        """`token_s` is the longest that a token is good for."""
        self._path, self._kept_s, self._clock = path, token_s + 2 * LEEWAY_S, clock
        self._keys: tuple[_Key, ...] = ()
        self._by_kid: dict[str, ECKey] = {}
        self._mark = b""

    def load(self) -> None:
        """Read what is there, and make what is missing or due. Raises SigningFailed."""
        keys, mark = self._read()
        self._mark = mark or secrets.token_bytes(MARK_BYTES)
        self._take(keys)
        if not self.turn() and not mark:
            self._write(self._keys)

    def current(self) -> tuple[str, ECKey]:
        """The id of the key that signs, and the key. Raises IndexError before `load`."""
        return self._keys[0].kid, self._keys[0].key

    def public(self, kid: str) -> ECKey | None:
        return self._by_kid.get(kid)

    def mark(self) -> bytes:
        """The secret by which the hub knows refresh tokens that it made once; as old as the file."""
        return self._mark

    def jwks(self) -> Json:
        """RFC 7517 §5: every public key that a good token may name, the newest first."""
        return {
            "keys": [
                {**key.key.as_dict(private=False), "kid": key.kid, "use": "sig", "alg": ALGORITHM} for key in self._keys
            ]
        }

    def turn(self) -> bool:
        """Make a new key when it is time, and forget old ones; durable when it returns. Raises SigningFailed."""
        now, keys = self._clock(), self._keys
        if not keys or not keys[0].key.is_private or not 0 <= now - keys[0].made < TURN_S:
            keys = (_made(ECKey.generate_key(CURVE), now), *keys)
        # a key signed until its successor was made
        kept = keys[:1] + tuple(
            _without_private(key) for key, next in zip(keys[1:], keys, strict=False) if now - next.made < self._kept_s
        )
        kept = kept[:MOST]
        if [key.kid for key in kept] == [key.kid for key in self._keys]:
            return False
        self._write(kept)
        self._take(kept)
        return True

    def _take(self, keys: tuple[_Key, ...]) -> None:
        self._by_kid = {key.kid: key.key for key in keys}
        self._keys = keys

    def _read(self) -> tuple[tuple[_Key, ...], bytes]:
        try:
            data = self._path.read_bytes()
            if self._path.stat().st_mode & 0o077:
                self._path.chmod(0o600)
        except FileNotFoundError:
            return (), b""
        except OSError as exc:
            raise SigningFailed(f"{self._path} cannot be read: {exc.strerror}") from exc
        try:
            kept = json.loads(data)
            mark = base64.b64decode(kept["mark"], validate=True)
            if len(mark) != MARK_BYTES:
                raise ValueError("no mark")
            return tuple(_key(row) for row in kept["keys"]), mark
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, JoseError):
            log.warning("%s is damaged and made anew: clients have to ask for new access tokens", self._path)
            return (), b""

    def _write(self, keys: tuple[_Key, ...]) -> None:
        rows = [{"jwk": key.key.as_dict(private=key.key.is_private), "made": key.made} for key in keys]
        data = json.dumps({"keys": rows, "mark": base64.b64encode(self._mark).decode()}).encode()
        try:
            write_private(self._path, data)
        except OSError as exc:
            raise SigningFailed(f"{self._path} cannot be written: {exc.strerror}; free the disk") from exc


def _made(key: ECKey, made: float) -> _Key:
    return _Key(key, key.thumbprint(), made)


def _without_private(key: _Key) -> _Key:
    if not key.key.is_private:
        return key
    return _Key(ECKey.import_key(key.key.as_dict(private=False)), key.kid, key.made)


def _key(row: Any) -> _Key:
    key, made = ECKey.import_key(row["jwk"]), row["made"]
    if key.curve_name != CURVE or isinstance(made, bool) or not isinstance(made, int | float):
        raise ValueError("no key")
    return _made(key, float(made))
