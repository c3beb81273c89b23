"""What one listed definition must be to be shown, and its digest.

Owns the shape, size and depth rules of tools, prompts, resources and templates. Pure; never repairs what it refuses,
and a refusal concerns one definition, never its list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from hub.core.call import Json, Kind
from hub.wire.headers import annotation_fault

KINDS: Final[tuple[Kind, ...]] = ("tool", "prompt", "resource", "template")
KEY: Final[Mapping[Kind, str]] = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}

MAX_NAME: Final = 512  # characters; the protocol says 128, and longer ones get an alias anyway
MAX_URI: Final = 8192
MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 64

_OPTIONAL: Final[Mapping[str, type]] = {
    "title": str,
    "description": str,
    "mimeType": str,
    "annotations": dict,
    "icons": list,
    "_meta": dict,
    "outputSchema": dict,
    "execution": dict,
    "arguments": list,
}
_WORDS: Final[Mapping[type, str]] = {str: "a string", dict: "an object", list: "a list"}


def without_nulls(definition: Json) -> Json:
    """The definition without optional members that are null: strict clients refuse a whole list for one of them."""
    if any(definition.get(key, key) is None for key in _OPTIONAL):
        return {key: value for key, value in definition.items() if value is not None or key not in _OPTIONAL}
    return definition


def fault(kind: Kind, definition: Json) -> str | None:
    """Why this definition cannot be shown, or None. Assumes nothing but that it came out of a JSON parser."""
    key = KEY[kind]
    native, cap = definition.get(key), MAX_NAME if key == "name" else MAX_URI
    if not isinstance(native, str) or not native:
        return f"'{key}' must be a string that is not empty"
    if len(native) > cap:
        return f"'{key}' is longer than {cap} characters"
    if not isinstance(definition.get("name"), str):
        return "'name' must be a string"
    for member, wanted in _OPTIONAL.items():
        if member in definition and not isinstance(definition[member], wanted):
            return f"'{member}' must be {_WORDS[wanted]}"
    if _too_deep(definition):
        return f"is nested deeper than {MAX_DEPTH} levels"
    return _fault_of_tool(definition) if kind == "tool" else _fault_of_prompt(definition) if kind == "prompt" else None


def canonical(definition: Json) -> bytes:
    """The same bytes for the same definition, whatever the order of its members."""
    return json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def steady(kind: Kind, definition: Json) -> Json:
    """What approval is about: the definition but for what a resource says of its present contents."""
    if kind != "resource":
        return definition
    annotations = definition.get("annotations")
    dated = isinstance(annotations, Mapping) and "lastModified" in annotations
    if "size" not in definition and not dated:
        return definition
    kept = {key: value for key, value in definition.items() if key != "size"}
    if isinstance(annotations, Mapping) and dated:
        kept["annotations"] = {key: value for key, value in annotations.items() if key != "lastModified"}
    return kept


def _fault_of_tool(definition: Json) -> str | None:
    schema = definition.get("inputSchema")
    if not isinstance(schema, Mapping):
        return "'inputSchema' must be an object"
    if schema.get("type") != "object":
        return "'inputSchema' must have the type 'object'"
    why = annotation_fault(schema)  # clients over HTTP have to drop such a tool, so nobody is shown it
    return None if why is None else f"'inputSchema': {why}"


def _fault_of_prompt(definition: Json) -> str | None:
    for argument in definition.get("arguments", ()):
        if not isinstance(argument, Mapping) or not isinstance(argument.get("name"), str):
            return "'arguments' must be a list of objects with a 'name'"
        if not isinstance(argument.get("required", False), bool):
            return "'required' of an argument must be true or false"
    return None


def _too_deep(definition: Any) -> bool:
    level: list[Any] = [definition]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        if not inner:
            return False
        level = inner
    return True
