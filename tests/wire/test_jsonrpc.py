from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.wire import jsonrpc
from hub.wire.jsonrpc import MAX_DEPTH, Malformed, dumps, loads, shape

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_survives_the_round_trip(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(JSON)
def test_it_reads_what_another_encoder_wrote(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64, 10**300])
def test_integers_of_any_size_stay_exact(number: int) -> None:
    assert dumps(loads(str(number).encode())) == str(number).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "ends too early"),
        (b'{"a":', "ends too early"),
        (b"{'a': 1}", "byte"),
        (b"[1,]", "trailing comma"),
        (b"1 2", "trailing characters"),
        (b"NaN", "invalid character"),
        (b"Infinity", "invalid character"),
        (b"1e400", "out of range"),
        (b"1" * 10_000, "out of range"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800 and more text"', "surrogate"),
        (b'"\\ud800\\u0041"', "surrogate"),
        (b'"\\udc00 x"', "surrogate"),
        (b"\xef\xbb\xbf1", "invalid character"),
        (b'"a\nb"', "invalid character"),
        (b"[" * 100_000, "deeper"),
        (b'{"a":' * 100_000, "deeper"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deeper"),
    ],
)
def test_what_is_no_json_of_the_hub_is_refused_in_words(text: bytes, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        loads(text)
    assert words in str(caught.value)


def test_a_fault_quotes_nothing_of_the_input() -> None:
    with pytest.raises(Malformed) as caught:
        loads(b'{"password": "hunter2", }')
    assert "hunter2" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_nesting_up_to_the_limit_and_many_flat_brackets_are_fine() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert loads(b'"' + b"[" * 1000 + b'"') == "[" * 1000
    assert len(loads(b"[" + b"{}," * 999 + b"[]]")) == 1000


@given(st.lists(st.sampled_from([b"{", b"[", b"]", b"a"]), max_size=12).map(b"".join), st.integers(0, 6))
def test_what_opens_is_counted_up_to_a_limit(raw: bytes, limit: int) -> None:
    assert jsonrpc._opens_more(raw, limit) == (raw.count(b"{") + raw.count(b"[") > limit)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read(kind: Any) -> None:
    assert loads(kind(b'{"a":1}')) == {"a": 1}
    with pytest.raises(Malformed):
        loads(kind(b"[" * 200 + b"]" * 200))


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, object()])
def test_what_json_cannot_say_is_not_written(value: Any) -> None:
    with pytest.raises(Malformed):
        dumps(value)


def test_messages_are_built_as_json_rpc_has_them() -> None:
    assert jsonrpc.request("a", "ping") == {"jsonrpc": "2.0", "id": "a", "method": "ping"}
    assert jsonrpc.request(1, "m", {"x": 1})["params"] == {"x": 1}
    assert jsonrpc.notification("n") == {"jsonrpc": "2.0", "method": "n"}
    assert jsonrpc.notification("n", {})["params"] == {}
    assert jsonrpc.result(1, {}) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert jsonrpc.error(None, -1, "m") == {"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "m"}}
    assert jsonrpc.error(1, -1, "m", {})["error"]["data"] == {}


V = {"jsonrpc": "2.0"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({**V, "id": 1, "method": "m"}, "request"),
        ({**V, "id": "", "method": "m", "params": {}}, "request"),
        ({**V, "method": "m"}, "notification"),
        ({**V, "id": 1, "result": None}, "response"),
        ({**V, "id": "a", "error": {}}, "response"),
        ({**V, "id": None, "error": {}}, "response"),
        ({**V, "id": None, "result": {}}, "invalid"),
        ({**V, "id": 1}, "invalid"),
        ({**V, "id": 1, "result": {}, "error": {}}, "invalid"),
        ({**V, "id": 1, "method": "m", "result": {}}, "invalid"),
        ({**V, "id": 1, "method": 7}, "invalid"),
        ({**V, "id": None, "method": "m"}, "invalid"),
        ({**V, "id": True, "method": "m"}, "invalid"),
        ({**V, "id": 1.5, "method": "m"}, "invalid"),
        ({**V, "id": {}, "method": "m"}, "invalid"),
        ({**V, "id": 1, "method": "m", "params": []}, "invalid"),
        ({**V, "id": 1, "method": "m", "params": None}, "invalid"),
        ({"jsonrpc": "1.0", "id": 1, "method": "m"}, "invalid"),
        ({"id": 1, "method": "m"}, "invalid"),
        ([{**V, "id": 1, "method": "m"}], "invalid"),
        ("m", "invalid"),
        (None, "invalid"),
    ],
)
def test_the_shape_of_a_message(message: Any, expected: str) -> None:
    assert shape(message) == expected
