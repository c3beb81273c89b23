"""What both reference servers offer: the items that the official conformance suite asks for by name, as plain JSON.

Needs only the standard library, so that servers of either SDK generation can import it from their own environment.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from typing import Any, Final

Json = dict[str, Any]

_ANYTHING: Final[Json] = {"type": "object", "properties": {}}


def _dot() -> bytes:
    """A PNG of one red dot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    )


def _silence() -> bytes:
    """A WAV of eight silent samples."""
    samples = b"\x80" * 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG: Final = b64encode(_dot()).decode()
WAV: Final = b64encode(_silence()).decode()
IMAGE: Final[Json] = {"type": "image", "data": PNG, "mimeType": "image/png"}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def embedded(uri: str, mime: str, words: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": words}}


def tool(name: str, description: str, schema: Json = _ANYTHING) -> Json:
    return {"name": name, "description": description, "inputSchema": schema}


def _one_string(name: str, description: str, **more: Any) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description, **more}},
        "required": [name],
    }


CONTENT: Final[dict[str, list[Json]]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        IMAGE,
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
    "json_schema_2020_12_tool": [text("called")],
}
"""What the tools that only answer have to say."""

_RICH_SCHEMA: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

_IN_HEADER: Final = _one_string("region", "Mirrored in a header of the request", **{"x-mcp-header": "Region"})

TOOLS: Final[list[Json]] = [
    *(tool(name, f"Answers with fixed content: {name}") for name in CONTENT if name.startswith("test_")),
    tool("json_schema_2020_12_tool", "Has an input schema that uses much of JSON Schema 2020-12", _RICH_SCHEMA),
    tool("test_x_mcp_header", "Has an argument that is mirrored in a header", _IN_HEADER),
    tool("test_error_handling", "Fails on purpose"),
    tool("test_tool_with_logging", "Logs three times while it works"),
    tool("test_tool_with_progress", "Reports progress three times while it works"),
    tool("test_sampling", "Asks the client's model", _one_string("prompt", "What to ask the model")),
    tool("test_elicitation", "Asks the client's user", _one_string("message", "What to show the user")),
    tool("test_elicitation_sep1034_defaults", "Asks the client's user with defaults for every primitive type"),
    tool("test_elicitation_sep1330_enums", "Asks the client's user with every kind of enumeration"),
    tool("test_reconnection", "Closes its stream while it works; the answer waits for the client to come back"),
]
"""The tools of both servers."""

MODERN_TOOLS: Final[list[Json]] = [
    tool("test_missing_capability", "Wants a client that can sample"),
    tool("test_logging_tool", "Logs while it works"),
    tool("test_trigger_tool_change", "Adds a tool to the list, or takes it away again"),
    tool("test_trigger_prompt_change", "Adds a prompt to the list, or takes it away again"),
]
"""The tools that only the server of both eras has, beside those that ask."""

FAILURE: Final = "This tool intentionally returns an error for testing"
LOGGED: Final = ("Tool execution started", "Tool processing data", "Tool execution completed")
PROGRESS: Final = (0, 50, 100)

USER_FORM: Final[Json] = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
DEFAULTS_FORM: Final[Json] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}


def _titled(*pairs: tuple[str, str]) -> list[Json]:
    return [{"const": value, "title": title} for value, title in pairs]


ENUMS_FORM: Final[Json] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _titled(("value1", "First"), ("value2", "Second"))},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled(("value1", "First"), ("value2", "Second"))}},
    },
}
FORMS: Final[dict[str, tuple[str, Json]]] = {
    "test_elicitation_sep1034_defaults": ("Please review the defaults", DEFAULTS_FORM),
    "test_elicitation_sep1330_enums": ("Please choose", ENUMS_FORM),
}

RESOURCES: Final[list[Json]] = [
    {"uri": "test://static-text", "name": "static-text", "description": "A text", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "static-binary", "description": "An image", "mimeType": "image/png"},
    {"uri": "test://watched-resource", "name": "watched", "description": "Subscribable", "mimeType": "text/plain"},
]
TEMPLATES: Final[list[Json]] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data of one id",
        "mimeType": "application/json",
    }
]
_BODIES: Final[dict[str, Json]] = {
    "test://static-text": {"text": "This is the content of the static text resource."},
    "test://static-binary": {"blob": PNG},
    "test://watched-resource": {"text": "Watched resource content"},
}
_TEMPLATE: Final = ("test://template/", "/data")


def contents(uri: str) -> list[Json] | None:
    """What a resource holds, or None where there is none."""
    for known in RESOURCES:
        if known["uri"] == uri:
            return [{"uri": uri, "mimeType": known["mimeType"], **_BODIES[uri]}]
    before, after = _TEMPLATE
    if uri.startswith(before) and uri.endswith(after) and len(uri) > len(before) + len(after):
        id = uri.removeprefix(before).removesuffix(after)
        said = f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'
        return [{"uri": uri, "mimeType": "application/json", "text": said}]
    return None


def _arguments(*names: str) -> list[Json]:
    return [{"name": name, "description": f"The {name} of the prompt", "required": True} for name in names]


PROMPTS: Final[list[Json]] = [
    {"name": "test_simple_prompt", "description": "Without arguments"},
    {
        "name": "test_prompt_with_arguments",
        "description": "With two arguments",
        "arguments": _arguments("arg1", "arg2"),
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "With a resource inside",
        "arguments": _arguments("resourceUri"),
    },
    {"name": "test_prompt_with_image", "description": "With an image inside"},
]


def _from_user(*blocks: Json) -> list[Json]:
    return [{"role": "user", "content": block} for block in blocks]


def messages(name: str, given: dict[str, str]) -> list[Json] | None:
    """The messages of a prompt, or None where there is no such prompt."""
    if name == "test_simple_prompt":
        return _from_user(text("This is a simple prompt for testing."))
    if name == "test_prompt_with_arguments":
        said = f"Prompt with arguments: arg1='{given.get('arg1', '')}', arg2='{given.get('arg2', '')}'"
        return _from_user(text(said))
    if name == "test_prompt_with_embedded_resource":
        uri = given.get("resourceUri", "test://embedded-resource")
        resource = embedded(uri, "text/plain", "Embedded resource content for testing.")
        return _from_user(resource, text("Please process the embedded resource above."))
    if name == "test_prompt_with_image":
        return _from_user(IMAGE, text("Please analyze the image above."))
    return None


_WORDS: Final = ("paris", "park", "party", "test", "testing")


def completions(begun: str) -> list[str]:
    return [word for word in _WORDS if word.startswith(begun)]
