"""Where the words of a JSON value stand."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.texts import masked, strings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "type", "uri", "data"]), inner, max_size=4)
    ),
)


def every(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, child in value.items() for text in (key, *every(child))]
    return [text for child in value for text in every(child)] if isinstance(value, list) else []


@given(JSON)
def test_every_string_and_key_is_there(value: Any) -> None:
    assert sorted(strings(value)) == sorted(every(value))


@pytest.mark.parametrize("kind", [["string", "null"], {"a": 1}, None, 1])
def test_type_of_a_schema_may_be_anything(kind: Any) -> None:
    assert sorted(strings({"type": kind, "data": "x"})) == sorted(["type", "data", "x", *every(kind)])
    assert masked({"type": kind, "data": "x"}, str.upper)["data"] == "X"


def test_bytes_of_a_block_are_no_words() -> None:
    assert "QUJD" not in strings({"content": [{"type": "image", "mimeType": "image/png", "data": "QUJD"}]})
    assert "QUJD" not in strings({"uri": "a:b", "blob": "QUJD"})
    assert "QUJD" in strings({"blob": "QUJD"})
    assert "QUJD" in strings({"type": "text", "data": "QUJD"})


def test_mappings_and_tuples_are_read_like_objects_and_lists() -> None:
    assert sorted(strings(MappingProxyType({"a": ("b", MappingProxyType({"c": "d"}))}))) == ["a", "b", "c", "d"]
