from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.chain import canonical
from hub.audit.digest import BIG_BYTES, Digest, pieces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@pytest.mark.parametrize("key", [b"k" * 32, b"k" * 64, b"k" * 100])
def test_is_hmac_sha256_over_canonical_json(key: bytes) -> None:
    value = {"b": 1, "a": "é"}
    assert Digest(key).of(value) == hmac.new(key, canonical(value), sha256).hexdigest()


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Digest(b"short")


@given(JSON)
def test_big_and_small_values_are_hashed_alike(value: Any) -> None:
    digest = Digest(b"k" * 32)
    assert digest.of(value, BIG_BYTES) == digest.of(value)
    assert b"".join(pieces(value, 2)) == canonical(value)


def test_key_order_does_not_matter_and_content_does() -> None:
    digest = Digest(b"k" * 32)
    assert digest.of({"a": 1, "b": 2}) == digest.of({"b": 2, "a": 1})
    assert digest.of({"a": 1}) != digest.of({"a": 2})
    assert digest.of({"a": 1}) != Digest(b"j" * 32).of({"a": 1})


def test_no_value_stops_the_hashing_of_a_big_one() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    digest = Digest(b"k" * 32)
    for value in ({1: "x", "b": object()}, {"\ud800": ["\udfff"]}, deep):
        assert len(digest.of(value, BIG_BYTES)) == len(digest.of(value)) == 64
