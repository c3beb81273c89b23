"""What may be listed: shapes, sizes, depths, and digests that do not depend on the order of members."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import Kind
from hub.downstream.definitions import MAX_DEPTH, canonical, digest, fault, steady, without_nulls
from tests.downstream.catalog_fakes import prompt, resource, template, tool


def nested(levels: int) -> Any:
    value: Any = "leaf"
    for level in range(levels):
        value = {"x": value} if level % 2 else [value]
    return value


GOOD: list[tuple[Kind, Any]] = [
    ("tool", tool()),
    ("tool", tool("x" * 512, title="T", description="", annotations={}, icons=[], _meta={}, outputSchema={}, odd=[1])),
    ("tool", tool(inputSchema={"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}})),
    ("prompt", prompt()),
    ("prompt", prompt(arguments=[{"name": "a", "required": True}, {"name": "b"}])),
    ("resource", resource(mimeType="text/plain", size=5)),
    ("template", template()),
]

BAD: list[tuple[Kind, Any, str]] = [
    ("tool", {"inputSchema": {"type": "object"}}, "'name' must be a string that is not empty"),
    ("tool", tool(""), "not empty"),
    ("tool", {**tool(), "name": 5}, "not empty"),
    ("tool", tool("x" * 513), "longer than 512"),
    ("tool", {"name": "t"}, "'inputSchema' must be an object"),
    ("tool", tool(inputSchema=[]), "'inputSchema' must be an object"),
    ("tool", tool(inputSchema=True), "'inputSchema' must be an object"),
    ("tool", tool(inputSchema={}), "must have the type 'object'"),
    ("tool", tool(inputSchema={"type": ["object"]}), "must have the type 'object'"),
    ("tool", tool(outputSchema=[]), "'outputSchema' must be an object"),
    ("tool", tool(description=5), "'description' must be a string"),
    ("tool", tool(annotations="x"), "'annotations' must be an object"),
    ("tool", tool(icons={}), "'icons' must be a list"),
    ("tool", tool(x=nested(MAX_DEPTH + 5)), "deeper than"),
    (
        "tool",
        tool(inputSchema={"type": "object", "properties": {"a": {"type": "array", "x-mcp-header": "A"}}}),
        "input",
    ),
    ("prompt", {"name": ""}, "not empty"),
    ("prompt", prompt(arguments={}), "'arguments' must be a list"),
    ("prompt", prompt(arguments=["x"]), "objects with a 'name'"),
    ("prompt", prompt(arguments=[{"name": 5}]), "objects with a 'name'"),
    ("prompt", prompt(arguments=[{"name": "a", "required": "yes"}]), "'required'"),
    ("resource", {"uri": "a://b"}, "'name' must be a string"),
    ("resource", {"name": "n"}, "'uri' must be a string"),
    ("resource", resource("a://" + "x" * 8192), "longer than 8192"),
    ("template", {"uriTemplate": "a://{b}", "name": 5}, "'name' must be a string"),
    ("template", {"name": "n", "uri": "a://b"}, "'uriTemplate' must be"),
]


@pytest.mark.parametrize(("kind", "definition"), GOOD)
def test_a_sound_definition_has_no_fault(kind: Kind, definition: Any) -> None:
    assert fault(kind, definition) is None


@pytest.mark.parametrize(("kind", "definition", "why"), BAD)
def test_a_malformed_definition_is_refused_with_the_member_named(kind: Kind, definition: Any, why: str) -> None:
    found = fault(kind, definition)
    assert found is not None
    assert why in found


def test_a_hostile_depth_does_not_exhaust_the_stack() -> None:
    assert "deeper" in str(fault("tool", tool(x=nested(50_000))))


def test_optional_nulls_are_absent_and_other_members_stay() -> None:
    given = tool(description=None, outputSchema=None, odd=None, title="T")
    assert without_nulls(given) == tool(odd=None, title="T")
    assert "description" in given


def test_a_definition_without_nulls_is_the_same_object() -> None:
    given = tool(odd=None)
    assert without_nulls(given) is given


def test_the_digest_is_of_the_whole_definition_and_not_of_its_order() -> None:
    one, other = {"a": 1, "b": {"c": 2**70, "d": "é"}}, {"b": {"d": "é", "c": 2**70}, "a": 1}
    assert digest(canonical(one)) == digest(canonical(other))
    assert digest(canonical(one)) != digest(canonical({**one, "_meta": {}}))


def test_approval_of_a_resource_is_not_about_its_present_contents() -> None:
    given = resource(size=5, annotations={"lastModified": "2026", "priority": 1})
    assert steady("resource", given) == resource(annotations={"priority": 1})
    assert steady("resource", resource(size=5)) == resource()


@pytest.mark.parametrize(
    ("kind", "definition"),
    [("tool", tool(size=5)), ("resource", resource()), ("resource", resource(annotations={"priority": 1}))],
)
def test_approval_of_everything_else_is_about_the_whole_definition(kind: Kind, definition: Any) -> None:
    assert steady(kind, definition) is definition
