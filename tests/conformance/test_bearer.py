"""The door that gives requests a token: nothing else changes, and everything passes as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from conformance.official.bearer import Unreadable, authorized, bearer_door, body_bytes

pytestmark = pytest.mark.anyio
WAIT_S = 10.0
TOKEN = b"Authorization: Bearer the-token\r\n"


class Behind:
    """A server that keeps all it is told and says what the test wants."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.ends = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Condition()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while data := await reader.read(1000):
            self.heard += data
            await self._tell()
        self.ends += 1
        writer.close()
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, heard: bytes | None = None, ends: int = 0) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: heard in (None, bytes(self.heard)) and self.ends >= ends)

    async def say(self, data: bytes) -> None:
        self._writers[-1].write(data)
        await self._writers[-1].drain()

    def hang_up(self) -> None:
        self._writers[-1].close()


@asynccontextmanager
async def open_door() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Behind]]:
    behind = Behind()
    server = await asyncio.start_server(behind.connected, "127.0.0.1", 0)
    async with server, bearer_door(server.sockets[0].getsockname()[1], "the-token") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer, behind
        finally:
            writer.close()


async def test_each_request_of_a_connection_gets_the_token_and_keeps_every_other_byte() -> None:
    first = (b"POST /a HTTP/1.1\r\n", b"hOST:  evil.example \r\nContent-length: 4\r\nMcp-Name: \t x \r\n\r\n\0\r\n\r")
    second = (b"GET /b HTTP/1.1\r\n", b"Host: b\r\nAuthorization: Basic own\r\n\r\n")
    async with open_door() as (_, writer, behind):
        for byte in b"".join((*first, *second)):
            writer.write(bytes((byte,)))
            await writer.drain()
        await behind.until(b"".join((first[0], TOKEN, first[1], second[0], TOKEN, second[1])))


async def test_answers_pass_as_they_come() -> None:
    async with open_door() as (reader, writer, behind):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await behind.until(b"GET / HTTP/1.1\r\n" + TOKEN + b"\r\n")
        for part in (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nda", b"ta\0\r\n"):
            await behind.say(part)
            async with asyncio.timeout(WAIT_S):
                assert await reader.readexactly(len(part)) == part


async def test_a_caller_that_leaves_leaves_behind_too() -> None:
    async with open_door() as (_, writer, behind):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await behind.until(b"GET / HTTP/1.1\r\n" + TOKEN + b"\r\n")
        writer.close()
        await behind.until(ends=1)


async def test_a_server_that_hangs_up_hangs_up_on_the_caller() -> None:
    async with open_door() as (reader, writer, behind):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await behind.until(b"GET / HTTP/1.1\r\n" + TOKEN + b"\r\n")
        behind.hang_up()
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""


async def test_a_request_whose_end_cannot_be_told_goes_no_further() -> None:
    async with open_door() as (reader, writer, behind):
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
        assert b"chunked" not in behind.heard


def test_the_length_of_a_body_is_read_in_any_spelling() -> None:
    assert body_bytes(b"POST / HTTP/1.1\r\nCONTENT-LENGTH: 12\r\n\r\n") == 12
    assert body_bytes(b"GET / HTTP/1.1\r\nX: content-length: 4\r\n\r\n") == 0
    with pytest.raises(Unreadable):
        body_bytes(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    assert authorized(b"GET / HTTP/1.1\r\n\r\n", "t") == b"GET / HTTP/1.1\r\nAuthorization: Bearer t\r\n\r\n"
