"""Asks addresses that the hub learned from outside: documents of clients, keys and metadata of issuers.

It owns where such a request may lead and what it may cost: only https to public addresses, unless an admin allows more;
one look-up, whose answer is also what is connected to; no proxy, redirect, cookie or second try; bounded time, bytes
and number. What an answer means is for those who asked. Errors hold nothing that the other side said but its status.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from hub.core.addresses import Address, Target, ascii_host, fit_url, is_loopback, judge
from hub.core.alarms import Alarms
from hub.core.errors import DownstreamError
from hub.core.ports import Fetched, FetchRefused
from hub.downstream import h1_request
from hub.downstream.h1 import Connection
from hub.downstream.h1_pool import default_tls
from hub.downstream.h1_request import Verb, check_configured
from hub.downstream.resolver import Resolver

AT_ONCE: Final = 16
WAITING: Final = 64  # fetches that wait for one of those to end
ADDRESSES: Final = 32  # of one host
TRIED: Final = 3  # of them
_FIXED: Final = {"accept-encoding": "identity", "user-agent": "mcp-hub", "connection": "close"}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, in the order to try them. Raises OSError."""

Dial = Callable[[Address, Target, ssl.SSLContext | None], Awaitable[Connection]]
"""A connection to exactly this address; with TLS, to who proves to be the target's host. Raises OSError."""


async def dial(address: Address, target: Target, tls: ssl.SSLContext | None) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(target.host, Alarms(), Connection.close, lambda _: None),
        str(address),
        target.port,
        ssl=tls,
        server_hostname=target.host if tls else None,
    )
    return connection


class GuardedFetcher:
    """`hub.core.ports.Fetcher`. One event loop uses it."""

    def __init__(
        self,
        *,
        local: Collection[str] = (),
        resolve: Resolve | None = None,
        dial: Dial = dial,
        connect_s: float = 5.0,
        total_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`local`: host names, addresses and networks (CIDR) that may be asked although they are private or this
        machine. A name vouches for whatever private address it has, a network for whatever name leads into it.

        `tls` replaces the system's trust; certificates and host names are checked with either. Raises ValueError when
        an entry of `local` is none of these, or a `tls` does not check.
        """
        if tls is not None and not (tls.check_hostname and tls.verify_mode is ssl.CERT_REQUIRED):
            raise ValueError("a fetcher needs TLS that checks certificates and host names")
        self._names, self._networks = _allowed(local)
        self._resolve, self._dial, self._tls = resolve or Resolver(), dial, tls
        self._connect_s, self._total_s = connect_s, total_s
        self._turns, self._waiting = asyncio.Semaphore(AT_ONCE), 0

    async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
        return await self._fetch("GET", url, {"accept": accept}, b"", max_bytes)

    async def post(
        self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
    ) -> Fetched:
        try:
            check_configured(headers)
        except ValueError as exc:
            raise FetchRefused(f"the request cannot be written: {exc}") from exc
        own = {"accept": "application/json", "content-type": content_type, "content-length": str(len(body))}
        return await self._fetch(
            "POST", url, {**{name.lower(): value for name, value in headers.items()}, **own}, body, max_bytes
        )

    async def _fetch(self, verb: Verb, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int) -> Fetched:
        try:
            target = fit_url(url, plain_loopback=True)
            data = _written(verb, target, headers) + body
        except ValueError as exc:
            raise FetchRefused(str(exc)) from exc
        try:
            async with asyncio.timeout(self._total_s), self._turn():
                connection = await self._connect(target, await self._addresses(target))
                return await _asked(connection, target, data, max_bytes)
        except TimeoutError as exc:
            raise FetchRefused(f"{target.authority} gave no whole answer within {self._total_s:g} s") from exc

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._turns.locked() and self._waiting >= WAITING:
            raise FetchRefused(f"{WAITING} fetches wait already; try again later")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _addresses(self, target: Target) -> list[Address]:
        """Those to try, after all that the host has were found fit: one bad one among them is somebody's attempt."""
        literal = target.literal
        if literal is not None:
            found = [literal]
        else:
            try:
                found = [ip_address(text) for text in await self._resolve(target.host, target.port)]
            except (OSError, ValueError) as exc:
                raise FetchRefused(f"the host name {target.host} cannot be resolved") from exc
        if not 0 < len(found) <= ADDRESSES:
            raise FetchRefused(f"the host name {target.host} has {len(found)} addresses")
        for address in found:
            self._check(target, address)
        return list(dict.fromkeys(found))[:TRIED]

    def _check(self, target: Target, address: Address) -> None:
        """The address itself is left out of the words: they may reach who sent the url, and names of inside hosts."""
        reach = judge(address)
        if reach == "never":
            raise FetchRefused(
                f"{target.host} leads to an address the hub never asks: link-local, reserved or of a cloud's metadata"
            )
        if reach == "local" and not self._is_allowed(target.host, address):
            raise FetchRefused(f"{target.host} leads into a private network; an admin can allow its name or network")
        if target.scheme == "http" and not is_loopback(address):
            raise FetchRefused(f"{target.host} is not this machine: its url must start with https://")

    def _is_allowed(self, host: str, address: Address) -> bool:
        if host in self._names:
            return True
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any(address in network or (mapped is not None and mapped in network) for network in self._networks)

    async def _connect(self, target: Target, addresses: Sequence[Address]) -> Connection:
        tls = (self._tls or default_tls()) if target.scheme == "https" else None
        why = ""
        for address in addresses:
            try:
                async with asyncio.timeout(self._connect_s):
                    return await self._dial(address, target, tls)
            except ssl.SSLCertVerificationError as exc:
                raise FetchRefused(
                    f"the certificate of {target.authority} is not trusted: {exc.verify_message}"
                ) from exc
            except ssl.SSLError as exc:
                raise FetchRefused(f"{target.authority} does not speak TLS as expected") from exc
            except TimeoutError:
                why = "does not accept connections in time"
            except ConnectionRefusedError:
                why = "refuses connections"
            except OSError as exc:
                why = f"cannot be reached ({exc.strerror or type(exc).__name__})"
        raise FetchRefused(f"{target.authority} {why}")


class _Answer:
    """The receiver of one answer: `hub.downstream.h1.Receiver`."""

    def __init__(self, connection: Connection, target: Target, max_bytes: int) -> None:
        self._connection, self._place, self._max_bytes = connection, target.authority, max_bytes
        self._status, self._headers, self._body = 0, dict[str, str](), bytearray()
        self.done: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, dict(headers)
        if 300 <= status < 400:
            self._refuse(f"answers with HTTP {status}, and the hub follows no redirect")

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._max_bytes:
            self._refuse(f"answers with HTTP {self._status} and more than {self._max_bytes} bytes")

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(Fetched(self._status, self._headers, bytes(self._body)))

    def on_failed(self, error: DownstreamError, untouched: bool) -> None:
        self._refuse(error.text)

    def _refuse(self, words: str) -> None:
        self._connection.close()
        if not self.done.done():
            self.done.set_exception(FetchRefused(f"{self._place} {words}"))


async def _asked(connection: Connection, target: Target, data: bytes, max_bytes: int) -> Fetched:
    try:
        if not connection.usable:
            raise FetchRefused(f"{target.authority} closed the connection before it was asked")
        answer = _Answer(connection, target, max_bytes)
        connection.send(answer, data)
        return await answer.done
    finally:
        connection.close()


def _written(verb: Verb, target: Target, headers: Mapping[str, str]) -> bytes:
    """Raises ValueError naming the header that cannot be sent."""
    aim = h1_request.Target(target.host, target.port, target.scheme == "https", target.path_and_query)
    return aim.head(verb, {**headers, **_FIXED}) + b"\r\n"


def _allowed(local: Collection[str]) -> tuple[frozenset[str], tuple[IPv4Network | IPv6Network, ...]]:
    names, networks = set[str](), []
    for entry in local:
        try:
            networks.append(ip_network(entry))
            continue
        except ValueError:
            pass
        try:
            if "/" in entry:
                raise ValueError("it is no network in CIDR form")
            names.add(ascii_host(entry))
        except ValueError as exc:
            raise ValueError(f"{entry[:80]!r} is no host name, address or network: {exc}") from exc
    return frozenset(names), tuple(networks)
