"""Arguments against what the item declares."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import Client, Denied, Done, Item, Listing
from policies.arguments import CheckArguments
from policies.schemas import Schemas
from tests.policies.below import Below, a_call, a_tool, cancelled

STAGE = CheckArguments(Schemas())
PAY = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "maxLength": 20},
        "amount": {"type": "integer", "minimum": 1},
        "currency": {"enum": ["EUR", "USD"]},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}},
    },
    "required": ["to", "amount"],
    "additionalProperties": False,
}


def tool(schema: Any, sha256: str | None = None) -> Item:
    return a_tool({"name": "pay", "inputSchema": schema}, sha256=sha256 or repr(schema))


async def told(schema: Any, arguments: Any, size_bytes: int = 100) -> str:
    below = Below()
    denied = await STAGE(a_call(tool(schema), arguments, size_bytes=size_bytes), below)
    assert isinstance(denied, Denied)
    assert denied.code == "invalid_arguments"
    assert not below.seen
    assert denied.told is not None
    return denied.told


async def test_arguments_that_fit_pass_untouched() -> None:
    below, call = Below(), a_call(tool(PAY), {"to": "ann", "amount": 3})
    assert await STAGE(call, below) == Done({}, 2)
    assert below.seen == [call]


async def test_every_problem_is_told_with_its_place_and_what_is_expected() -> None:
    words = await told(PAY, {"amount": 0, "currency": "GBP", "tags": ["ok", "NO"], "note": "x"})
    assert "the arguments: to is required" in words
    assert "the arguments: takes no note" in words
    assert "- amount: " in words
    assert "minimum of 1" in words
    assert "EUR" in words
    assert "tags/1: must match the pattern ^[a-z]+$" in words
    assert "GBP" not in words
    assert "NO" not in words.replace("does NOT", "")


async def test_no_value_of_the_caller_is_repeated() -> None:
    secret = "hunter2hunter2"
    schemas: list[Any] = [
        {"properties": {"a": {"type": "integer"}}},
        {"properties": {"a": {"enum": [1]}}},
        {"properties": {"a": {"const": 1}}},
        {"properties": {"a": {"pattern": "^x"}}},
        {"properties": {"a": {"maxLength": 3}}},
        {"properties": {"a": {"format": "uuid", "maxLength": 2}}},
        {"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}},
        {"properties": {"a": {"oneOf": [{"type": "string"}, {"minLength": 1}]}}},
        {"properties": {"a": {"not": {"type": "string"}}}},
        {"properties": {"a": False}},
        {"propertyNames": {"maxLength": 0}},
        {"dependentRequired": {"a": ["b"]}},
    ]
    for schema in schemas:
        assert secret not in await told({"type": "object", **schema}, {"a": secret})


async def test_a_name_that_looks_like_a_secret_is_not_repeated() -> None:
    key = "sk-live-4eC39HqLyjWDarjtT1zdp7dc"
    schema = {"type": "object", "properties": {"a": True}, "additionalProperties": False}
    words = await told(schema, {key: 1, "x" * 300: 2, "fine": 3, "a\x1b[8m": 4})
    assert key not in words
    assert "x" * 60 not in words
    assert "fine" in words
    assert "\x1b" not in words


async def test_what_is_forbidden_is_told_apart() -> None:
    assert "none but the declared" in await told({"type": "object", "additionalProperties": False}, {"a": 1})
    assert "a: is not allowed" in await told({"type": "object", "properties": {"a": False}}, {"a": 1})
    assert "512 characters" in await told(
        {"type": "object", "properties": {"a": {"pattern": "^(?!x)"}}}, {"a": "y" * 600}
    )


async def test_at_most_five_problems_are_told() -> None:
    words = await told({"type": "object", "required": [f"field{i}" for i in range(50)]}, {})
    assert words.count("is required") == 5
    assert words.endswith("and more")


async def test_of_large_arguments_the_first_problem_is_told() -> None:
    schema = {"type": "object", "properties": {"a": {"items": {"type": "string"}}}}
    words = await told(schema, {"a": [1] * 50_000}, size_bytes=100_000)
    assert "a/0: " in words
    assert "there may be more" in words


async def test_a_recursive_schema_refuses_deep_arguments_without_searching_them() -> None:
    node = {
        "anyOf": [
            {"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"]},
            {"properties": {"a": {"$ref": "#/$defs/n"}}, "minProperties": 1},
        ]
    }
    schema = {"type": "object", "$defs": {"n": node}, "$ref": "#/$defs/n"}
    value: dict[str, Any] = {}
    for _ in range(40):
        value = {"a": value}
    assert "recursive" in await told(schema, value)
    assert "recursive" not in await told(schema, {"a": {}})


@pytest.mark.parametrize("schema", [None, {"type": "strin"}, {"$ref": "https://example.com/x"}, {"pattern": "("}])
async def test_a_tool_whose_schema_cannot_be_used_cannot_be_called(schema: Any) -> None:
    assert "cannot be called" in await told(schema, {})


async def test_arguments_too_large_for_their_schema_are_refused_before_they_are_checked() -> None:
    schema = {"type": "object", "allOf": [{"patternProperties": {f"a{i}": {}}} for i in range(200)]}
    assert "too large" in await told(schema, {"x": "y"}, size_bytes=4_000_000)


async def test_a_header_that_disagrees_with_the_body_is_refused() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    def call(headers: tuple[tuple[str, str], ...] | None) -> Any:
        client = Client("modern", "2026-07-28", param_headers=headers)
        return a_call(tool(schema), {"region": "eu"}, client=client)

    assert await STAGE(call((("mcp-param-region", "eu"),)), Below()) == Done({}, 2)
    assert await STAGE(call(None), Below()) == Done({}, 2), "other transports have no headers"
    for headers in ((), (("mcp-param-region", "us"),)):
        below = Below()
        denied = await STAGE(call(headers), below)
        assert isinstance(denied, Denied)
        assert denied.code == "header_mismatch"
        assert not below.seen


PROMPT = Item(
    "prompt",
    "hr",
    "hr__review",
    "review",
    {"name": "review", "arguments": [{"name": "who", "required": True}, {"name": "tone"}, "malformed"]},
    {},
    "p",
)


async def test_a_prompt_needs_its_required_arguments_as_strings() -> None:
    below = Below()
    assert await STAGE(a_call(PROMPT, {"who": "ann"}, method="prompts/get"), below) == Done({}, 2)
    denied = await STAGE(a_call(PROMPT, {"tone": 3}, method="prompts/get"), below)
    assert isinstance(denied, Denied)
    assert denied.told is not None
    assert "who: is required" in denied.told
    assert "tone: must be a string" in denied.told
    assert len(below.seen) == 1


async def test_a_prompt_that_declares_nothing_takes_anything_that_is_text() -> None:
    bare = Item("prompt", "hr", "hr__x", "x", {"name": "x", "arguments": "malformed"}, {}, "q")
    assert await STAGE(a_call(bare, {"a": "b"}, method="prompts/get"), Below()) == Done({}, 2)


@pytest.mark.parametrize("given", [{"method": "resources/read"}, {"target": Listing("tool"), "method": "tools/list"}])
async def test_what_has_no_arguments_passes(given: Any) -> None:
    assert await STAGE(a_call(tool(PAY), **given), Below()) == Done({}, 2)


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(STAGE, a_call(tool(PAY), {"to": "ann", "amount": 3}))
