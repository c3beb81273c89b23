"""JSON, JSON-RPC, the era decision, names and cursors: whatever is sent, an answer or a refusal, and no third thing."""

from __future__ import annotations

import json
import json.decoder
import json.scanner
import math
import re
from contextlib import suppress
from typing import Any, Final

from conformance.fuzz.target import Target, halves
from hub.core.call import Call, Client, Item, Mute, Principal
from hub.core.names import NAME_CAP, SERVER_ID, public_name, public_uri, split_name, split_uri
from hub.edge.era import era_of, has_modern_header
from hub.wire import jsonrpc
from hub.wire.decode import Refusal, decode, legacy_client, modern_client
from hub.wire.encode import refused
from hub.wire.jsonrpc import MAX_DEPTH, Malformed
from hub.wire.pages import Pages
from hub.wire.revisions import is_legacy

WHO: Final = Principal("local", "key:fuzz", "key:1", frozenset({"mcp"}))
OTHER: Final = Principal("local", "key:other", "key:2", frozenset({"mcp"}))
_MODERN: Final = Client("modern", "2026-07-28")
_PAGES: Final = Pages(b"k" * 32)
_ENVELOPE: Final = (
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
)
_CALL: Final = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__b","arguments":{"x":1.5},%s}}'
_REQUESTS: Final = (
    _CALL % _ENVELOPE,
    b'{"jsonrpc":"2.0","id":"x","method":"resources/read","params":{"uri":"a+b://c"}}',
    b'{"jsonrpc":"2.0","id":2,"method":"prompts/get","params":{"name":"a__b"}}',
    b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"eA"}}',
    b'{"jsonrpc":"2.0","id":2,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},'
    b'"argument":{"name":"a","value":"v"},"context":{"arguments":{}}}}',
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"c","version":"1"}}}',
)
_WORDS: Final = (
    *(
        b'"jsonrpc"',
        b'"2.0"',
        b'"method"',
        b'"params"',
        b'"id"',
        b'"result"',
        b'"error"',
        b'"_meta"',
        b'"progressToken"',
    ),
    *(b'"arguments"', b'"ref"', b'"cursor"', b'"uri"', b"NaN", b"1e999", b"-0", b"9223372036854775808", b'"\\ud800"'),
    *(b"[[[[[[[[", b'{"a":', b"\xff", b"\xef\xbb\xbf", b"null", b"1E400", b'"a":1,"a":2'),
)


def check_json(data: bytes) -> None:
    """What it takes, the standard library reads the same; what it refuses is broken, or one of its four limits."""
    try:
        value = jsonrpc.loads(data)
    except Malformed as exc:
        _assert_refused_rightly(data, str(exc))
        return
    other = _by_the_library(data)
    assert _same(value, other), (value, other)
    assert _depth(value) <= MAX_DEPTH
    again = jsonrpc.dumps(value)
    assert b"\n" not in again, "a message would be two lines"
    assert _same(jsonrpc.loads(again), value)


def check_message(data: bytes) -> None:
    """Any message is a request that is judged, or refused in words; nothing raises, and no answer is unwritable."""
    try:
        message = jsonrpc.loads(data)
    except Malformed:
        return
    shape = jsonrpc.shape(message)
    if shape != "request":
        assert shape in ("notification", "response", "invalid")
        return
    params = message.get("params", {})
    legacy_client(params, "http", Mute())
    client = modern_client(params, Mute(), "http")
    if isinstance(client, Refusal):
        _assert_refusal(client)
        client = _MODERN
    call = decode(
        message, call_id="c-1", who=WHO, endpoint="", client=client, size_bytes=len(data), deadline=float("inf")
    )
    if isinstance(call, Refusal):
        _assert_refusal(call)
        return
    assert call.params is message.get("params", call.params)
    assert call.who is WHO
    assert isinstance(call.arguments, dict)
    assert all(isinstance(value, str) for value in call.trace.values())


def check_era(data: bytes) -> None:
    """A modern header never takes the legacy road, a modern body with a legacy header neither; all else is decided."""
    header, body = halves(data, b"\n")
    headers = {} if not header else {"mcp-protocol-version": header.decode("latin-1")}
    try:
        message = jsonrpc.loads(body)
    except Malformed:
        return
    era = era_of(headers, message)
    if isinstance(era, Refusal):
        _assert_refusal(era)
        return
    meta = message["params"].get("_meta") if isinstance(message, dict) and _has_params(message) else None
    said = meta.get("io.modelcontextprotocol/protocolVersion") if isinstance(meta, dict) else None
    if era == "legacy":
        assert not has_modern_header(headers)
        assert said is None
    else:
        assert era == "modern"
        assert isinstance(message, dict)
        version = headers.get("mcp-protocol-version")
        assert has_modern_header(headers) or said is not None
        if version is not None and is_legacy(version):
            assert said == version, "the parts contradict each other"


def check_names(data: bytes) -> None:
    """Every native name has one public name, plain, bounded, of its server; every uri comes back whole."""
    first, second = halves(data)
    native, uri = first.decode("utf-8", "surrogateescape"), second.decode("utf-8", "surrogateescape")
    for server in ("a", "a-b", "x" * 24):
        name = public_name(server, native)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        assert len(name) <= NAME_CAP
        found = split_name(name)
        assert found is not None
        assert found[0] == server
        assert split_uri(public_uri(server, uri)) == (server, uri)
    for given in (native, uri):  # what clients send under no rule
        for split in (split_name(given), split_uri(given)):
            assert split is None or SERVER_ID.fullmatch(split[0])


def check_cursor(data: bytes) -> None:
    """No made-up cursor opens anything, and one caller's is nothing to another."""
    cursor, names = halves(data, b"\n")
    items = tuple(_item(name.decode("utf-8", "surrogateescape")) for name in sorted(set(names.split(b"\0"))))
    assert isinstance(_PAGES.cut(_listing(WHO, cursor.decode("latin-1")), items, 3), Refusal)
    ordered = tuple(sorted(items, key=lambda item: item.name))
    seen: list[Item] = []
    given: str | None = None
    while True:
        page = _PAGES.cut(_listing(WHO, given), ordered, 2)
        assert not isinstance(page, Refusal)
        seen.extend(page[0])
        given = page[1]
        if given is None:
            break
        assert isinstance(_PAGES.cut(_listing(OTHER, given), ordered, 2), Refusal)
        edited = bytes(byte ^ 1 if at == len(cursor) % len(given) else byte for at, byte in enumerate(given.encode()))
        _assert_same_or_refused(given, edited.decode("latin-1"), ordered)
    assert tuple(seen) == ordered


def _assert_same_or_refused(given: str, edited: str, items: tuple[Item, ...]) -> None:
    """The last characters of base64 have bits that say nothing: such an edit is none."""
    before, after = (_PAGES.cut(_listing(WHO, cursor), items, 2) for cursor in (given, edited))
    assert isinstance(after, Refusal) or after == before


def _listing(who: Principal, cursor: str | None) -> Call:
    params = {} if cursor is None else {"cursor": cursor}
    return Call("c-1", who, "", "tools/list", params, _MODERN, float("inf"))


def _item(name: str) -> Item:
    return Item("tool", "a", name, name, {}, {}, "0" * 64)


def _has_params(message: dict[str, Any]) -> bool:
    return isinstance(message.get("params"), dict)


def _assert_refusal(refusal: Refusal) -> None:
    assert isinstance(refusal.code, int)
    assert refusal.message
    encoded = refused(refusal, request_id=1, call_id="c-1")
    assert jsonrpc.loads(jsonrpc.dumps(encoded.message))["error"]["code"] == refusal.code
    assert 400 <= encoded.status < 500


def _assert_refused_rightly(data: bytes, words: str) -> None:
    assert len(words) < 200
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_all_of)
    except (ValueError, RecursionError):  # broken for both; UnicodeDecodeError is a ValueError
        return
    assert _depth(value) > MAX_DEPTH or _is_unsayable(value), f"refused without a reason: {data[:200]!r}"


def _is_unsayable(value: Any) -> bool:
    """Holds a lone surrogate or a number that no double is near."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            stack += [*node.keys(), *node.values()]
        elif isinstance(node, list):
            stack += node
        elif isinstance(node, str):
            if any("\ud800" <= char <= "\udfff" for char in node):
                return True
        elif isinstance(node, float) and not math.isfinite(node):
            return True
    return False


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [node for node in level if isinstance(node, dict | list)]:
        depth += 1
        level = [inner for node in level for inner in (node.values() if isinstance(node, dict) else node)]
    return depth


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same kinds: 1 is not 1.0, nor is it true. Without recursion: both may be deep."""
    stack = [(one, other)]
    while stack:
        a, b = stack.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            if list(a) != list(b):
                return False
            stack += [(a[key], b[key]) for key in a]
        elif isinstance(a, list):
            if len(a) != len(b):
                return False
            stack += zip(a, b, strict=True)
        elif a != b or (isinstance(a, float) and math.copysign(1, a) != math.copysign(1, b)):
            return False
    return True


def _by_the_library(data: bytes) -> Any:
    text = data.decode("utf-8")
    _show_the_roads(text)
    return json.loads(text, parse_constant=_no_constant)


def _show_the_roads(text: str) -> None:
    """Through the library's scanner in Python, whose branches a fuzzer can see; its verdict is too mild to count."""
    decoder = json.JSONDecoder()
    decoder.parse_string = json.decoder.py_scanstring  # type: ignore[attr-defined]
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    with suppress(ValueError, RecursionError):
        decoder.decode(text)


def _all_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which nothing is lost, not even what a later member of the same name hides."""
    return {"names": "".join(name for name, _ in pairs), **{str(at): value for at, (_, value) in enumerate(pairs)}}


def _no_constant(name: str) -> Any:
    raise ValueError(name)


TARGETS: Final = (
    Target("json", "JSON is read like the standard library reads it, or refused", check_json, _REQUESTS, _WORDS),
    Target("message", "every request is judged or refused", check_message, _REQUESTS, _WORDS),
    Target(
        "era",
        "an era is never guessed against the evidence",
        check_era,
        (
            *(b"\n" + request for request in _REQUESTS),
            b"2026-07-28\n" + _REQUESTS[0],
            b"2025-11-25\n" + _REQUESTS[1],
            b"2025-11-25\n" + _REQUESTS[0],
            b"\n[" + _REQUESTS[1] + b"]",
        ),
        _WORDS,
    ),
    Target("names", "names and uris lead back to their server", check_names, (b"get\0\0doc://x", b"a__b\0\0ui://x+y")),
    Target("cursor", "a cursor opens one list for one caller", check_cursor, (b"eHh4\na\0b\0c\0d\0e", b"\n")),
)
