"""A hostile HTTP client: bytes that a careless server reads otherwise than the proxy in front of it, and slow sockets.

Each attack of `SMUGGLING` holds a whole good call inside something that is no clean HTTP/1.1; a server that carries the
inner call out, or answers twice, is open to smuggling.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MODERN: Final = "2026-07-28"
META: Final = "io.modelcontextprotocol/"


@dataclass(frozen=True, slots=True)
class Asked:
    """The call that is smuggled."""

    port: int
    token: str
    tool: str
    arguments: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
        params = {"name": self.tool, "arguments": dict(self.arguments), "_meta": meta}
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()

    @property
    def lines(self) -> bytes:
        """The header lines of a good call, but for what frames its body and names its host."""
        return (
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: {self.tool}\r\n"
            f"Authorization: Bearer {self.token}\r\n"
        ).encode()

    @property
    def host(self) -> bytes:
        return b"Host: 127.0.0.1:%d\r\n" % self.port

    @property
    def length(self) -> bytes:
        return b"Content-Length: %d\r\n" % len(self.body)

    @property
    def chunk(self) -> bytes:
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.body), self.body)

    def head(self, *more: bytes, first: bytes = b"POST /mcp HTTP/1.1\r\n") -> bytes:
        return b"".join((first, self.host, self.lines, *more, b"\r\n"))

    def whole(self, *more: bytes, first: bytes = b"POST /mcp HTTP/1.1\r\n") -> bytes:
        return self.head(self.length, *more, first=first) + self.body


def _length_and_chunks(asked: Asked) -> bytes:
    inner = asked.whole()
    return (
        asked.head(b"Content-Length: %d\r\n" % (5 + len(inner)), b"Transfer-Encoding: chunked\r\n")
        + b"0\r\n\r\n"
        + inner
    )


def _chunks_and_length(asked: Asked) -> bytes:
    return asked.head(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n") + asked.chunk


def _two_lengths(asked: Asked) -> bytes:
    inner = asked.whole()
    return asked.head(b"Content-Length: 0\r\n", b"Content-Length: %d\r\n" % len(inner)) + inner


def _length_list(asked: Asked) -> bytes:
    size = len(asked.body)
    return asked.head(b"Content-Length: %d, %d\r\n" % (size, size)) + asked.body


def _framed(line: bytes) -> Callable[[Asked], bytes]:
    """A good call whose body is framed by that line alone."""
    return lambda asked: asked.head(line.replace(b"SIZE", b"%d" % len(asked.body))) + asked.body


def _chunked(line: bytes) -> Callable[[Asked], bytes]:
    return lambda asked: asked.head(line) + asked.chunk


def _chunk_size(size: bytes) -> Callable[[Asked], bytes]:
    return lambda asked: (
        asked.head(b"Transfer-Encoding: chunked\r\n")
        + size.replace(b"SIZE", b"%x" % len(asked.body))
        + b"\r\n%b\r\n0\r\n\r\n" % asked.body
    )


def _with(line: bytes) -> Callable[[Asked], bytes]:
    """A good call with one more header line."""
    return lambda asked: asked.whole(line)


def _first(line: bytes) -> Callable[[Asked], bytes]:
    return lambda asked: asked.whole(first=line)


def _bare_line_feeds(asked: Asked) -> bytes:
    return asked.head(asked.length).replace(b"\r\n", b"\n") + asked.body


def _body_of_a_get(asked: Asked) -> bytes:
    inner = asked.whole()
    return b"GET /health HTTP/1.1\r\n" + asked.host + b"Content-Length: %d\r\n\r\n" % len(inner) + inner


def _no_host(asked: Asked) -> bytes:
    return asked.whole().replace(asked.host, b"")


def _host(line: bytes) -> Callable[[Asked], bytes]:
    return lambda asked: asked.whole().replace(asked.host, line.replace(b"PORT", b"%d" % asked.port))


SMUGGLING: Final[dict[str, Callable[[Asked], bytes]]] = {
    "a length and chunks": _length_and_chunks,
    "chunks and a length": _chunks_and_length,
    "two lengths": _two_lengths,
    "a list of lengths": _length_list,
    "a length with a sign": _framed(b"Content-Length: +SIZE\r\n"),
    "a length with a word": _framed(b"Content-Length: SIZE bytes\r\n"),
    "a negative length": _framed(b"Content-Length: -1\r\n"),
    "a length beyond all numbers": _framed(b"Content-Length: 184467440737095516160SIZE\r\n"),
    "a blank before the colon": _framed(b"Content-Length : SIZE\r\n"),
    "chunked and then identity": _chunked(b"Transfer-Encoding: chunked, identity\r\n"),
    "chunked in quotes": _chunked(b'Transfer-Encoding: "chunked"\r\n'),
    "almost chunked": _chunked(b"Transfer-Encoding: xchunked\r\n"),
    "two encodings": _chunked(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    "chunked over HTTP/1.0": lambda asked: (
        asked.head(b"Transfer-Encoding: chunked\r\n", first=b"POST /mcp HTTP/1.0\r\n") + asked.chunk
    ),
    "a chunk beyond all numbers": _chunk_size(b"f" * 17),
    "a chunk size with a sign": _chunk_size(b"+SIZE"),
    "a chunk size with a prefix": _chunk_size(b"0xSIZE"),
    "a line feed in a chunk extension": _chunk_size(b"SIZE;a\nb"),
    "a folded header": _with(b"X-Folded: a\r\n b\r\n"),
    "a null in a header": _with(b"X-Null: a\0b\r\n"),
    "a bare return in a header": _with(b"X-Return: a\rTransfer-Encoding: chunked\r\n"),
    "a header without a colon": _with(b"no colon here\r\n"),
    "a header name with a null": _with(b"X-Nu\0ll: a\r\n"),
    "bare line feeds": _bare_line_feeds,
    "a call as the body of a GET": _body_of_a_get,
    "no host": _no_host,
    "two hosts": _host(b"Host: 127.0.0.1:PORT\r\nHost: evil.example\r\n"),
    "two hosts, the good one last": _host(b"Host: evil.example\r\nHost: 127.0.0.1:PORT\r\n"),
    "a host with a user": _host(b"Host: evil@127.0.0.1:PORT\r\n"),
    "a foreign host": _host(b"Host: evil.example\r\n"),
    "a host and a path": _host(b"Host: 127.0.0.1/evil.example\r\n"),
    "an absolute url of a foreign host": _first(b"POST http://evil.example/mcp HTTP/1.1\r\n"),
    "HTTP/0.9": _first(b"POST /mcp\r\n"),
    "HTTP/1.9": _first(b"POST /mcp HTTP/1.9\r\n"),
    "HTTP/2": _first(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a tunnel": _first(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n"),
    "a blank in the target": _first(b"POST /mcp x HTTP/1.1\r\n"),
    "an unknown method": _first(b"SMUGGLE /mcp HTTP/1.1\r\n"),
}


def exchange(port: int, data: bytes, timeout_s: float) -> bytes:
    """Bytes in; all bytes out until the server closes, or has been silent for that long."""
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock:
        try:
            sock.sendall(data)
            while chunk := sock.recv(65_536):
                got += chunk
        except (TimeoutError, ConnectionError):
            pass
    return bytes(got)


def statuses(data: bytes) -> list[int]:
    """Of all answers in there."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def take(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    got = bytearray()
    try:
        while chunk := sock.recv(65_536):
            got += chunk
    except ConnectionError:
        pass
    return bytes(got)


def trickle(port: int, data: bytes, pause_s: float, timeout_s: float) -> float:
    """Send a byte at a time; how many seconds the server put up with it."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=pause_s) as sock:
        for byte in data:
            if time.monotonic() - began > timeout_s:
                break
            try:
                sock.sendall(bytes((byte,)))
                if sock.recv(65_536) == b"":
                    break
            except TimeoutError:
                continue  # that was the pause
            except ConnectionError:
                break
    return time.monotonic() - began


def reading_nothing(port: int) -> socket.socket:
    """A connection whose client has next to no room for answers."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return sock
