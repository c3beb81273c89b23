"""A door on loopback that gives each request a bearer token, because the official runner cannot send one.

Nothing else is touched: every other byte goes through as it came, both ways, as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_HEAD_BYTES: Final = 65_536
_CHUNK_BYTES: Final = 65_536


class Unreadable(Exception):
    """A request whose end cannot be told; the connection is closed."""


@asynccontextmanager
async def bearer_door(port: int, token: str) -> AsyncIterator[int]:
    """The port of a door before `127.0.0.1:port`. It is closed, with its connections, when the context ends."""
    open_ones: set[asyncio.Task[None]] = set()

    def come_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_connection(reader, writer, port, token))
        open_ones.add(task)
        task.add_done_callback(open_ones.discard)

    server = await asyncio.start_server(come_in, "127.0.0.1", 0, limit=_HEAD_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        ending = list(open_ones)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, token: str) -> None:
    """One connection here is one connection there; when either side ends, both end."""
    try:
        there, out = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # nobody there any more: as if it had hung up
        writer.close()
        return
    ways = [asyncio.create_task(_requests(reader, out, token)), asyncio.create_task(_answers(there, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, out):
            end.close()


async def _answers(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await there.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _requests(reader: asyncio.StreamReader, out: asyncio.StreamWriter, token: str) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        left = body_bytes(head)
        out.write(authorized(head, token))
        while left:
            data = await reader.read(min(left, _CHUNK_BYTES))
            if not data:
                return
            left -= len(data)
            out.write(data)
            await out.drain()
        await out.drain()


def authorized(head: bytes, token: str) -> bytes:
    """The head of a request with the token as its first header."""
    line, end, rest = head.partition(b"\r\n")
    return line + end + b"Authorization: Bearer " + token.encode() + b"\r\n" + rest


def body_bytes(head: bytes) -> int:
    """How long the body is. The runner always tells; what does not is not passed on."""
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"transfer-encoding":
            raise Unreadable("a request in chunks: the door reads only those with a Content-Length")
        if name.lower() == b"content-length":
            length = int(value)
    return length
