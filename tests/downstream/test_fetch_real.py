"""The fetcher against real servers on this machine: what it sends, whom it believes, and what it takes no more of."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from time import monotonic

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.core.addresses import Address, Target
from hub.core.ports import Fetched, FetchRefused
from hub.downstream.fetch import GuardedFetcher, Resolve, dial
from hub.downstream.h1 import HEAD_CAP, Connection
from tests.downstream.raw_http import Got, Hangup, RawServer, Say, chunk, raw_server, status, until, whole

HOST = "idp.example"
CANARY = "canary-7f3a"


class Authority:
    """A certificate authority of a test's own, and what trusts it alone."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CANARY)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = (
            self._builder(self._name, self._key.public_key(), 1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._pem = root.public_bytes(serialization.Encoding.PEM)
        self.trust = ssl.create_default_context(cadata=self._pem.decode())
        self._serial = 1

    def server(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """What proves to be any of these hosts, until `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._serial += 1
        alternatives = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{CANARY} leaf")])
        signed = (
            self._builder(subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{self._serial}.pem"
        path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=3))
            .not_valid_after(now + datetime.timedelta(days=days))
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def here(*addresses: str) -> tuple[list[str], Resolve]:
    """A name server that gives these addresses one after the other, the last for ever, and what it was asked."""
    asked: list[str] = []
    left = list(addresses)

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [left.pop(0) if len(left) > 1 else left[0]]

    return asked, resolve


async def home(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def document(got: Got, say: Say) -> None:
    await say(whole(b'{"a": 1}', extra="Cache-Control: max-age=60\r\n"))


async def get(server: RawServer, *, max_bytes: int = 65_536, total_s: float = 5.0) -> Fetched:
    fetcher = GuardedFetcher(local=["127.0.0.1"], total_s=total_s)
    return await fetcher.get(f"http://127.0.0.1:{server.port}/mcp", max_bytes=max_bytes)


async def unfetched(server: RawServer, words: str, *, max_bytes: int = 65_536, total_s: float = 5.0) -> None:
    with pytest.raises(FetchRefused, match=words) as caught:
        await get(server, max_bytes=max_bytes, total_s=total_s)
    assert CANARY not in str(caught.value)
    await until(lambda: server.open == 0)


# -- what is asked


async def test_a_document_comes_over_tls_from_who_proves_to_be_the_host(authority: Authority) -> None:
    heard: list[str | None] = []
    theirs = authority.server(HOST)
    theirs.sni_callback = lambda _, name, __: heard.append(name)
    async with raw_server(document, theirs) as server:
        fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust)
        fetched = await fetcher.get(f"https://{HOST}:{server.port}/client?x=%20", accept="application/cimd+json")
        assert (fetched.status, fetched.body) == (200, b'{"a": 1}')
        assert fetched.headers["cache-control"] == "max-age=60"
        assert heard == [HOST]
        (got,) = server.got
        assert (got.verb, got.path, got.body) == ("GET", "/client?x=%20", b"")
        assert got.headers == {
            "host": f"{HOST}:{server.port}",
            "accept": "application/cimd+json",
            "accept-encoding": "identity",
            "user-agent": "mcp-hub",
            "connection": "close",
        }
        await until(lambda: server.open == 0)


async def test_a_post_carries_its_body_and_the_hubs_own_credentials(authority: Authority) -> None:
    async with raw_server(document, authority.server(HOST)) as server:
        fetcher = GuardedFetcher(local=["127.0.0.0/8"], resolve=home, tls=authority.trust)
        fetched = await fetcher.post(
            f"https://{HOST}:{server.port}/introspect",
            b"token=x",
            content_type="application/x-www-form-urlencoded",
            headers={"Authorization": "Basic Og=="},
        )
        assert fetched.body == b'{"a": 1}'
        (got,) = server.got
        assert (got.verb, got.path, got.body) == ("POST", "/introspect", b"token=x")
        assert got.headers["authorization"] == "Basic Og=="
        assert got.headers["content-type"] == "application/x-www-form-urlencoded"
        assert got.headers["content-length"] == "7"


async def test_an_address_proves_itself_by_its_certificate_too(authority: Authority) -> None:
    async with raw_server(document, authority.server("127.0.0.1")) as server:
        fetcher = GuardedFetcher(local=["127.0.0.1"], tls=authority.trust)
        assert (await fetcher.get(f"https://127.0.0.1:{server.port}/")).status == 200


async def test_this_machine_is_asked_in_plain_http_where_it_is_allowed() -> None:
    async with raw_server(document) as server:
        fetcher = GuardedFetcher(local=["localhost"])  # looked up by the system; it may try ::1 first
        assert (await fetcher.get(f"http://localhost:{server.port}/")).body == b'{"a": 1}'
        with pytest.raises(FetchRefused, match="private network"):
            await GuardedFetcher().get(f"http://localhost:{server.port}/")
        assert len(server.got) == 1


@pytest.mark.parametrize("line", ["404 Not Found", "500 Oops", "204 No Content", "401 Unauthorized"])
async def test_an_answer_of_any_other_status_is_handed_over(line: str) -> None:
    async def say_so(got: Got, say: Say) -> None:
        await say(status(line))

    async with raw_server(say_so) as server:
        assert (await get(server)).status == int(line[:3])


# -- whom it believes


async def test_a_name_that_changes_its_address_is_asked_where_it_was_judged(authority: Authority) -> None:
    asked, resolve = here("127.0.0.1", "127.0.0.2", "127.0.0.2")
    theirs = authority.server(HOST)
    async with raw_server(document, theirs) as server:
        second = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.2", server.port, ssl=theirs)
        async with second:
            fetcher = GuardedFetcher(local=["127.0.0.1"], resolve=resolve, tls=authority.trust)
            assert (await fetcher.get(f"https://{HOST}:{server.port}/")).status == 200
            assert asked == [HOST]
            with pytest.raises(FetchRefused, match="private network"):
                await fetcher.get(f"https://{HOST}:{server.port}/")
        assert len(server.got) == 1


@pytest.mark.parametrize("kind", ["another host", "wildcard above", "expired", "unknown authority", "address for name"])
async def test_a_certificate_that_proves_nothing_ends_it_before_a_request_is_sent(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "other").mkdir()
    theirs = {
        "another host": lambda: authority.server("elsewhere.example"),
        "wildcard above": lambda: authority.server("*.idp.example"),
        "expired": lambda: authority.server(HOST, days=-1),
        "unknown authority": lambda: Authority(tmp_path / "other").server(HOST),
        "address for name": lambda: authority.server("127.0.0.1"),
    }[kind]()
    async with raw_server(document, theirs) as server:
        fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust)
        with pytest.raises(FetchRefused, match="not trusted") as caught:
            await fetcher.get(f"https://{HOST}:{server.port}/")
        assert CANARY not in str(caught.value)
        assert server.got == []


async def test_the_systems_trust_does_not_know_a_private_authority(authority: Authority) -> None:
    async with raw_server(document, authority.server(HOST)) as server:
        with pytest.raises(FetchRefused, match="not trusted"):
            await GuardedFetcher(local=[HOST], resolve=home).get(f"https://{HOST}:{server.port}/")
        assert server.got == []


async def test_a_server_without_tls_is_never_spoken_to_in_plain(authority: Authority) -> None:
    seen = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(4096))
        writer.write(f"HTTP/1.1 200 OK\r\nx: {CANARY}\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust)
        with pytest.raises(FetchRefused, match=r"does not speak TLS|cannot be reached") as caught:
            await fetcher.get(f"https://{HOST}:{server.sockets[0].getsockname()[1]}/secret-path")
        assert CANARY not in str(caught.value)
    assert b"secret-path" not in seen
    assert seen[:1] == b"\x16"  # a TLS handshake


async def test_no_proxy_of_the_environment_gets_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(document) as proxy, raw_server(document) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.port}")
        await get(server)
        assert (proxy.connections, server.connections) == (0, 1)


async def test_nothing_listening_is_explained() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        with pytest.raises(FetchRefused, match="refuses connections"):
            await GuardedFetcher(local=["127.0.0.1"]).get(f"http://127.0.0.1:{taken.getsockname()[1]}/")


# -- what it takes no more of


@pytest.mark.parametrize("code", [300, 301, 302, 303, 304, 305, 307, 308])
async def test_a_redirect_is_refused_and_not_followed(code: int) -> None:
    async with raw_server(document) as inside:

        async def away(got: Got, say: Say) -> None:
            await say(status(f"{code} Moved", f"location: http://127.0.0.1:{inside.port}/{CANARY}\r\n"))

        async with raw_server(away) as server:
            await unfetched(server, f"HTTP {code}, and the hub follows no redirect")
        assert inside.connections == 0


@pytest.mark.parametrize("framing", ["length", "chunks", "until the end", "a lying length"])
async def test_a_body_beyond_the_cap_is_cut_off(framing: str) -> None:
    sent = 0

    async def flood(got: Got, say: Say) -> None:
        nonlocal sent
        heads = {
            "length": "content-length: 999999999\r\n",
            "a lying length": f"content-length: {2**63}\r\n",
            "chunks": "transfer-encoding: chunked\r\n",
            "until the end": "connection: close\r\n",
        }
        await say(f"HTTP/1.1 200 OK\r\n{heads[framing]}\r\n".encode())
        while True:
            piece = CANARY.encode() * 100
            await say(chunk(piece) if framing == "chunks" else piece)
            sent += len(piece)

    async with raw_server(flood) as server:
        await unfetched(server, "HTTP 200 and more than 1000 bytes", max_bytes=1000)
    assert sent < 50_000_000


@pytest.mark.parametrize(("size", "fits"), [(0, True), (999, True), (1000, True), (1001, False)])
async def test_the_cap_is_exact(size: int, fits: bool) -> None:
    async def say_so(got: Got, say: Say) -> None:
        await say(whole(b"x" * size))

    async with raw_server(say_so) as server:
        if fits:
            assert (await get(server, max_bytes=1000)).body == b"x" * size
        else:
            await unfetched(server, "more than 1000 bytes", max_bytes=1000)


@pytest.mark.parametrize(
    "coding", ["content-encoding: gzip", "content-encoding: br", "transfer-encoding: gzip, chunked"]
)
async def test_a_compressed_answer_is_refused_unread(coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))

    async def explode(got: Got, say: Say) -> None:
        await say(f"HTTP/1.1 200 OK\r\n{coding}\r\n".encode())
        await say(b"\r\n" if "transfer" in coding else f"content-length: {len(bomb)}\r\n\r\n".encode())
        await say(bomb)

    async with raw_server(explode) as server:
        await unfetched(server, "compresses its answer|transfer coding|broken HTTP")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (f"HTTP/1.1 200 {CANARY}\r\n" + f"x: {CANARY}\r\n" * HEAD_CAP, "endless headers"),
        (f"HTTP/1.1 200 OK\r\nx: {'a' * (HEAD_CAP + 1)}", "endless headers"),
        ("HTTP/1.1 103 Early\r\n\r\n" * 100, "that nothing asked for"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "that nothing asked for|switch protocols"),
        (f"SSH-2.0-{CANARY}\r\n", "broken HTTP"),
        (f"220 {CANARY} ESMTP\r\n", "broken HTTP"),
        (f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n", "broken HTTP"),
        (f"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{CANARY}", "broken HTTP"),
        (f"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{CANARY}", "broken HTTP"),
        (f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{CANARY}\r\n", "broken HTTP"),
        (f"HTTP/2 200\r\nx: {CANARY}\r\n\r\n", "broken HTTP|another version"),
    ],
)
async def test_what_is_not_plain_http_is_refused_without_its_words(head: str, words: str) -> None:
    async def say_so(got: Got, say: Say) -> None:
        await say(head.encode())
        await asyncio.Event().wait()

    async with raw_server(say_so) as server:
        await unfetched(server, words)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", b"HTTP/1.1 200 OK\r\nx: "])
async def test_half_an_answer_is_none(said: bytes) -> None:
    async def leave(got: Got, say: Say) -> None:
        await say(said)
        raise Hangup

    async with raw_server(leave) as server:
        await unfetched(server, "before the answer was whole")


@pytest.mark.parametrize("where", ["nothing", "head", "body", "chunks", "interim"])
async def test_dripping_ends_with_the_whole_time(where: str) -> None:
    async def drip(got: Got, say: Say) -> None:
        first = {
            "nothing": b"",
            "head": b"HTTP/1.1 200 OK\r\n",
            "body": b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n",
            "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "interim": b"HTTP/1.1 103 Early\r\n\r\n",
        }
        piece = {"head": b"a: b\r\n", "body": b"x", "chunks": chunk(b"x"), "nothing": b"", "interim": b""}[where]
        await say(first[where])
        while True:
            await say(piece)
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server:
        began = monotonic()
        await unfetched(server, r"within 0\.3 s", total_s=0.3)
        assert monotonic() - began < 3


async def test_a_handshake_that_never_comes_ends_with_the_time_to_connect(authority: Authority) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust, connect_s=0.1)
        with pytest.raises(FetchRefused, match="accept connections in time"):
            await fetcher.get(f"https://{HOST}:{server.sockets[0].getsockname()[1]}/")
        await asyncio.wait_for(gone.wait(), 5)


async def test_what_is_said_before_the_request_is_no_answer() -> None:
    closed = asyncio.Event()

    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(CANARY.encode()))
        await reader.read()
        closed.set()
        writer.close()

    async def late(address: Address, target: Target, tls: ssl.SSLContext | None) -> Connection:
        connection = await dial(address, target, tls)
        await asyncio.wait_for(closed.wait(), 5)  # its bytes came, and ended it
        return connection

    async with await asyncio.start_server(eager, "127.0.0.1", 0) as server:
        fetcher = GuardedFetcher(local=["127.0.0.1"], dial=late)
        with pytest.raises(FetchRefused, match="before it was asked"):
            await fetcher.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def test_cancelling_closes_the_connection() -> None:
    async def silence(got: Got, say: Say) -> None:
        await asyncio.Event().wait()

    async with raw_server(silence) as server:
        task = asyncio.create_task(get(server))
        await until(lambda: server.got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open == 0)


async def test_many_at_once_leave_nothing_open(authority: Authority) -> None:
    async with raw_server(document, authority.server(HOST)) as server:
        fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust)
        url = f"https://{HOST}:{server.port}/"
        answers = await asyncio.gather(*(fetcher.get(url) for _ in range(40)))
        assert [answer.body for answer in answers] == [b'{"a": 1}'] * 40
        assert server.connections == 40
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_holds_on_either_event_loop(
    authority: Authority, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def main() -> None:
        async with raw_server(document, authority.server(HOST)) as server:
            fetcher = GuardedFetcher(local=[HOST], resolve=home, tls=authority.trust)
            assert (await fetcher.get(f"https://{HOST}:{server.port}/")).status == 200
            with pytest.raises(FetchRefused, match="not trusted"):
                await GuardedFetcher(local=[HOST], resolve=home).get(f"https://{HOST}:{server.port}/")
            await until(lambda: server.open == 0)

    run(main())
