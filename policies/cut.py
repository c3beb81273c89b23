"""Cuts an answer down to a number of bytes and says so in it: texts at a character boundary, bytes whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from hub.core.call import Denied, Done

MARK: Final = "io.mcp-hub/cut"
_SLACK: Final = 16 * 1024  # marks, names and braces on top of what the budget counts

_TOLD: Final = "The answer has more than the {limit} bytes that are passed on. Ask for less: a filter, a page, a range."


class _Purse:
    """What is left to spend, and what has been left out."""

    def __init__(self, limit: int) -> None:
        self.left, self.cuts = limit, 0

    def text(self, text: str) -> str:
        """As much of it as is left to spend, with a mark where it was cut."""
        raw = text.encode()
        if len(raw) <= self.left:
            self.left -= len(raw)
            return text
        shown = raw[: self.left].decode(errors="ignore")
        self.left, self.cuts = 0, self.cuts + 1
        return f"{shown}\n[cut here: {len(raw)} bytes in all, {len(shown.encode())} shown]"

    def whole(self, value: Any) -> bool:
        """Whether it may stay, which it does whole or not at all."""
        size = len(value) if isinstance(value, str) else len(msgspec.json.encode(value))
        if size > self.left:
            self.cuts += 1
            return False
        self.left -= size
        return True


def cut(done: Done, limit: int, must_fit_schema: bool) -> Done | Denied:
    """The same answer in about `limit` bytes, marked. Refused where a cut would break what clients rely on."""
    too_large = Denied("too_large", f"{done.size_bytes} bytes, {limit} allowed", told=_TOLD.format(limit=limit))
    result = dict(done.result)
    structured = "structuredContent" in result
    purse = _Purse(limit // 2 if structured else limit)
    if structured and not purse.whole(result["structuredContent"]):
        if must_fit_schema:  # clients hold it against the schema and fail without it
            return too_large
        del result["structuredContent"]
    if structured:
        purse.left += limit - limit // 2
    for key, blocks in (("content", result.get("content")), ("contents", result.get("contents"))):
        if isinstance(blocks, list | tuple):
            result[key] = _blocks(blocks, purse)
    messages = result.get("messages")
    if isinstance(messages, list | tuple):
        result["messages"] = [_message(message, purse) for message in messages]
    if purse.cuts:
        meta = result.get("_meta")
        mark = {"limit_bytes": limit, "size_bytes": done.size_bytes, "cuts": purse.cuts}
        result["_meta"] = {**(meta if isinstance(meta, Mapping) else {}), MARK: mark}
    if len(msgspec.json.encode(result)) > limit + _SLACK:  # what is large is nothing that can be cut
        return too_large
    return replace(done, result=result, notes=(*done.notes, f"shape:cut {purse.cuts}") if purse.cuts else done.notes)


def _blocks(blocks: Sequence[Any], purse: _Purse) -> list[Any]:
    """Blocks until the money is gone; the rest is told as a number."""
    kept: list[Any] = []
    for index, block in enumerate(blocks):
        if purse.left == 0 and purse.cuts:
            rest = len(blocks) - index
            if not isinstance(block, Mapping) or "type" in block:
                kept.append({"type": "text", "text": f"[left out: {rest} more parts]"})
            purse.cuts += rest
            break
        kept.append(_block(block, purse))
    return kept


def _message(message: Any, purse: _Purse) -> Any:
    if not isinstance(message, Mapping):
        return message
    content = message.get("content")
    if isinstance(content, list | tuple):
        return {**message, "content": _blocks(content, purse)}
    return {**message, "content": _block(content, purse)}


def _block(block: Any, purse: _Purse) -> Any:
    """One content block or resource contents; what cannot be cut gives way to words about it."""
    if not isinstance(block, Mapping):
        return block
    if isinstance(block.get("text"), str):
        return {**block, "text": purse.text(block["text"])}
    if block.get("type") == "resource" and isinstance(block.get("resource"), Mapping):
        return {**block, "resource": _block(block["resource"], purse)}
    if purse.whole(block):
        return block
    size = len(msgspec.json.encode(block))
    words = f"[left out: {size} bytes of {block.get('mimeType') or block.get('type') or 'data'}]"
    if isinstance(block.get("uri"), str) and "type" not in block:
        return {"uri": block["uri"], "mimeType": "text/plain", "text": words}
    return {"type": "text", "text": words}
