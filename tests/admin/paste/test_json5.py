"""The tolerant reader: what people paste is read, what is wrong is told by line and column."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.admin.paste.json5 import MAX_CHARS, NotJson, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    assert read(json.dumps(value)) == value
    assert read(json.dumps(value, indent=2, ensure_ascii=False)) == value


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with suppress(NotJson):
        read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, 'b': \"c\", // d\n}", {"a": 1, "b": "c"}),
        ("# one\n/* two\n */ [1, 2,]", [1, 2]),
        ("'it\\'s'", "it's"),
        (
            r'"\x41\u00e9\q\
"',
            "Aéq",
        ),
        ('"a": 1, "b": 2,', {"a": 1, "b": 2}),
        ("[0x10, +1, -.5, 1e3, undefined]", [16, 1, -0.5, 1000.0, None]),
        ("\ufeff{};", {}),
        (r'"\ud83d\ude00"', "😀"),
    ],
)
def test_what_people_write_is_read(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ('{"a": 1', 1, 8, "ends inside the object that opens on line 1, column 1"),
        ('{"a"', 1, 5, "ends inside the object"),
        ('{"a":', 1, 6, "ends inside the object"),
        ('{\n"a": [1,\n', 3, 1, "ends inside the list that opens on line 2, column 6"),
        ('{"a": "b\n"}', 1, 7, "no end"),
        ('{"a": 1 "b": 2}', 1, 9, "',' or }"),
        ('{"a" 1}', 1, 6, "':'"),
        ('{"a": 1, "a": 2}', 1, 10, "given twice"),
        ("{“a”: 1}", 1, 2, "a key|typographic"),
        ("/* x", 1, 1, "no end"),
        ("{} }", 1, 4, "after the end"),
        ("", 1, 1, "ends where a value"),
        ("[" * 40, 1, 34, "deeper"),
        ('"\\u12"', 1, 2, "hexadecimal"),
        ("[1x]", 1, 2, "a value"),
        ("{1: 2}", 1, 2, "a key"),
        ("x" * (MAX_CHARS + 1), 1, 1, "longer"),
    ],
)
def test_a_mistake_is_told_where_it_stands(text: str, line: int, column: int, why: str) -> None:
    with pytest.raises(NotJson, match=why) as caught:
        read(text)
    assert (caught.value.line, caught.value.column) == (line, column)
