from __future__ import annotations

from typing import Any

import pytest

from hub.wire import bridge
from tests.wire.samples import MODERN, legacy

NEW, JUNE, MARCH, OLD = (legacy(r) for r in ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"))
TEXT = {"type": "text", "text": "hi", "unknown": 2**60}
LINK = {"type": "resource_link", "uri": "demo+x", "name": "x", "title": "X"}
AUDIO = {"type": "audio", "data": "AA==", "mimeType": "audio/wav"}


@pytest.mark.parametrize("client", [MODERN, NEW, JUNE, MARCH, OLD])
def test_a_plain_result_passes_untouched(client: Any) -> None:
    given = {"content": [TEXT], "isError": False, "unknown": [1], "_meta": {"a/b": 1}}
    assert bridge.result(client, "tools/call", given) is given


@pytest.mark.parametrize("client", [MODERN, NEW])
def test_the_envelope_of_the_downstreams_era_is_taken_off(client: Any) -> None:
    info = {"io.modelcontextprotocol/serverInfo": {"name": "x"}}
    given = {"content": [], "resultType": "complete", "ttlMs": 5, "cacheScope": "public", "_meta": {**info, "k": 1}}
    assert bridge.result(client, "tools/call", given) == {"content": [], "_meta": {"k": 1}}
    assert bridge.result(client, "tools/call", {"content": [], "_meta": info}) == {"content": []}


def test_a_tool_result_without_content_gets_some() -> None:
    assert bridge.result(MODERN, "tools/call", {"structuredContent": None}) == {
        "structuredContent": None,
        "content": [],
    }
    assert bridge.result(MODERN, "prompts/get", {"messages": []}) == {"messages": []}


@pytest.mark.parametrize("value", [None, [1], "x", 7, {"a": 1}])
def test_structured_content_of_any_type_reaches_a_modern_client(value: Any) -> None:
    given = {"content": [], "structuredContent": value}
    assert bridge.result(MODERN, "tools/call", given) is given


@pytest.mark.parametrize("client", [NEW, JUNE, MARCH, OLD])
@pytest.mark.parametrize(("value", "text"), [(None, "null"), ([1], "[1]"), ("x", '"x"')])
def test_structured_content_that_is_no_object_goes_as_text_to_legacy_clients(
    client: Any, value: Any, text: str
) -> None:
    given = {"content": [], "structuredContent": value}
    assert bridge.result(client, "tools/call", given) == {"content": [{"type": "text", "text": text}]}
    with_words = {"content": [TEXT], "structuredContent": value}
    assert bridge.result(client, "tools/call", with_words) == {"content": [TEXT]}


def test_structured_objects_stay_and_are_text_too_where_the_revision_does_not_know_them() -> None:
    given = {"content": [], "structuredContent": {"a": 1}}
    assert bridge.result(JUNE, "tools/call", given) == given
    text = {"type": "text", "text": '{"a":1}'}
    assert bridge.result(MARCH, "tools/call", given) == {**given, "content": [text]}
    said = {"content": [TEXT], "structuredContent": {"a": 1}}
    assert bridge.result(MARCH, "tools/call", said) == said


def test_a_link_is_words_where_the_revision_has_no_links() -> None:
    given = {"content": [TEXT, LINK, 7]}
    assert bridge.result(JUNE, "tools/call", given) is given
    assert bridge.result(MARCH, "tools/call", given) == {"content": [TEXT, {"type": "text", "text": "X\nx\ndemo+x"}, 7]}


def test_audio_is_an_attachment_where_the_revision_has_no_audio() -> None:
    given = {"content": [AUDIO]}
    assert bridge.result(MARCH, "tools/call", given) is given
    inner = {"uri": "attachment:audio", "mimeType": "audio/wav", "blob": "AA=="}
    assert bridge.result(OLD, "tools/call", given) == {"content": [{"type": "resource", "resource": inner}]}


def test_prompt_messages_are_brought_down_too() -> None:
    plain = {"messages": [{"role": "user", "content": TEXT}, 7]}
    assert bridge.result(OLD, "prompts/get", plain) is plain
    given = {"messages": [{"role": "user", "content": LINK}]}
    made = bridge.result(MARCH, "prompts/get", given)
    assert made["messages"][0] == {"role": "user", "content": {"type": "text", "text": "X\nx\ndemo+x"}}


@pytest.mark.parametrize("given", [{"content": "abcä"}, {"messages": 5}, {"contents": []}])
def test_what_is_no_list_of_blocks_is_left_alone(given: Any) -> None:
    assert bridge.result(OLD, "resources/read", given) is given


@pytest.mark.parametrize("schema", [{"type": "array"}, {"$ref": "#/$defs/x"}, True, {"type": ["object", "null"]}])
def test_an_output_schema_that_is_no_object_is_not_shown_to_legacy_clients(schema: Any) -> None:
    shown = {"name": "t", "outputSchema": schema, "x": 1}
    assert bridge.definition(NEW, "tool", shown) == {"name": "t", "x": 1}
    assert bridge.definition(MODERN, "tool", shown) is shown


@pytest.mark.parametrize("client", [MODERN, NEW, OLD])
def test_execution_is_not_shown_and_everything_else_is(client: Any) -> None:
    shown = {"name": "t", "outputSchema": {"type": "object"}, "icons": [], "x-unknown": {"a": None}}
    assert bridge.definition(client, "tool", shown) is shown
    assert bridge.definition(client, "tool", {**shown, "execution": {"taskSupport": "required"}}) == shown
    assert bridge.definition(client, "resource", {"execution": 1}) == {"execution": 1}


def test_inputs_are_never_mutated() -> None:
    given = {"content": [LINK, AUDIO], "structuredContent": [1], "resultType": "complete", "_meta": {"k": 1}}
    before = repr(given)
    bridge.result(OLD, "tools/call", given)
    assert repr(given) == before
