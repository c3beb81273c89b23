"""What a hostile MCP server says, whatever carries it: the parts of its answer to one call, by the name of the tool.

A message ends with a line feed, which no JSON text of these holds; how it is framed is the carrier's business.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

MODERN: Final = "2026-07-28"
LATE_S: Final = 2.5  # a late answer comes that much later; callers of these servers wait for less
ENDLESS_S: Final = 4.0  # what has no end goes on for that long, so that a hub that endures it fails its test, not hangs
HUGE_BYTES: Final = 100_000_000
DEPTH: Final = 10_000
MEGABYTE: Final = b"x" * 1_000_000
POISON: Final = "what nobody judged"
OBJECT: Final[dict[str, Any]] = {"type": "object", "properties": {}}

Parts = Iterator[bytes]
Id = int | str


class Dies(Exception):
    """An order to the carrier: break off here."""


def line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def text(words: str) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": words}]}


def answer(id: Id, words: str) -> bytes:
    return line({"jsonrpc": "2.0", "id": id, "result": text(words)})


def well(id: Id) -> Parts:
    yield answer(id, "well")


def hangs(id: Id) -> Parts:
    yield b""
    time.sleep(ENDLESS_S)


def dies(id: Id) -> Parts:
    yield answer(id, "half")[:30]
    raise Dies


def garbage(id: Id) -> Parts:
    for _ in range(500):
        yield b'Loading the model, {"please": wait\n'
    time.sleep(ENDLESS_S)


def babbles(id: Id) -> Parts:
    yield b'hello\n[1, 2\n{"no": "rpc"}\n"\xff\xfe"\n'
    yield answer(id, "well")


def floods(id: Id) -> Parts:
    params = {"level": "info", "data": "x" * 900}
    told = line({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    end = time.monotonic() + ENDLESS_S
    while time.monotonic() < end:
        yield told * 50


def late(id: Id) -> Parts:
    yield b""
    time.sleep(LATE_S)
    yield answer(id, "late")


def twice(id: Id) -> Parts:
    yield answer(id, "first")
    yield answer(id, "second")


def foreign(id: Id) -> Parts:
    for other in (int(id) + 1 if isinstance(id, int) else "1", 987_654_321, "nobody", -1):
        yield answer(other, "foreign")
    yield line({"jsonrpc": "2.0", "id": None, "result": text("nobody's")})
    yield answer(id, "own")


def stranger(id: Id) -> Parts:
    """Answers somebody else's question and never the one at hand."""
    yield answer(f"{id}0", "foreign")
    time.sleep(ENDLESS_S)


def huge(id: Id) -> Parts:
    begin, end = answer(id, "|").split(b"|")
    yield begin
    for _ in range(HUGE_BYTES // len(MEGABYTE)):
        yield MEGABYTE
    yield end


def deep(id: Id) -> Parts:
    begin, end = answer(id, "|").split(b'"|"')
    yield begin + b"[" * DEPTH + b"]" * DEPTH + end


def drips(id: Id) -> Parts:
    """A good answer, a byte at a time, that nobody should wait for."""
    end = time.monotonic() + ENDLESS_S
    for byte in answer(id, "drop" * 1000):
        if time.monotonic() > end:
            return
        yield bytes((byte,))
        time.sleep(0.02)


def doubled(id: Id) -> Parts:
    """Two results under one key: who judges one of them must not pass the other on."""
    one, other = (json.dumps(text(words)) for words in (POISON, "judged"))
    yield f'{{"jsonrpc": "2.0", "id": {json.dumps(id)}, "result": {one}, "result": {other}}}\n'.encode()


def doubled_inside(id: Id) -> Parts:
    block = '[{"type": "text", "text": "%s"}]'
    result = f'{{"resultType": "complete", "content": {block % POISON}, "content": {block % "judged"}}}'
    yield f'{{"jsonrpc": "2.0", "id": {json.dumps(id)}, "result": {result}}}\n'.encode()


def variant(id: Id) -> Parts:
    """Members in another case: a careless reader takes them for the real ones."""
    yield line({"jsonrpc": "2.0", "ID": id, "Result": text(POISON), "Method": "tools/call"})
    yield line({"jsonrpc": "2.0", "id": id, "Error": {"code": 1}, "result": {**text("judged"), "IsError": True}})


def not_a_number(id: Id) -> Parts:
    yield answer(id, "|").replace(b'"|"', b"NaN")


WAYS: Final[dict[str, Callable[[Id], Parts]]] = {
    way.__name__: way
    for way in (
        well,
        hangs,
        dies,
        garbage,
        babbles,
        floods,
        late,
        twice,
        foreign,
        stranger,
        huge,
        deep,
        drips,
        doubled,
        doubled_inside,
        variant,
        not_a_number,
    )
}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"The tool {name}", "inputSchema": OBJECT, **more}


def greeting(message: dict[str, Any], era: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """What a good server answers to everything that is no call."""
    made: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    capabilities: dict[str, Any] = {"tools": {}}
    hints = {"ttlMs": 60_000, "cacheScope": "private"}
    match message["method"]:
        case "server/discover" if era == "modern":
            found = {"supportedVersions": [MODERN], "capabilities": capabilities, **hints}
            made["result"] = {"resultType": "complete", **found}
        case "initialize" if era != "modern":
            revision = "2024-11-05" if era == "sse" else "2025-11-25"
            info = {"name": "hostile", "version": "1"}
            made["result"] = {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": info}
        case "ping" if era != "modern":
            made["result"] = {}
        case "tools/list":
            made["result"] = {"tools": tools}
            if era == "modern":
                made["result"] |= {"resultType": "complete", **hints}
        case _:
            made["error"] = {"code": -32601, "message": "no such method"}
    return made
