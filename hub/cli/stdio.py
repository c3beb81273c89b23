"""`mcp-hub stdio`: MCP on standard input and output, through the hub that owns the directory.

Standard output carries MCP alone: everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import threading
from asyncio import StreamReader, StreamWriter
from typing import Final

from hub.cli.bridge import Rejected, bridge, dial
from hub.cli.place import Place, add_config, place
from hub.running import StartRefused, start_background

LOOPBACK: Final = "127.0.0.1"  # the listener for bridges is nowhere else
FLUSH_S: Final = 5.0  # for the last answers to reach a file
_CHUNK: Final = 256 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--endpoint", metavar="NAME", default="", help="NAME of an endpoint /NAME/mcp (else /mcp)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_serve(place(args), args.endpoint))


async def _serve(where: Place, endpoint: str) -> int:
    async def connect() -> tuple[StreamReader, StreamWriter]:
        run = where.running()
        if run is None:
            try:
                run = await start_background(where.path, where.config.data_dir)
            except StartRefused as exc:
                raise Rejected(str(exc)) from exc
        return await dial(LOOPBACK, run.stdio_port, run.secret, endpoint)

    stdin, source = await read_from(0)
    stdout, flushed = await write_to(1)
    try:
        return await bridge(connect, stdin, stdout)
    finally:
        source.close()
        stdout.close()
        await asyncio.to_thread(flushed.wait, FLUSH_S)


async def read_from(fd: int) -> tuple[StreamReader, asyncio.ReadTransport]:
    """A reader of whatever the descriptor is; files, which no event loop polls, come through a thread."""
    if not _pollable(fd):
        source, sink = os.pipe()
        threading.Thread(target=_copy, args=(fd, sink, None), daemon=True).start()
        fd = source
    reader = StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", closefd=fd > 2)
    )
    return reader, transport


async def write_to(fd: int) -> tuple[StreamWriter, threading.Event]:
    """A writer to whatever the descriptor is, and the event of everything having reached it after its close."""
    flushed = threading.Event()
    if _pollable(fd):
        flushed.set()
    else:
        source, sink = os.pipe()
        threading.Thread(target=_copy, args=(source, fd, flushed), daemon=True).start()
        fd = sink
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(StreamReader()), os.fdopen(fd, "wb", closefd=fd > 2)
    )
    return StreamWriter(transport, protocol, None, loop), flushed


def _pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))


def _copy(source: int, sink: int, done: threading.Event | None) -> None:
    try:
        while chunk := os.read(source, _CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(sink, view) :]
    except OSError:  # the other end closed
        pass
    finally:
        for fd in (source, sink):
            if fd > 2:
                os.close(fd)
        if done is not None:
            done.set()
