"""A client that is hostile: slow, never reading, too many at once, or meaning two things with one request."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from conformance.faults.client import SMUGGLING, Asked, exchange, reading_nothing, statuses, take, trickle
from hub.audit.read import tail
from tests.e2e.hub_process import until
from tests.e2e.raw_http import Http, modern_message, raw_exchange
from tests.e2e.real import TOKEN
from tests.faults.world import World, calm, recovered, together, world

pytestmark = pytest.mark.e2e

HEADER_S, BODY_S, CONNECTIONS = 1.0, 1.5, 60
SERVED: Final = {"chunked over HTTP/1.0", "a call as the body of a GET"}  # clean enough, and answered once


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    edge = {"header_s": HEADER_S, "body_s": BODY_S, "connections": CONNECTIONS, "body_bytes": 1024 * 1024}
    with world(tmp_path_factory.mktemp("clients"), {}, edge=edge, output_bytes=64 * 1024 * 1024) as made:
        yield made


def asked(hub: World) -> Asked:
    return Asked(hub.port, TOKEN, "sandbox__query_customer_data", {"customer_id": "C-1001"})


def calls(hub: World) -> int:
    """How many calls the log holds."""
    return sum(entry["kind"] == "call" for entry in tail(hub.hub.data_dir / "audit.db", 100_000))


def test_case_16_headers_that_drip_are_cut_off_at_their_deadline_and_hold_up_nobody(hub: World) -> None:
    good = asked(hub).whole()
    with hub.bystander() as seen:
        ends = together([lambda: trickle(hub.port, good[:-20], 0.05, 15.0)] * 20)
    assert all(HEADER_S * 0.9 <= end < 10 for end in ends), ends
    calm(seen)
    recovered(hub)


def test_case_16_a_body_that_drips_is_answered_408_and_holds_up_nobody(hub: World) -> None:
    one = asked(hub)
    with hub.bystander() as seen, socket.create_connection(("127.0.0.1", hub.port), timeout=10) as sock:
        sock.sendall(one.head(one.length) + one.body[:-5])
        assert statuses(take(sock)) == [408]
    calm(seen)


def test_case_16_a_connection_that_says_nothing_is_closed(hub: World) -> None:
    began = monotonic()
    raw_exchange(hub.port, b"")
    assert monotonic() - began < 10


def test_case_17_a_client_that_never_reads_is_cut_off_and_costs_no_memory(tmp_path: Path) -> None:
    """Its answers wait for it up to a mark, and it has so long to take some."""
    with world(tmp_path, {}, edge={"body_s": BODY_S}) as hub:
        data = asked(hub).whole() * 400
        before = calls(hub)
        with hub.bystander() as seen, ExitStack() as stack:
            socks = [stack.enter_context(reading_nothing(hub.port)) for _ in range(10)]
            for sock in socks:
                _send_what_fits(sock, data)
            until(lambda: all(_is_cut(sock) for sock in socks), "all are cut off", 30.0)
        assert calls(hub) > before, "none of them was heard at all"
        calm(seen)
        recovered(hub)


def _send_what_fits(sock: socket.socket, data: bytes) -> None:
    sock.setblocking(False)
    try:
        while data:
            data = data[sock.send(data) :]
    except (BlockingIOError, ConnectionError):
        return


def _is_cut(sock: socket.socket) -> bool:
    """Without reading: an aborted connection refuses what is sent on it."""
    try:
        sock.send(b"G")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_case_18_a_client_that_leaves_in_mid_call_cancels_it_and_stands_in_the_log(hostile: World) -> None:
    one = Asked(hostile.port, TOKEN, "pipe__hangs", {})
    with hostile.bystander() as seen:
        with socket.create_connection(("127.0.0.1", hostile.port), timeout=10) as sock:
            sock.sendall(one.whole())
            until(lambda: _last(hostile, "pipe__hangs", "intent"), "the call is under way")
        until(lambda: _last(hostile, "pipe__hangs", "call"), "its end is logged")
    assert [entry["outcome"] for entry in tail(hostile.hub.data_dir / "audit.db", 1000) if entry["kind"] == "call"][
        -200:
    ].count("cancelled") == 1
    calm(seen)
    recovered(hostile, "pipe")


def _last(made: World, item: str, kind: str) -> bool:
    return any(e["item"] == item and e["kind"] == kind for e in tail(made.hub.data_dir / "audit.db", 1000))


def test_case_20_a_storm_of_connections_is_turned_away_with_a_word_and_ends(hub: World) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", hub.port), 10)) for _ in range(400)]
        answers = [take(sock) for sock in held]  # the others say nothing and are closed at the header deadline
    turned_away = [answer for answer in answers if statuses(answer) == [503]]
    assert len(turned_away) >= 400 - CONNECTIONS
    assert all(b"retry-after" in answer.lower() for answer in turned_away)
    good = asked(hub).whole(b"Connection: close\r\n")
    assert together([lambda: statuses(exchange(hub.port, good, 15.0))] * 32) == [[200]] * 32
    recovered(hub)


def test_case_20_ten_thousand_reconnects_hold_up_neither_calls_nor_the_admin_api(tmp_path: Path) -> None:
    with world(tmp_path, {}) as hub:
        files = len(list(Path(f"/proc/{hub.pid}/fd").iterdir()))

        def storm() -> int:
            for _ in range(2500):
                socket.create_connection(("127.0.0.1", hub.port), 10).close()
            return hub.admin.request("GET", "/api/v1/servers").status

        with hub.bystander() as seen:
            assert together([storm] * 4) == [200] * 4
        calm(seen)
        until(lambda: len(list(Path(f"/proc/{hub.pid}/fd").iterdir())) <= files + 4, "all connections are given up")
        recovered(hub)


@pytest.mark.parametrize("attack", sorted(SMUGGLING))
def test_no_request_is_smuggled_in_another(hub: World, attack: str) -> None:
    before = calls(hub)
    got = exchange(hub.port, SMUGGLING[attack](asked(hub)), 1.0)
    done = calls(hub) - before
    assert len(statuses(got)) <= 1
    if attack in SERVED:
        assert done <= 1
    else:
        assert done == 0
        assert all(400 <= status < 500 for status in statuses(got)), got
    assert hub.call("sandbox__query_customer_data", {"customer_id": "C-1001"}).status == 200


def test_a_body_beyond_its_limit_is_a_413_however_it_is_framed(hub: World) -> None:
    one = asked(hub)
    sized = one.head(b"Content-Length: 100000000\r\n") + b"x" * 10
    chunk = b"%x\r\n%b\r\n" % (512 * 1024, b"x" * 512 * 1024)
    chunked = one.head(b"Transfer-Encoding: chunked\r\n") + chunk * 4
    with hub.bystander() as seen:
        for attack in (sized, chunked):
            assert statuses(exchange(hub.port, attack, 5.0)) in ([413], [])
        assert hub.http.request("POST", "/mcp", b" " * 2_000_000).status == 413
    calm(seen)


def test_headers_beyond_their_limit_are_a_431(hub: World) -> None:
    assert statuses(exchange(hub.port, asked(hub).whole(b"X-More: %b\r\n" % (b"x" * 100_000)), 5.0)) == [431]
    many = b"".join(b"X-%d: x\r\n" % number for number in range(20_000))
    assert statuses(exchange(hub.port, asked(hub).whole(many), 5.0)) in ([431], [400])


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}', b'"\\ud800"', b"NaN", b"\0"],
    ids=["lists", "objects", "no UTF-8", "half a character", "no number", "null"],
)
def test_case_11_json_that_is_too_deep_or_none_of_a_client_is_refused_at_once(hub: World, body: bytes) -> None:
    _, headers = modern_message("tools/list", {})
    began = monotonic()
    answer = hub.http.request("POST", "/mcp", body, headers)
    assert monotonic() - began < 5
    assert answer.status == 400
    assert answer.error["code"] in (-32700, -32600)


def test_case_07_a_doubled_method_is_read_once_for_headers_body_and_log(hub: World) -> None:
    message, headers = modern_message("tools/list", {})
    body = json.dumps(message)[:-1] + ', "method": "tools/call"}'
    before = calls(hub)
    answer = hub.http.request("POST", "/mcp", body, headers)
    assert answer.status == 400, answer.body
    assert calls(hub) == before


def test_the_admin_api_answers_beside_hostile_clients(hub: World) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS // 2):
            stack.enter_context(socket.create_connection(("127.0.0.1", hub.port), 10)).sendall(b"POST /mcp HTT")
        assert hub.server("good")["state"] == "ready"
        assert Http(hub.port, None).request("GET", "/health").status == 200
