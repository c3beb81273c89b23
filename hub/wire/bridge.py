"""What differs between the eras and revisions in definitions and results. Pure; returns its input where nothing does.

Whatever a revision does not forbid passes untouched, unknown fields included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.core.call import Client, Json, Kind
from hub.wire.decode import SERVER_INFO_KEY
from hub.wire.jsonrpc import dumps
from hub.wire.revisions import at_least

_MODERN_ONLY: Final = ("resultType", "ttlMs", "cacheScope")


def definition(client: Client, kind: Kind, shown: Json) -> Json:
    """A definition as this client may read it.

    `execution` speaks of tasks, which the hub does not carry; legacy clients take object output schemas only.
    """
    if kind != "tool":
        return shown
    drop = {"execution"} if "execution" in shown else set[str]()
    if client.era == "legacy" and "outputSchema" in shown and not _is_object_schema(shown["outputSchema"]):
        drop.add("outputSchema")
    return {k: v for k, v in shown.items() if k not in drop} if drop else shown


def result(client: Client, method: str, given: Json) -> Json:
    """A downstream's result as this client's revision can say it, without the era's own envelope."""
    made = given
    if "resultType" in made or "ttlMs" in made or "cacheScope" in made:
        made = {k: v for k, v in made.items() if k not in _MODERN_ONLY}
    meta = made.get("_meta")
    if meta is not None and isinstance(meta, Mapping) and SERVER_INFO_KEY in meta:
        kept = {k: v for k, v in meta.items() if k != SERVER_INFO_KEY}
        made = {**made, "_meta": kept} if kept else {k: v for k, v in made.items() if k != "_meta"}
    if method == "tools/call":
        if "content" not in made:
            made = {**made, "content": []}
        if client.era == "legacy" and "structuredContent" in made:
            made = _structured(client.revision, made)
    if client.era == "legacy" and not at_least(client.revision, "2025-06-18"):
        made = _older(client.revision, made)
    return made


def _is_object_schema(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "object"


def _structured(revision: str, given: Json) -> Json:
    """Legacy `structuredContent` is an object; anything else, and all of it before 2025-06-18, goes as text."""
    value = given["structuredContent"]
    plain = isinstance(value, Mapping)
    made = dict(given) if plain else {k: v for k, v in given.items() if k != "structuredContent"}
    if not given["content"] and not (plain and at_least(revision, "2025-06-18")):
        made["content"] = [{"type": "text", "text": dumps(value).decode()}]
    return made


def _older(revision: str, given: Json) -> Json:
    """Content blocks that came later, in the words of a revision that does not know them."""
    if isinstance(given.get("content"), list | tuple):
        blocks = [_older_block(revision, block) for block in given["content"]]
        return (
            given
            if all(a is b for a, b in zip(blocks, given["content"], strict=True))
            else {**given, "content": blocks}
        )
    if isinstance(given.get("messages"), list | tuple):
        messages = [_older_message(revision, message) for message in given["messages"]]
        same = all(a is b for a, b in zip(messages, given["messages"], strict=True))
        return given if same else {**given, "messages": messages}
    return given


def _older_message(revision: str, message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    content = message.get("content")
    block = _older_block(revision, content)
    return message if block is content else {**message, "content": block}


def _older_block(revision: str, block: Any) -> Any:
    if not isinstance(block, Mapping):
        return block
    if block.get("type") == "resource_link":
        words = [str(block[k]) for k in ("title", "name", "description", "uri") if isinstance(block.get(k), str)]
        return {"type": "text", "text": "\n".join(dict.fromkeys(words))}
    if block.get("type") == "audio" and not at_least(revision, "2025-03-26"):
        inner = {"uri": "attachment:audio", "mimeType": block.get("mimeType"), "blob": block.get("data")}
        return {"type": "resource", "resource": inner}
    return block
