from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound

from hub.wire import headers
from hub.wire.headers import annotation_fault, mismatch, param_headers, routing_headers, routing_mismatch

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "deep": {"type": "object", "properties": {"id": {"type": "string", "x-mcp-header": "Deep-Id"}}},
        "free": {"type": "string"},
    },
}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_header_values_round_trip_and_are_safe(value: str) -> None:
    encoded = headers.encode_value(value)
    assert headers.decode_value(encoded) == value
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert not any(ord(c) < 32 for c in encoded)


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.from_regex(r"=\?base64\?[A-Za-z0-9+/=]{0,8}\?=", fullmatch=True)
)
def test_header_values_are_coded_as_the_reference_sdk_codes_them(value: str) -> None:
    if "\n" not in value:
        assert headers.decode_value(value) == inbound.decode_header_value(value)
    assert headers.decode_value(inbound.encode_header_value(value)) == value


def test_a_legacy_request_has_the_version_header_only() -> None:
    assert routing_headers("tools/call", {"name": "t"}, "2025-11-25") == {"MCP-Protocol-Version": "2025-11-25"}


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "t"}, "t"),
        ("prompts/get", {"name": "ä"}, "=?base64?w6Q=?="),
        ("resources/read", {"uri": "file:///a b"}, "file:///a b"),
        ("tools/list", {"name": "t"}, None),
        ("tools/call", {}, None),
    ],
)
def test_a_modern_request_repeats_its_method_and_name(method: str, params: Any, name: str | None) -> None:
    made = routing_headers(method, params, "2026-07-28")
    assert made["Mcp-Method"] == method
    assert made.get("Mcp-Name") == name
    lower = {key.lower(): value for key, value in made.items()}
    assert routing_mismatch({"method": method, "params": params}, "2026-07-28", lower) is None


GOOD = {"mcp-protocol-version": "v", "mcp-method": "tools/call", "mcp-name": "t"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mcp-protocol-version": None}, "missing"),
        ({"mcp-protocol-version": "w"}, "Version"),
        ({"mcp-method": None}, "Mcp-Method"),
        ({"mcp-method": "tools/list"}, "Mcp-Method"),
        ({"mcp-name": None}, "Mcp-Name"),
        ({"mcp-name": "T"}, "Mcp-Name"),
        ({"mcp-name": "t, t"}, "Mcp-Name"),
        ({"mcp-name": "=?base64?dA=?="}, "Mcp-Name"),
        ({"mcp-name": "=?base64?dB==?="}, "Mcp-Name"),
        ({"mcp-name": "=?base64?/w==?="}, "Mcp-Name"),
    ],
)
def test_a_header_that_disagrees_with_the_body_is_named(changed: dict[str, str | None], words: str) -> None:
    given_headers = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    found = routing_mismatch({"method": "tools/call", "params": {"name": "t"}}, "v", given_headers)
    assert found is not None
    assert words in found


def test_a_method_without_a_name_needs_no_name_header() -> None:
    given_headers = {"mcp-protocol-version": "v", "mcp-method": "tools/list"}
    assert routing_mismatch({"method": "tools/list"}, "v", given_headers) is None


def test_a_name_in_base64_is_read_before_it_is_compared() -> None:
    message = {"method": "tools/call", "params": {"name": "t"}}
    assert routing_mismatch(message, "v", {**GOOD, "mcp-name": "=?base64?dA==?="}) is None


def test_headers_are_made_of_annotated_arguments() -> None:
    arguments = {"region": "eu west ", "count": 7, "dry": False, "deep": {"id": "x"}, "free": "y"}
    assert param_headers("s1", SCHEMA, arguments) == {
        "Mcp-Param-Region": "=?base64?ZXUgd2VzdCA=?=",
        "Mcp-Param-Count": "7",
        "Mcp-Param-Dry": "false",
        "Mcp-Param-Deep-Id": "x",
    }


@pytest.mark.parametrize("arguments", [{}, {"region": None, "deep": "no object", "count": [], "dry": {}}])
def test_absent_and_unwritable_arguments_have_no_header(arguments: Any) -> None:
    assert param_headers("s1", SCHEMA, arguments) == {}
    assert mismatch("s1", SCHEMA, arguments, ()) is None


def test_a_schema_without_annotations_asks_for_no_headers() -> None:
    assert mismatch("s0", {"type": "object"}, {"region": "eu"}, [("mcp-param-region", "us")]) is None


def test_numbers_too_long_to_write_have_no_header() -> None:
    assert param_headers("s1", SCHEMA, {"count": 10**5000}) == {}


@pytest.mark.parametrize(
    ("arguments", "given_headers", "words"),
    [
        ({"region": "eu"}, [], "missing"),
        ({}, [("mcp-param-region", "eu")], "is not"),
        ({"region": None}, [("Mcp-Param-Region", "")], "is not"),
        ({"region": {}}, [("Mcp-Param-Region", "{}")], "is not"),
        ({"region": "eu"}, [("Mcp-Param-Region", "us")], "differ"),
        ({"region": "eu"}, [("Mcp-Param-Region", "eu"), ("mcp-param-REGION", "eu")], "more than once"),
        ({"region": "eu"}, [("Mcp-Param-Region", "=?base64?!?=")], "malformed"),
        ({"count": 42}, [("mcp-param-count", "43.0")], "differ"),
        ({"count": 42}, [("mcp-param-count", "42.5")], "differ"),
        ({"count": 42}, [("mcp-param-count", "4.2e1")], "differ"),
        ({"count": 1.5}, [("mcp-param-count", "1")], "differ"),
        ({"count": True}, [("mcp-param-count", "1")], "differ"),
        ({"count": "42"}, [("mcp-param-count", "42.0")], "differ"),
        ({"dry": True}, [("mcp-param-dry", "True")], "differ"),
        ({"deep": {"id": "x"}}, [("mcp-param-deep-id", "y")], "deep.id"),
    ],
)
def test_a_param_header_that_disagrees_with_its_argument_is_named(
    arguments: Any, given_headers: Any, words: str
) -> None:
    found = mismatch("s1", SCHEMA, arguments, given_headers)
    assert found is not None
    assert words in found
    assert inbound.validate_mcp_param_headers(SCHEMA, arguments, _multi(given_headers)) is not None


@pytest.mark.parametrize(
    ("arguments", "given_headers"),
    [
        ({"region": "eu", "count": 42}, [("MCP-PARAM-REGION", "eu"), ("mcp-param-count", "42.00")]),
        ({"count": 42.0}, [("mcp-param-count", "42")]),
        ({"count": 2**60 + 1}, [("mcp-param-count", str(2**60 + 1))]),
        ({"dry": True}, [("mcp-param-dry", "=?base64?dHJ1ZQ==?=")]),
        ({"free": "x"}, [("mcp-param-free", "anything")]),
    ],
)
def test_param_headers_that_agree_pass(arguments: Any, given_headers: Any) -> None:
    assert mismatch("s1", SCHEMA, arguments, given_headers) is None


class _Pairs(dict[str, str]):
    """A mapping that gives up its doubled entries, as the SDK wants to see them."""

    pairs: list[tuple[str, str]]

    def items(self) -> Any:
        return self.pairs


def _multi(pairs: list[tuple[str, str]]) -> Any:
    made = _Pairs()
    made.pairs = pairs
    return made


PART = {"type": "string", "x-mcp-header": "A"}
SCHEMAS: list[tuple[Any, bool]] = [
    (SCHEMA, True),
    ({}, True),
    (None, True),
    ({"x-mcp-header": "A"}, False),
    ({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}, False),
    ({"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}}, False),
    ({"properties": {"a": {"type": "string", "x-mcp-header": "A b"}}}, False),
    ({"properties": {"a": {"type": "string", "x-mcp-header": ""}}}, False),
    ({"properties": {"a": {"type": "string", "x-mcp-header": 1}}}, False),
    ({"properties": {"a": PART, "b": {**PART, "x-mcp-header": "a"}}}, False),
    ({"anyOf": [{"properties": {"a": PART}}]}, False),
    ({"items": {"properties": {"a": PART}}}, False),
    ({"$defs": {"d": PART}}, False),
    ({"properties": {"a": {"items": PART}}}, False),
    ({"properties": {"a": {"default": PART, "enum": [PART]}}}, True),
    ({"properties": {"properties": PART}}, True),
    ({"properties": 1, "allOf": 1, "$defs": 1}, True),
]


@pytest.mark.parametrize(("schema", "valid"), SCHEMAS)
def test_annotations_are_judged_as_the_reference_sdk_judges_them(schema: Any, valid: bool) -> None:
    assert (annotation_fault(schema) is None) is valid
    assert (inbound.find_invalid_x_mcp_header(schema) is None) is valid


@pytest.mark.parametrize(("schema", "valid"), SCHEMAS)
def test_a_schema_with_invalid_annotations_asks_for_no_headers(schema: Any, valid: bool) -> None:
    if not valid:
        assert param_headers(f"bad-{SCHEMAS.index((schema, valid))}", schema, {"a": "x"}) == {}


def test_the_memory_of_schemas_is_bounded_and_forgetting_changes_nothing() -> None:
    for n in range(5000):
        assert param_headers(f"many-{n}", SCHEMA, {"count": n}) == {"Mcp-Param-Count": str(n)}
    assert len(headers._plans) <= 4096
    assert param_headers("many-0", SCHEMA, {"count": 1}) == {"Mcp-Param-Count": "1"}


@given(
    st.dictionaries(
        st.sampled_from(["region", "count", "dry", "free"]), st.text(max_size=5) | st.integers() | st.booleans()
    )
)
def test_what_the_hub_sends_is_what_the_hub_accepts(arguments: Any) -> None:
    assert mismatch("s1", SCHEMA, arguments, tuple(param_headers("s1", SCHEMA, arguments).items())) is None
    theirs = inbound.mcp_param_headers(inbound.x_mcp_header_map(SCHEMA), arguments)
    assert param_headers("s1", SCHEMA, arguments) == theirs
