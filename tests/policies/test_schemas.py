"""Hostile schemas: nothing is fetched, nothing runs for long, nothing unusable passes for valid."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from policies.schemas import Compiled, Schemas, Uncompilable, count_values

DEEP: dict[str, Any] = {"type": "string"}
for _ in range(80):
    DEEP = {"properties": {"a": DEEP}}


def a_bomb(levels: int) -> dict[str, Any]:
    """Each level refers to the next one twice."""
    defs: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]} for i in range(levels)
    }
    return {"$defs": {**defs, f"d{levels}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def compiled(schema: Any, schemas: Schemas | None = None) -> Compiled:
    made = (schemas or Schemas()).compile(schema)
    assert isinstance(made, Compiled), made
    return made


def why(schema: Any, schemas: Schemas | None = None) -> str:
    made = (schemas or Schemas()).compile(schema)
    assert isinstance(made, Uncompilable)
    return made.why


def test_the_dialect_is_2020_12_unless_it_says_otherwise() -> None:
    prefixed = {"prefixItems": [{"type": "string"}]}
    assert not compiled(prefixed).accepts([1])
    assert compiled({"$schema": "http://json-schema.org/draft-07/schema#", **prefixed}).accepts([1])
    assert not compiled({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}).accepts(
        [1]
    )
    assert compiled(True).accepts({"anything": None})
    assert not compiled(False).accepts(1)


@pytest.mark.parametrize(
    "dialect", ["https://example.com/own-dialect", 7, "", "http://json-schema.org/draft-99/schema#"]
)
def test_an_unknown_dialect_is_refused(dialect: Any) -> None:
    assert why({"$schema": dialect, "type": "object"})


@pytest.mark.parametrize(
    "schema", [None, 3, "x", ["object"], {"type": "strin"}, {"pattern": "("}, {"$ref": "#/$defs/no"}]
)
def test_what_is_no_schema_is_refused_in_words(schema: Any) -> None:
    assert 0 < len(why(schema)) <= 200


def test_a_reference_to_the_network_is_never_followed() -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            try:
                server.accept()[0].close()
                asked.set()
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        for schema in (
            {"$ref": url},
            {"$schema": url},
            {"$id": url, "$ref": "other.json"},
            {"properties": {"a": {"$dynamicRef": url + "#/a"}}},
            {"$defs": {"unused": {"$ref": url}}},
        ):
            assert isinstance(Schemas().compile(schema), Uncompilable)
        assert not asked.is_set()
        socket.create_connection(server.getsockname()).close()  # the server did listen
        thread.join(5)
        assert asked.is_set()


def test_a_reference_to_a_file_is_never_followed(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"type": "string"}')
    assert "another document" in why({"$ref": path.as_uri()})
    assert "another document" in why({"$ref": str(path)})


def test_references_inside_the_document_work() -> None:
    by_pointer = {"$defs": {"a/b": {"type": "integer"}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}}
    by_anchor = {"$defs": {"n": {"$anchor": "num", "type": "integer"}}, "properties": {"x": {"$ref": "#num"}}}
    by_index = {"allOf": [{"properties": {"x": {"type": "integer"}}}], "$ref": "#/allOf/0"}
    by_id = {
        "$id": "https://e.com/s",
        "$defs": {"n": {"type": "integer"}},
        "properties": {"x": {"$ref": "https://e.com/s#/$defs/n"}},
    }
    for schema in (by_pointer, by_anchor, by_index, by_id):
        assert compiled(schema).accepts({"x": 1})
        assert not compiled(schema).accepts({"x": "1"})


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$defs": {"a": {"$id": "https://e.com/x"}}}, "$id of its own"),
        ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "given twice"),
        ({"$ref": "#/allOf/7", "allOf": [True]}, ""),
    ],
)
def test_names_that_could_mean_two_things_are_refused(schema: Any, words: str) -> None:
    assert words in why(schema)


def test_size_and_depth_are_bounded() -> None:
    assert "bytes" in why({"enum": ["x" * 1000]}, Schemas(max_bytes=500))
    assert "deep" in why(DEEP)
    nested: dict[str, Any] = {}
    for _ in range(5000):
        nested = {"not": nested}
    assert why(nested)


def test_a_schema_that_writes_out_without_measure_is_refused_at_once() -> None:
    started = time.monotonic()
    assert "write out" in why(a_bomb(60))
    assert "write out" in why(a_bomb(20))
    assert compiled(a_bomb(10)).accepts("x")
    assert time.monotonic() - started < 2


def test_a_long_chain_of_references_is_an_answer_and_no_crash() -> None:
    links = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)}
    assert why({"$defs": {**links, "d3000": True}, "$ref": "#/$defs/d0"})
    short = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(100)}
    assert compiled({"$defs": {**short, "d100": {"type": "string"}}, "$ref": "#/$defs/d0"}).accepts("x")


def test_a_pattern_that_backtracks_for_ever_elsewhere_runs_in_linear_time() -> None:
    started = time.monotonic()
    assert not compiled({"pattern": "^(a+)+$"}).accepts("a" * 1_000_000 + "!")
    assert why({"pattern": "^(a{1000}){1000}$"})
    assert time.monotonic() - started < 2


def test_patterns_with_look_around_work_on_short_strings_and_refuse_long_ones() -> None:
    email = r"^(?!\.)(?!.*\.\.)[a-z.]+@[a-z.]+$"
    schema = {
        "type": "object",
        "properties": {
            "to": {"type": "string", "pattern": email, "allOf": [{"minLength": 3}]},
            "body": {"type": "string"},
        },
        "$defs": {
            "unused": {
                "anyOf": [{"pattern": email}, {"items": {"pattern": email}}],
                "not": {"allOf": [True, {"pattern": email}]},
            }
        },
    }
    made = compiled(schema)
    assert made.accepts({"to": "a.b@c.de", "body": "x" * 100_000})
    assert not made.accepts({"to": "a..b@c.de"})
    assert not made.accepts({"to": "a" * 600 + "@c.de"})
    assert made.accepts({"to": "a" * 500 + "@c.de"})


def test_a_pattern_with_look_around_that_is_evil_costs_milliseconds() -> None:
    made = compiled({"items": {"pattern": "^(?:(?!.*z)x)*y"}})
    started = time.monotonic()
    assert not made.accepts(["x" * 512] * 100)
    assert time.monotonic() - started < 2
    assert made.unaffordable(["x"] * 1000, 5000) is not None
    assert made.unaffordable(["x"], 5) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"^(?!x)": {}}},
        {"x-own": {"pattern": "(?!x)"}, "$ref": "#/x-own"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "default": {"pattern": "(?!x)"}},
    ],
)
def test_a_pattern_with_look_around_that_cannot_be_bounded_is_refused(schema: Any) -> None:
    assert "look-around" in why(schema)


def test_what_could_take_long_is_known_before_it_runs() -> None:
    many_patterns = compiled({"allOf": [{"pattern": f"a{i}"} for i in range(1000)], "patternProperties": {"b": {}}})
    assert many_patterns.unaffordable("x", 1000) is None
    assert many_patterns.unaffordable("x", 4_000_000) is not None
    many_branches = compiled({"items": {"anyOf": [{"const": i} for i in range(5000)]}})
    assert many_branches.unaffordable([1] * 10, 20) is None
    assert many_branches.unaffordable(["x" * 500_000], 500_000) is None
    assert many_branches.unaffordable([1] * 500_000, 1_000_000) is not None


def test_a_recursive_schema_is_known_as_one() -> None:
    tree = {"$defs": {"n": {"properties": {"left": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    assert compiled(tree).weight.recursive
    assert not compiled({"properties": {"a": True}}).weight.recursive
    assert compiled({"$ref": "#"}).accepts(1)


def test_what_cannot_be_checked_is_not_accepted() -> None:
    made = compiled({"type": "string"})
    assert not made.accepts("\ud800")
    assert list(made.errors("\ud800")) == []
    assert made.first_error("\ud800") == ()
    assert made.first_error("x") == ()
    assert len(made.first_error(1)) == 1


def test_integers_beyond_64_bits_and_floats_are_judged_exactly() -> None:
    assert compiled({"type": "integer", "minimum": 2**70}).accepts(2**70)
    assert not compiled({"type": "integer", "minimum": 2**70}).accepts(2**70 - 1)
    assert compiled({"type": "integer"}).accepts(1.0)


def test_a_schema_is_compiled_once_for_its_hash_and_direction_and_the_oldest_goes_first() -> None:
    schemas = Schemas(capacity=2)
    first = schemas.get("a", "input", {"type": "string"})
    assert schemas.get("a", "input", {"type": "string"}) is first
    assert schemas.get("a", "output", {"type": "integer"}) is not first
    schemas.get("b", "input", {"type": "integer"})
    assert schemas.get("a", "input", {"type": "string"}) is not first
    broken = schemas.get("c", "input", None)
    assert isinstance(broken, Uncompilable)
    assert schemas.get("c", "input", None) is broken


def test_headers_are_noticed() -> None:
    assert compiled({"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}).has_headers
    assert not compiled({"properties": {"a": {"type": "string"}}}).has_headers


def test_every_value_counts() -> None:
    assert count_values({"a": [1, "x", {"b": None}], "c": (2,)}) == 8


def test_the_schema_given_is_not_touched() -> None:
    schema = {"properties": {"a": {"pattern": "(?!x)"}}}
    compiled(schema)
    assert schema == {"properties": {"a": {"pattern": "(?!x)"}}}
