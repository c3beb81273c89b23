"""Every string of a JSON value, wherever a server put it. Bounded by the value itself; copies, never mutates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_SCALARS: Final = frozenset({bool, int, float, type(None)})
_BLOCKS: Final = ("image", "audio")  # base64: no text, and large; no set, because in a schema a type may be a list
_PLAIN: Final = frozenset({"type", "role", "mimeType", "resultType", "method", "mode"})  # keys whose words are known
_WORDS: Final = frozenset(
    {"text", "image", "audio", "resource", "resource_link", "user", "assistant", "text/plain", "application/json",
     "text/markdown", "text/html", "complete", "input_required", "elicitation/create", "sampling/createMessage",
     "roots/list", "form", "url"}
)  # fmt: skip
_PROTOCOL: Final = _PLAIN | {
    "_meta", "annotations", "arguments", "blob", "completion", "content", "contents", "data", "description", "hasMore",
    "isError", "messages", "name", "params", "requestedSchema", "resource", "structuredContent", "text", "title",
    "total", "uri", "values",
}  # fmt: skip


def strings(value: Any) -> list[str]:
    """Strings and keys, in no promised order; what a block declares as binary is left out."""
    found: list[str] = []
    left = [value]
    while left:
        here = left.pop()
        kind = type(here)  # what JSON is made of first: asking whether a list is a Mapping costs more than all the rest
        if kind is str:
            found.append(here)
        elif kind is list:
            left += here
        elif kind is dict or (kind not in _SCALARS and isinstance(here, Mapping)):
            found += here
            if ("blob" in here or here.get("type") in _BLOCKS) and (binary := binary_key(here)) is not None:
                left += [child for key, child in here.items() if key != binary]
            else:
                left += here.values()
        elif kind in _SCALARS:
            continue
        elif isinstance(here, list | tuple):
            left.extend(here)
        elif isinstance(here, str):
            found.append(here)
    return found


def binary_key(block: Mapping[str, Any]) -> str | None:
    """The key of this object that holds base64 bytes, or None."""
    if "blob" in block and isinstance(block.get("uri"), str):
        return "blob"
    kind = block.get("type")
    return "data" if type(kind) is str and kind in _BLOCKS else None


def masked(value: Any, change: Callable[[str], str]) -> Any:
    """A copy with every string and key changed, but for the words of the protocol; bytes nobody can look into go."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        binary = binary_key(value)
        return {
            key if key in _PROTOCOL else change(key): ""
            if key == binary
            else child
            if key in _PLAIN and isinstance(child, str) and child in _WORDS
            else masked(child, change)
            for key, child in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(child, change) for child in value]
    return value
