"""The connections to one origin: bounded, kept warm, given to who waits, and words for why there is none."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path
from time import monotonic

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.core.alarms import Alarms
from hub.core.errors import Lost, Unreachable
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import WAITING, Connections, Down
from hub.downstream.h1_request import parse_url
from tests.downstream.raw_http import Got, RawServer, Say, raw_server, until, whole
from tests.downstream.test_h1 import Reader

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def hi(got: Got, say: Say) -> None:
    await say(whole(b"1"))


async def silence(got: Got, say: Say) -> None:
    await asyncio.Event().wait()


def pool(server: RawServer, limit: int = 2, idle_s: float = 4.0) -> Connections:
    return Connections("peer", parse_url(server.url), 2.0, limit=limit, idle_s=idle_s)


async def ask(connection: Connection) -> Reader:
    reader = Reader()
    connection.send(reader, ASK)
    await until(lambda: reader.ends or reader.error)
    return reader


async def test_connection_is_used_again() -> None:
    async with raw_server(hi) as server:
        connections = pool(server)
        assert connections.warm() is None
        for _ in range(3):
            assert (await ask(await connections.take(monotonic() + 2))).body == b"1"
        assert server.connections == 1
        connections.close()


async def test_idle_connection_is_not_trusted_for_long() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, idle_s=0.02)
        await ask(await connections.take(monotonic() + 2))
        await until(lambda: server.open == 0)  # nobody asks for it: it is closed all the same
        assert connections.warm() is None
        connections.close()


async def test_idle_connection_is_kept_only_as_long_as_its_server_says() -> None:
    async def brief(got: Got, say: Say) -> None:
        await say(whole(b"1", extra="keep-alive: timeout=1\r\n"))

    async with raw_server(brief) as server:
        connections = pool(server)
        await ask(await connections.take(monotonic() + 2))
        assert connections.warm() is None
        connections.close()


async def test_idle_connection_that_the_server_closed_is_forgotten() -> None:
    async def once(got: Got, say: Say) -> None:
        await say(whole(b"1"))
        raise ConnectionResetError

    async with raw_server(once) as server:
        connections = pool(server)
        await ask(await connections.take(monotonic() + 2))
        await until(lambda: connections.warm() is None)
        connections.close()


async def test_waiter_gets_the_connection_that_becomes_free() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        first = await connections.take(monotonic() + 2)
        waiting = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        assert not waiting.done()
        await ask(first)
        assert await waiting is first
        connections.close()


async def test_waiter_opens_another_when_one_closes() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        first = await connections.take(monotonic() + 2)
        waiting = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        first.close()
        assert (await ask(await waiting)).body == b"1"
        assert server.connections == 2
        connections.close()


async def test_never_more_connections_than_the_limit() -> None:
    most = asked = 0

    async def count(got: Got, say: Say) -> None:
        nonlocal most, asked
        asked += 1
        most = max(most, server.open)
        await say(whole(b"1", extra="connection: close\r\n" if asked % 3 == 0 else ""))

    async with raw_server(count) as server:
        connections = pool(server, limit=3)

        async def one() -> None:
            assert (await ask(await connections.take(monotonic() + 5))).body == b"1"

        await asyncio.gather(*(one() for _ in range(60)))
        assert most <= 4  # the server may not yet have noticed the end of one
        assert server.connections < 60
        connections.close()


async def test_waiting_ends_at_the_deadline_with_nothing_sent() -> None:
    async with raw_server(silence) as server:
        connections = pool(server, limit=1)
        first = await connections.take(monotonic() + 2)
        first.send(Reader(), ASK)
        with pytest.raises(Unreachable, match="busy") as caught:
            await connections.take(monotonic() + 0.02)
        assert not isinstance(caught.value, Down)  # the server itself is not known to be down
        connections.close()


async def test_waiting_is_bounded() -> None:
    async with raw_server(silence) as server:
        connections = pool(server, limit=1)
        (await connections.take(monotonic() + 2)).send(Reader(), ASK)
        tasks = [asyncio.create_task(connections.take(monotonic() + 5)) for _ in range(WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Unreachable, match="already wait"):
            await connections.take(monotonic() + 5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connections.close()


@pytest.mark.parametrize("freed", [True, False])
async def test_cancelled_waiter_loses_no_connection(freed: bool) -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        first = await connections.take(monotonic() + 2)
        waiting = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        if freed:
            reader = Reader()
            first.send(reader, ASK)
            while not reader.ends:
                await asyncio.sleep(0)
        else:
            first.close()
            while connections._waiters:
                await asyncio.sleep(0)
        waiting.cancel()  # it was given something in the same breath
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await ask(await connections.take(monotonic() + 2))).body == b"1"
        connections.close()


async def test_connection_that_died_on_its_way_to_a_waiter_is_replaced() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        first = await connections.take(monotonic() + 2)
        waiting = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        reader = Reader()
        first.send(reader, ASK)
        while not reader.ends:
            await asyncio.sleep(0)
        first.close()
        second = await waiting
        assert second is not first
        assert (await ask(second)).body == b"1"
        connections.close()


async def test_pool_closed_while_connecting_keeps_nothing_open() -> None:
    async with raw_server(hi) as server:
        connections = pool(server)
        opening = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        connections.close()
        with pytest.raises(Unreachable, match="closed this link"):
            await opening
        await until(lambda: server.open == 0)


async def test_place_beyond_the_limit_is_given_up_when_it_becomes_free() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        await connections.fresh(monotonic() + 2)
        extra = await connections.fresh(monotonic() + 2)
        await ask(extra)
        assert not extra.usable
        connections.close()


async def test_only_what_is_stale_is_closed() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=2, idle_s=0.2)
        first, second = [await connections.take(monotonic() + 2) for _ in range(2)]
        await ask(first)
        await ask(second)
        second.idle_since = monotonic() + 60  # as if it had just been of use, however slow the machine is
        await until(lambda: not first.usable)
        assert second.usable
        second.idle_since = 0.0
        await until(lambda: server.open == 0)
        connections.close()


async def test_connection_that_never_was_closes_without_a_fault() -> None:
    connection = Connection("peer", Alarms(), lambda c: None, lambda c: None)
    connection.close()
    assert not connection.usable


async def test_closing_tells_those_who_wait_and_those_who_read() -> None:
    async with raw_server(silence) as server:
        connections = pool(server, limit=1)
        reader = Reader()
        (await connections.take(monotonic() + 2)).send(reader, ASK)
        waiting = asyncio.create_task(connections.take(monotonic() + 2))
        await asyncio.sleep(0)
        connections.close()
        connections.close()
        with pytest.raises(Unreachable):
            await waiting
        assert isinstance(reader.error, Lost)
        with pytest.raises(Unreachable):
            await connections.fresh(monotonic() + 1)
        await until(lambda: server.open == 0)


async def test_long_stream_takes_no_place_from_calls() -> None:
    async with raw_server(hi) as server:
        connections = pool(server, limit=1)
        stream = await connections.fresh(monotonic() + 2)
        stream.send(Reader(), ASK)
        second = await connections.fresh(monotonic() + 2)
        assert second.usable
        connections.close()


async def _free_port() -> int:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_refused_connection_is_explained() -> None:
    target = parse_url(f"http://127.0.0.1:{await _free_port()}/")
    with pytest.raises(Down, match="nothing listens"):
        await Connections("peer", target, 3.0).take(monotonic() + 4)


async def test_unknown_host_is_explained() -> None:
    with pytest.raises(Down, match="cannot be resolved"):
        await Connections("peer", parse_url("http://no-such-host.invalid/"), 3.0).take(monotonic() + 4)


async def test_server_without_tls_is_explained() -> None:
    def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        target = parse_url(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(Down, match="does not speak TLS"):
            await Connections("peer", target, 3.0).take(monotonic() + 4)
    finally:
        server.close()


@pytest.mark.parametrize(("connect_s", "call_s", "down"), [(0.05, 5.0, True), (5.0, 0.05, False)])
async def test_connecting_has_a_deadline(connect_s: float, call_s: float, down: bool) -> None:
    async with raw_server(silence) as server:
        tls = parse_url(server.url.replace("http:", "https:"))  # it never answers the handshake
        began = monotonic()
        with pytest.raises(Unreachable, match="in time") as caught:
            await Connections("peer", tls, connect_s).take(monotonic() + call_s)
        assert isinstance(caught.value, Down) is down  # an impatient call proves nothing about the server
        assert monotonic() - began < 2


# -- TLS


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for a self-signed certificate, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    alt: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alt]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "both.pem"
    path.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_trusted_certificate_of_the_right_name_is_talked_to(tmp_path: Path) -> None:
    theirs, ours = certificate(tmp_path, "127.0.0.1")
    async with raw_server(hi, theirs) as server:
        connections = Connections("peer", parse_url(server.url), 2.0, tls=ours)
        assert (await ask(await connections.take(monotonic() + 2))).body == b"1"
        connections.close()
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificate_of_another_is_refused(tmp_path: Path, trusted: bool) -> None:
    theirs, ours = certificate(tmp_path, "elsewhere.example" if trusted else "127.0.0.1")
    async with raw_server(hi, theirs) as server:
        connections = Connections("peer", parse_url(server.url), 2.0, tls=ours if trusted else None)
        with pytest.raises(Down, match="not trusted"):
            await connections.take(monotonic() + 2)
        assert server.got == []


def test_everything_holds_on_uvloop_too(tmp_path: Path) -> None:
    theirs, ours = certificate(tmp_path, "127.0.0.1")

    async def main() -> None:
        for theirs_or_none, scheme in ((theirs, ours), (None, None)):
            async with raw_server(hi, theirs_or_none) as server:
                connections = Connections("peer", parse_url(server.url), 2.0, tls=scheme, limit=2)
                for _ in range(3):
                    assert (await ask(await connections.take(monotonic() + 2))).body == b"1"
                assert server.connections == 1
                connection = await connections.take(monotonic() + 2)
                connection.pause_for(0.01)
                assert (await ask(connection)).body == b"1"
                connections.close()
                await until(lambda: server.open == 0)

    uvloop.run(main())
