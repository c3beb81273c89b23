"""Public names: `<server>__<tool>` and `<server>+<uri>`, reversible by their first separator, stable for ever.

A name depends on its server and its native name alone, so that adding a server never renames another's items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from hub.core.call import Json

SERVER_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,23}")
NAME_CAP: Final = 48  # hosts put a prefix of their own before it, and model APIs stop at 64
SEPARATOR: Final = "__"
_ARRAYS: Final = (list, tuple)
_LISTS: Final = ("content", "contents", "messages")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]+")


def slug(pasted: str) -> str:
    """The server id for a name as people paste it ("My Server" -> "my-server"). Raises ValueError when none fits."""
    made = pasted.strip().lower().replace("_", "-").replace(" ", "-")
    if not SERVER_ID.fullmatch(made):
        raise ValueError(
            f"{pasted!r} is no server id: start with a letter, use letters, digits and '-', at most 24 characters"
        )
    return made


def public_name(server: str, native: str, cap: int = NAME_CAP) -> str:
    """The public name of a tool or prompt. What does not fit the alphabet or the cap gets a hash of the native name."""
    plain = f"{server}{SEPARATOR}{native}"
    if len(plain) <= cap and _PLAIN.fullmatch(native):
        return plain
    mark = sha256(native.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = _FOREIGN.sub("_", native).strip("_")
    room = cap - len(server) - len(SEPARATOR) - len(mark) - 1
    return f"{server}{SEPARATOR}{readable[:room]}-{mark}" if readable else f"{server}{SEPARATOR}{mark}"


def split_name(public: str) -> tuple[str, str] | None:
    """(server, rest) at the first separator, or None."""
    server, found, rest = public.partition(SEPARATOR)
    return (server, rest) if found and rest and SERVER_ID.fullmatch(server) else None


def public_uri(server: str, uri: str) -> str:
    """`<server>+<uri>`; a `ui://` uri keeps its scheme in front, because hosts look for it."""
    if uri.startswith("ui://"):
        return f"ui://{server}+{uri[5:]}"
    return f"{server}+{uri}"


def split_uri(public: str) -> tuple[str, str] | None:
    """(server, uri) at the first `+`, or None."""
    scheme, body = ("ui://", public[5:]) if public.startswith("ui://") else ("", public)
    server, found, rest = body.partition("+")
    return (server, scheme + rest) if found and SERVER_ID.fullmatch(server) else None


def publish_definition(shown: Json, rename: Callable[[str], str]) -> Json:
    """A definition whose app-resource links (`_meta.ui.resourceUri`, flat `ui/resourceUri`) carry public uris."""
    meta = shown.get("_meta")
    if not isinstance(meta, Mapping):
        return shown
    changed: dict[str, Any] = {}
    ui = meta.get("ui")
    if isinstance(ui, Mapping) and isinstance(ui.get("resourceUri"), str):
        changed["ui"] = {**ui, "resourceUri": rename(ui["resourceUri"])}
    if isinstance(meta.get("ui/resourceUri"), str):
        changed["ui/resourceUri"] = rename(meta["ui/resourceUri"])
    return {**shown, "_meta": {**meta, **changed}} if changed else shown


def publish_result(result: Json, rename: Callable[[str], str]) -> Json:
    """A result whose structured uris (contents, links, embedded resources) are public. Texts are never rewritten."""
    changed: dict[str, Any] = {}
    for key in _LISTS:
        blocks = result.get(key)
        if blocks is None or not isinstance(blocks, _ARRAYS):
            continue
        renamed = None
        for at, block in enumerate(blocks):
            if key == "content" and type(block) is dict and block.get("type") == "text":
                continue
            new = _publish_block(key, block, rename)
            if new is not block:
                renamed = renamed or list(blocks)
                renamed[at] = new
        if renamed is not None:
            changed[key] = renamed
    return {**result, **changed} if changed else result


def _publish_block(key: str, block: Any, rename: Callable[[str], str]) -> Any:
    if type(block) is not dict and not isinstance(block, Mapping):
        return block
    if key == "messages":
        content = block.get("content")
        new = _publish_block("content", content, rename)
        return block if new is content else {**block, "content": new}
    if key == "contents" or block.get("type") == "resource_link":
        return {**block, "uri": rename(block["uri"])} if isinstance(block.get("uri"), str) else block
    if block.get("type") == "resource" and isinstance(block.get("resource"), Mapping):
        inner = block["resource"]
        if isinstance(inner.get("uri"), str):
            return {**block, "resource": {**inner, "uri": rename(inner["uri"])}}
    return block
