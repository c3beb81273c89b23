"""`mcp-hub stdio`: pipes, files and the hub behind it; standard output carries MCP alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hub.cli import stdio
from hub.cli.main import main
from hub.running import StartRefused, read_run
from tests.cli.hub import SECRET, running

COMMAND = [sys.executable, "-m", "hub.cli.main"]
PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'


@contextmanager
def door() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A stdio listener that notes each hello and answers every request with its own method."""
    hellos: list[dict[str, Any]] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, connection.makefile("rwb") as stream:
                    hellos.append(json.loads(stream.readline()))
                    ok = hellos[-1]["secret"] == SECRET and hellos[-1]["endpoint"] != "nope"
                    stream.write(b'{"ok":true}\n' if ok else b'{"error":"there is no endpoint nope"}\n')
                    stream.flush()
                    for line in stream if ok else ():
                        request = json.loads(line)
                        told = {"jsonrpc": "2.0", "id": request["id"], "result": {"did": request["method"]}}
                        stream.write(json.dumps(told).encode() + b"\n")
                        stream.flush()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], hellos
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def answers(out: bytes) -> list[Any]:
    return [json.loads(line)["result"] for line in out.splitlines()]


def test_lines_cross_in_both_directions_until_the_client_closes(data_dir: Path) -> None:
    with door() as (port, hellos), running(data_dir, port):
        done = subprocess.run([*COMMAND, "stdio", "--endpoint", "clock"], input=PING, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    assert answers(done.stdout) == [{"did": "ping"}]
    assert hellos == [{"mcp-hub-stdio": 1, "secret": SECRET, "endpoint": "clock"}]


def test_files_take_the_place_of_pipes(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(PING)
    with (
        door() as (port, _),
        running(data_dir, port),
        (tmp_path / "in").open("rb") as source,
        (tmp_path / "out").open("wb") as sink,
    ):
        done = subprocess.run([*COMMAND, "stdio"], stdin=source, stdout=sink, timeout=20)
    assert done.returncode == 0
    assert answers((tmp_path / "out").read_bytes()) == [{"did": "ping"}]


def test_an_endpoint_that_does_not_exist_is_told_on_standard_error(data_dir: Path) -> None:
    with door() as (port, _), running(data_dir, port):
        done = subprocess.run([*COMMAND, "stdio", "--endpoint", "nope"], input=PING, capture_output=True, timeout=20)
    assert done.returncode == 1
    assert b"there is no endpoint nope" in done.stderr
    assert all("error" in json.loads(line) for line in done.stdout.splitlines())


def test_a_bad_configuration_says_nothing_on_standard_output(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text("listen: x")
    done = subprocess.run([*COMMAND, "stdio"], input=PING, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"listen: must be HOST:PORT" in done.stderr


def test_a_hub_that_does_not_start_is_told_on_standard_error(
    data_dir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(config: Path | None, where: Path) -> Any:
        raise StartRefused("the hub did not start; the port is taken")

    source, sink = os.pipe()
    os.write(sink, PING)
    os.close(sink)
    real = stdio.read_from

    async def piped(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
        return await real(source)

    monkeypatch.setattr(stdio, "start_background", start)
    monkeypatch.setattr(stdio, "read_from", piped)
    assert main(["stdio"]) in (0, 1)
    assert "the port is taken" in capfd.readouterr().err


async def test_a_reader_of_a_file_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 600_000)
    fd = os.open(tmp_path / "in", os.O_RDONLY)
    reader, transport = await stdio.read_from(fd)
    async with asyncio.timeout(5):
        assert len(await reader.read()) == 600_000
    transport.close()


async def test_a_writer_to_a_file_has_written_all_once_it_says_so(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    writer, flushed = await stdio.write_to(fd)
    writer.write(b"y" * 600_000)
    await writer.drain()
    writer.close()
    assert await asyncio.to_thread(flushed.wait, 5)
    await writer.wait_closed()
    assert (tmp_path / "out").stat().st_size == 600_000


async def test_a_pipe_is_polled_and_needs_no_thread() -> None:
    source, sink = os.pipe()
    reader, transport = await stdio.read_from(source)
    writer, flushed = await stdio.write_to(sink)
    assert flushed.is_set()
    writer.write(b"line\n")
    async with asyncio.timeout(5):
        assert await reader.readline() == b"line\n"
        writer.close()
        assert await reader.read() == b""
        await writer.wait_closed()
    transport.close()


def test_a_reader_that_closed_ends_the_copy(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    source, sink = os.pipe()
    os.close(source)
    done = threading.Event()
    stdio._copy(os.open(tmp_path / "in", os.O_RDONLY), sink, done)
    assert done.is_set()


def test_without_a_hub_one_is_started_which_outlives_its_client(data_dir: Path, tmp_path: Path) -> None:
    """The whole of it: a client, its bridge, and the hub that the bridge starts, with the sandbox."""
    config = tmp_path / "own.yaml"
    config.write_text("listen: 127.0.0.1:0\nmcpServers: {sandbox: {connector: sandbox}}")
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    done = subprocess.run(
        [*COMMAND, "stdio", "--config", str(config)],
        input=json.dumps(hello).encode() + b"\n",
        capture_output=True,
        timeout=30,
    )
    run = read_run(data_dir)
    assert run is not None, (done.stderr, (data_dir / "background.log").read_text())
    try:
        assert answers(done.stdout)[0]["protocolVersion"] == "2025-11-25"
        call = [*COMMAND, "tools", "call", "sandbox__query_customer_data", "--config", str(config)]
        args = ["--args", '{"customer_id": "C-1001"}', "--json"]
        told = subprocess.run([*call, *args], capture_output=True, timeout=30, check=True)
        assert json.loads(told.stdout)["structuredContent"]["customer"]["customer_id"] == "C-1001"
    finally:
        os.kill(run.pid, signal.SIGTERM)
    for _ in range(500):
        if read_run(data_dir) is None:
            break
        threading.Event().wait(0.01)
    assert read_run(data_dir) is None
