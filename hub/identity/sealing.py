"""The keys that open questions are sealed with: a short list on disk, readable by its owner only, turned by itself.

The newest seals, all open. A new one is made every `TURN_S`; one that it replaced stays until nothing that it sealed
can still be valid, and is then gone for good. Losing the file costs nothing but the questions that are open.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.core.errors import HubError
from hub.identity.private_file import write_private
from hub.wire.seal import KEY_BYTES, SKEW_S, TTL_S

log = logging.getLogger(__name__)

TURN_S: Final = 7 * 86_400.0
KEPT_S: Final = TTL_S + 2 * SKEW_S  # of a key, from the moment its successor took over
LOOK_S: Final = 3600.0
MOST: Final = 16  # keys; a clock that jumps about makes more than one a week


class SealingFailed(HubError):
    """The keys cannot be kept; the text says why and what to do next."""


@dataclass(frozen=True, slots=True)
class _Key:
    secret: bytes
    made: float  # seconds since the epoch


class SealingKeys:
    """One file. Used while the directory's lock is held, by one process."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._keys: tuple[_Key, ...] = ()
        self._secrets: tuple[bytes, ...] = ()

    def load(self) -> None:
        """Read what is there, and make what is missing or due. Raises SealingFailed."""
        self._take(self._read())
        self.turn()

    def secrets(self) -> tuple[bytes, ...]:
        """The newest first; never empty once loaded."""
        return self._secrets

    def turn(self) -> bool:
        """Make a new key when it is time, and forget old ones; durable when it returns. Raises SealingFailed."""
        now, keys = self._clock(), self._keys
        if not keys or not 0 <= now - keys[0].made < TURN_S:
            keys = (_Key(secrets.token_bytes(KEY_BYTES), now), *keys)
        # a key sealed until its successor was made
        kept = keys[:1] + tuple(key for key, next in zip(keys[1:], keys, strict=False) if now - next.made < KEPT_S)
        kept = kept[:MOST]
        if kept == self._keys:
            return False
        self._write(kept)
        self._take(kept)
        return True

    def _take(self, keys: tuple[_Key, ...]) -> None:
        self._keys, self._secrets = keys, tuple(key.secret for key in keys)

    def _read(self) -> tuple[_Key, ...]:
        try:
            data = self._path.read_bytes()
            if self._path.stat().st_mode & 0o077:
                self._path.chmod(0o600)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise SealingFailed(f"{self._path} cannot be read: {exc.strerror}") from exc
        try:
            return tuple(_key(row) for row in json.loads(data)["keys"])
        except (ValueError, KeyError, TypeError, binascii.Error):
            log.warning("%s is damaged and made anew: calls that wait for an answer have to start again", self._path)
            return ()

    def _write(self, keys: tuple[_Key, ...]) -> None:
        rows = [{"key": base64.b64encode(key.secret).decode(), "made": key.made} for key in keys]
        try:
            write_private(self._path, json.dumps({"keys": rows}).encode())
        except OSError as exc:
            raise SealingFailed(f"{self._path} cannot be written: {exc.strerror}; free the disk") from exc


async def keep_turning(keys: SealingKeys, look_s: float = LOOK_S) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(look_s)
        try:
            if await asyncio.to_thread(keys.turn):
                log.info("the keys of open questions were turned")
        except SealingFailed as exc:
            log.warning("a new key for open questions could not be kept, the old one stays in use: %s", exc)


def _key(row: Any) -> _Key:
    secret, made = base64.b64decode(row["key"], validate=True), row["made"]
    if len(secret) != KEY_BYTES or isinstance(made, bool) or not isinstance(made, int | float):
        raise ValueError("no key")
    return _Key(secret, float(made))
