"""Where the fetcher may be sent: judged before it connects, whoever wrote the url or answers for the name."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from threading import Event, Lock

import pytest

from hub.core.addresses import Address, Target
from hub.core.ports import FetchRefused
from hub.downstream.fetch import ADDRESSES, AT_ONCE, TRIED, WAITING, GuardedFetcher
from hub.downstream.h1 import Connection
from hub.downstream.resolver import Resolver
from tests.core.test_addresses import LOCAL, NEVER, PUBLIC, UNFIT
from tests.downstream.raw_http import until

HOST = "idp.example"


class Names:
    """A name server that gives one answer after the other, the last for ever."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self._answers, self.asked = list(answers), list[str]()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Dialled:
    """Notes what would be connected to; nothing answers there."""

    def __init__(self, error: OSError | None = None) -> None:
        self._error = error or ConnectionRefusedError()
        self.addresses: list[Address] = []
        self.tls: list[bool] = []

    async def __call__(self, address: Address, target: Target, tls: ssl.SSLContext | None) -> Connection:
        self.addresses.append(address)
        self.tls.append(tls is not None)
        raise self._error


async def refused(fetcher: GuardedFetcher, url: str, words: str | None = None) -> str:
    with pytest.raises(FetchRefused, match=words) as caught:
        await fetcher.get(url)
    with pytest.raises(FetchRefused, match=words):
        await fetcher.post(url, b"x=1", content_type="application/x-www-form-urlencoded")
    return str(caught.value)


def literal(text: str) -> str:
    return f"https://[{text}]/" if ":" in text else f"https://{text}/"


INNER = [text for text in (*LOCAL.split(), *NEVER.split()) if "%" not in text]
CORPUS: list[tuple[str, list[str]]] = [
    *((url, ["8.8.8.8"]) for url, _ in UNFIT),
    *((literal(text), ["8.8.8.8"]) for text in INNER),
    *((f"https://{HOST}/", [text]) for text in (*INNER, "fe80::1%eth0", "::1%lo")),
    (f"https://{HOST}/", ["8.8.8.8", "127.0.0.1"]),  # one good answer makes no bad one good
    (f"https://{HOST}/", ["2606:4700::1111", "8.8.8.8", "1.1.1.1", "1.0.0.1", "10.0.0.1"]),
    (f"https://{HOST}/", ["127.0.0.1", "8.8.8.8"]),
    (f"https://{HOST}/", ["8.8.8.8", "169.254.169.254", "1.1.1.1"]),
    (f"https://{HOST}/", []),
    (f"https://{HOST}/", ["not an address"]),
    (f"https://{HOST}/", [f"8.8.{part}.8" for part in range(ADDRESSES + 1)]),
    ("https://localhost/", ["::1", "127.0.0.1"]),
    ("https://localhost/", ["8.8.8.8", "127.0.0.1"]),
    ("http://localhost/", ["127.0.0.1"]),
    ("http://localhost/", ["8.8.8.8"]),
    ("http://127.0.0.1/", ["8.8.8.8"]),
    ("http://127.0.0.1:6379/", ["8.8.8.8"]),
    ("http://[::1]/", ["8.8.8.8"]),
    ("http://[::ffff:127.0.0.1]/", ["8.8.8.8"]),
    ("http://169.254.169.254/latest/meta-data/", ["8.8.8.8"]),
    ("https://metadata.google.internal/", ["169.254.169.254"]),
    ("https://instance-data/", ["169.254.169.254"]),
    ("https://127.0.0.1.nip.example/", ["127.0.0.1"]),
    ("https://kubernetes.default.svc/", ["10.96.0.1"]),
]


@pytest.mark.parametrize(("url", "answer"), CORPUS)
async def test_an_address_learned_from_outside_never_leads_into_the_own_network(url: str, answer: list[str]) -> None:
    dialled = Dialled()
    message = await refused(GuardedFetcher(resolve=Names(answer), dial=dialled), url)
    assert dialled.addresses == []
    for address in answer:  # whoever sent the url learns nothing of what inside names stand for
        assert len(address) < 7 or address in url or address not in message


@pytest.mark.parametrize("text", [text for text in NEVER.split() if "%" not in text])
async def test_no_allowance_leads_to_metadata_or_reserved_addresses(text: str) -> None:
    dialled, names = Dialled(), Names([text])
    fetcher = GuardedFetcher(local=["0.0.0.0/0", "::/0", HOST, text], resolve=names, dial=dialled)
    await refused(fetcher, literal(text), "never asks")
    await refused(fetcher, f"https://{HOST}/", "never asks")
    assert dialled.addresses == []


@pytest.mark.parametrize("text", PUBLIC.split())
async def test_a_public_address_is_connected_to_as_it_was_judged(text: str) -> None:
    dialled, names = Dialled(), Names([text])
    fetcher = GuardedFetcher(resolve=names, dial=dialled)
    await refused(fetcher, f"https://{HOST}/", "refuses connections")
    await refused(fetcher, literal(text), "refuses connections")
    assert dialled.addresses == [ip_address(text)] * 4
    assert dialled.tls == [True] * 4
    assert names.asked == [HOST] * 2  # an address is not looked up


async def test_a_name_is_looked_up_once_and_what_it_says_later_does_not_matter() -> None:
    dialled, names = Dialled(), Names(["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(FetchRefused, match="refuses connections"):
        await GuardedFetcher(resolve=names, dial=dialled).get(f"https://{HOST}/")
    assert names.asked == [HOST]
    assert dialled.addresses == [ip_address("8.8.8.8")]


async def test_the_next_address_is_tried_and_only_a_few() -> None:
    dialled, names = Dialled(), Names(["8.8.8.8", "8.8.8.8", *(f"1.1.1.{last}" for last in range(1, 9))])
    with pytest.raises(FetchRefused, match=r"idp\.example refuses connections"):
        await GuardedFetcher(resolve=names, dial=dialled).get(f"https://{HOST}/")
    assert dialled.addresses == [ip_address(text) for text in ("8.8.8.8", "1.1.1.1", "1.1.1.2")]
    assert len(dialled.addresses) == TRIED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), r"cannot be reached \(Network is unreachable\)"),
        (ConnectionResetError(), r"cannot be reached \(ConnectionResetError\)"),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), "does not accept connections in time"),
    ],
)
async def test_an_address_without_a_way_to_it_leads_to_the_next_and_is_explained(error: OSError, words: str) -> None:
    dialled = Dialled(error)
    with pytest.raises(FetchRefused, match=words):
        await GuardedFetcher(resolve=Names(["2606:4700::1111", "8.8.8.8"]), dial=dialled).get(f"https://{HOST}/")
    assert len(dialled.addresses) == 2


async def test_a_peer_that_fails_to_prove_itself_is_not_looked_for_elsewhere() -> None:
    dialled = Dialled(ssl.SSLError("canary"))
    message = await refused(GuardedFetcher(resolve=Names(["8.8.8.8", "1.1.1.1"]), dial=dialled), f"https://{HOST}/")
    assert message == f"{HOST} does not speak TLS as expected"
    assert dialled.addresses == [ip_address("8.8.8.8")] * 2


@pytest.mark.parametrize(
    ("local", "url", "address"),
    [
        (["idp.example"], "https://IdP.Example/", "10.1.2.3"),
        (["IDP.example"], "https://idp.example/", "::ffff:10.1.2.3"),
        (["bücher.example"], "https://xn--bcher-kva.example/", "fd00::1"),
        (["10.0.0.0/8"], "https://idp.example/", "10.1.2.3"),
        (["10.0.0.0/8"], "https://idp.example/", "::ffff:10.1.2.3"),
        (["fd12::/16"], "https://idp.example/", "fd12::1"),
        (["10.1.2.3"], "https://10.1.2.3/", "10.1.2.3"),
        (["[fd00::1]"], "https://[fd00::1]/", "fd00::1"),
        (["fd00::1"], "https://[fd00:0::1]/", "fd00::1"),
        (["64:ff9b::/96"], "https://idp.example/", "64:ff9b::10.1.2.3"),
    ],
)
async def test_an_admin_may_allow_a_name_an_address_or_a_network(local: list[str], url: str, address: str) -> None:
    dialled = Dialled()
    await refused(GuardedFetcher(local=local, resolve=Names([address]), dial=dialled), url, "refuses connections")
    assert dialled.addresses == [ip_address(address)] * 2


@pytest.mark.parametrize(
    ("local", "url", "address"),
    [
        (["idp.example"], "https://a.idp.example/", "10.1.2.3"),
        (["idp.example"], "https://example/", "10.1.2.3"),
        (["10.0.0.0/8"], "https://idp.example/", "192.168.0.1"),
        (["10.0.0.0/8"], "https://idp.example/", "64:ff9b::10.0.0.1"),  # who has a translator names its prefix
        (["10.1.2.3"], "https://idp.example/", "10.1.2.4"),
    ],
)
async def test_an_allowance_reaches_no_further_than_it_says(local: list[str], url: str, address: str) -> None:
    dialled = Dialled()
    await refused(GuardedFetcher(local=local, resolve=Names([address]), dial=dialled), url, "private network")
    assert dialled.addresses == []


@pytest.mark.parametrize(
    ("local", "url", "address", "words"),
    [
        (["localhost"], "http://localhost:1/", "127.0.0.1", "refuses connections"),
        (["localhost"], "http://localhost:1/", "::1", "refuses connections"),
        (["127.0.0.0/8"], "http://127.0.0.1:1/", "127.0.0.1", "refuses connections"),
        (["localhost"], "http://localhost:1/", "10.0.0.1", "https://"),
        (["localhost"], "http://localhost:1/", "8.8.8.8", "https://"),
        (["10.0.0.1"], "http://10.0.0.1/", "10.0.0.1", "https://"),
        (["idp.example"], "http://idp.example/", "127.0.0.1", "https://"),
        ([], "http://localhost:1/", "127.0.0.1", "private network"),
    ],
)
async def test_plain_http_is_for_this_machine_where_it_is_allowed(
    local: list[str], url: str, address: str, words: str
) -> None:
    dialled = Dialled()
    await refused(GuardedFetcher(local=local, resolve=Names([address]), dial=dialled), url, words)
    assert dialled.addresses == ([ip_address(address)] * 2 if words == "refuses connections" else [])
    assert not any(dialled.tls)


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "a b", "10.1", "https://a.example/", "*.example", "a.example/8"])
def test_an_allowance_that_means_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no host name, address or network"):
        GuardedFetcher(local=[entry])


def test_tls_that_checks_nothing_is_refused() -> None:
    lax = ssl.create_default_context()
    lax.check_hostname = False
    with pytest.raises(ValueError, match="checks certificates"):
        GuardedFetcher(tls=lax)


@pytest.mark.parametrize("answer", [OSError("canary"), TimeoutError("canary"), UnicodeError("canary")])
async def test_a_name_that_cannot_be_looked_up_is_explained(answer: Exception) -> None:
    dialled = Dialled()
    message = await refused(GuardedFetcher(resolve=Names(answer), dial=dialled), f"https://{HOST}/", "be resolved")
    assert "canary" not in message
    assert dialled.addresses == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nb: c"},
        {"a b": "c"},
        {"Host": "b"},
        {"Content-Length": "0"},
        {"x": "\x00"},
        {"Transfer-Encoding": "x"},
    ],
)
async def test_a_header_that_says_more_than_one_thing_is_not_sent(headers: dict[str, str]) -> None:
    dialled = Dialled()
    fetcher = GuardedFetcher(resolve=Names(["8.8.8.8"]), dial=dialled)
    with pytest.raises(FetchRefused, match=r"header|value"):
        await fetcher.post(f"https://{HOST}/", b"", content_type="text/plain", headers=headers)
    with pytest.raises(FetchRefused, match="value of header accept"):
        await fetcher.get(f"https://{HOST}/", accept="a\r\nb: c")
    assert dialled.addresses == []


# -- time and number


async def never(host: str, port: int) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


async def test_a_name_server_that_never_answers_costs_no_more_than_the_whole_time() -> None:
    with pytest.raises(FetchRefused, match=r"within 0\.05 s"):
        await GuardedFetcher(resolve=never, total_s=0.05).get(f"https://{HOST}/")


async def test_few_fetches_run_at_once_some_wait_and_the_rest_are_refused() -> None:
    running, most, go = 0, 0, asyncio.Event()

    async def slow(host: str, port: int) -> Sequence[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        return ["8.8.8.8"]

    fetcher = GuardedFetcher(resolve=slow, dial=Dialled(), total_s=30)
    tasks = [asyncio.create_task(fetcher.get(f"https://{HOST}/")) for _ in range(AT_ONCE + WAITING)]
    await until(lambda: running == AT_ONCE and fetcher._waiting == WAITING)
    with pytest.raises(FetchRefused, match="wait already"):
        await fetcher.get(f"https://{HOST}/")
    tasks[-1].cancel()  # one that waited makes room for another
    await until(lambda: fetcher._waiting == WAITING - 1)
    tasks[-1] = asyncio.create_task(fetcher.get(f"https://{HOST}/"))
    await until(lambda: fetcher._waiting == WAITING)
    go.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert most == AT_ONCE
    assert [str(end) for end in ends] == [f"{HOST} refuses connections"] * len(tasks)
    assert (running, fetcher._waiting) == (0, 0)


async def test_waiting_for_a_turn_counts_as_time() -> None:
    fetcher = GuardedFetcher(resolve=never, total_s=0.1)
    ends = await asyncio.gather(*(fetcher.get(f"https://{HOST}/") for _ in range(AT_ONCE * 2)), return_exceptions=True)
    assert all(isinstance(end, FetchRefused) for end in ends)


# -- the system's own look-up


async def test_the_system_knows_this_machine_by_name_and_no_other_of_that_zone() -> None:
    resolver = Resolver()
    assert set(await resolver("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        await resolver("no-such-host.invalid", 443)
    assert set(await resolver("localhost", 443))  # nothing is left over from a failure


async def test_look_ups_that_nobody_waits_for_any_more_count_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    release, lock, started = Event(), Lock(), 0

    def stuck(*_: object, **__: object) -> list[object]:
        nonlocal started
        with lock:
            started += 1
        release.wait(5)
        return [(0, 0, 0, "", ("8.8.8.8", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    resolver = Resolver(at_once=3)
    try:
        tasks = [asyncio.create_task(resolver(HOST, 443)) for _ in range(3)]
        await until(lambda: started == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(FetchRefused, match="name servers"):
            await resolver(HOST, 443)
    finally:
        release.set()
    await until(lambda: resolver._under_way == 0)
    assert await resolver(HOST, 443) == ("8.8.8.8",)
