"""What was sealed opens under its key and for its purpose, whole, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.identity.sealer import KeySealer

KEY = bytes(range(32))


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_was_sealed_opens(plain: bytes, bound: bytes) -> None:
    sealer = KeySealer(KEY)
    assert sealer.open(sealer.seal(plain, bound), bound) == plain


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_changed_bit_opens_nothing(plain: bytes, data: st.DataObject) -> None:
    sealer = KeySealer(KEY)
    sealed = bytearray(sealer.seal(plain, b"row"))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    assert sealer.open(bytes(sealed), b"row") is None


def test_a_ciphertext_in_another_rows_place_does_not_open() -> None:
    sealer = KeySealer(KEY)
    assert sealer.open(sealer.seal(b"x", b"user:u1"), b"user:u2") is None
    assert KeySealer(bytes(32)).open(sealer.seal(b"x", b"user:u1"), b"user:u1") is None


@pytest.mark.parametrize("length", range(28))
def test_what_is_too_short_to_be_sealed_is_nothing(length: int) -> None:
    assert KeySealer(KEY).open(b"\0" * length, b"") is None
