"""Small things that have to be read again, sealed under one key of the data directory: AES-256-GCM.

The vault's secrets have keys of their own; this is for what goes when the data directory's keys go.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12


class KeySealer:
    """What users and the authorization server ask for as `Sealer`."""

    def __init__(self, key: bytes) -> None:
        """`key` has 32 bytes."""
        self._aead = AESGCM(key)

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, plain, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        """None: sealed by another key, altered, or bound to something else."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except (InvalidTag, ValueError):
            return None
