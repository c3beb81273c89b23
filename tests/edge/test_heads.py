"""A head that a connection repeats is not parsed again, and nothing but the parser's work is spared by that."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Principal
from hub.edge.guard import GuardedProtocol
from hub.edge.heads import KEPT, Heads
from hub.edge.http import HubApp
from hub.wire import jsonrpc
from tests.edge.fakes import CLIENT_TOKEN, eventually, fake_ports
from tests.edge.harness import META, Door, door, modern, served
from tests.edge.test_server import QUICK, peer, post

SCOPE = {"method": "POST", "http_version": "1.1", "headers": [(b"host", b"h"), (b"content-length", b"2")]}


def said(length: int, body: bytes, more: bytes = b"", name: bytes = b"Content-Length") -> bytes:
    return b"POST /mcp HTTP/1.1\r\nhost: h\r\n%b: %d\r\n%b\r\n%b" % (name, length, more, body)


def learned(data: bytes) -> Heads:
    heads = Heads()
    head = heads.learn(data, dict(SCOPE))
    assert head is not None
    head.judged = "all that was found of it"
    return heads


@given(body=st.binary(max_size=300), name=st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]))
def test_the_same_head_is_known_for_every_length_of_its_body(body: bytes, name: bytes) -> None:
    if name == b"CONTENT-LENGTH":  # no client writes it so: it goes to the parser every time
        assert Heads().learn(said(2, b"{}", name=name), dict(SCOPE)) is None
        return
    found = learned(said(2, b"{}", name=name)).find(said(len(body), body, name=name))
    assert found is not None
    assert found[1] == body


@pytest.mark.parametrize(
    "data",
    [
        said(2, b"{"),
        said(2, b"{}{"),
        said(2, b"{}") + said(2, b"{}"),
        said(2, b"{}", b"X-More: 1\r\n"),
        said(2, b"{}", b"Transfer-Encoding: chunked\r\n"),
        said(2, b"{}", b"Content-Length: 2\r\n"),
        said(2, b"{}").replace(b"/mcp", b"/other/mcp"),
        said(2, b"{}").replace(b": 2", b": +2"),
        said(2, b"{}").replace(b": 2", b":  2"),
        said(2, b"{}").replace(b": 2", b": 2 "),
        said(2, b"{}").replace(b": 2", b": 0x2"),
        said(2, b"{}").replace(b"Content-Length", b"X-Length"),
        said(2, b"{}")[:-4],
        b"",
    ],
)
def test_what_is_not_one_whole_request_with_that_very_head_goes_to_the_parser(data: bytes) -> None:
    assert learned(said(2, b"{}")).find(data) is None


@pytest.mark.parametrize("line", [b"transfer-encoding", b"expect", b"upgrade", b"content-length"])
def test_heads_that_concern_the_connection_are_not_remembered(line: bytes) -> None:
    scope = {**SCOPE, "headers": [*SCOPE["headers"], (line, b"2")]}
    assert Heads().learn(said(2, b"{}"), scope) is None


@pytest.mark.parametrize("scope", [{**SCOPE, "method": "GET"}, {**SCOPE, "http_version": "1.0"}])
def test_only_posts_of_this_version_are_remembered(scope: dict[str, Any]) -> None:
    assert Heads().learn(said(2, b"{}"), scope) is None


def test_a_connection_remembers_a_bounded_number_of_heads() -> None:
    heads = Heads()
    for n in range(KEPT + 1):
        head = heads.learn(said(2, b"{}", b"X-N: %d\r\n" % n), dict(SCOPE))
        assert head is not None
        head.judged = n
    assert heads.find(said(2, b"{}", b"X-N: 0\r\n")) is None
    assert heads.find(said(2, b"{}", b"X-N: %d\r\n" % KEPT)) is not None


class Counting(HubApp):
    """The door, counting how many requests came the short way."""

    known = 0

    async def again(self, *given: Any) -> None:
        self.known += 1
        await super().again(*given)


def counting(it: Door) -> Counting:
    it.app.__class__ = Counting
    assert isinstance(it.app, Counting)
    return it.app


def echo(n: int) -> bytes:
    return post(modern("tools/call", n, name="demo__echo", arguments={"text": "x" * n}))


async def test_repeated_calls_take_the_short_way_and_are_answered_alike() -> None:
    it = door(fake_ports())
    app = counting(it)
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        for n in range(1, 8):
            client.say(echo(n))
            status, body = await client.answer()
            message = jsonrpc.loads(body)
            assert (status, message["id"], message["result"]["content"][0]["text"]) == (200, n, "x" * n)
    assert app.known == 6


async def test_a_token_that_was_revoked_opens_nothing_though_its_head_is_known() -> None:
    it = door(fake_ports())
    app, keys = counting(it), it.ports.authenticator
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        for _ in range(2):
            client.say(echo(1))
            assert (await client.answer())[0] == 200
        del keys.principals[CLIENT_TOKEN]  # type: ignore[attr-defined]
        client.say(echo(1))
        assert (await client.answer())[0] == 401
    assert app.known == 2


async def test_a_host_that_is_allowed_no_more_is_refused_though_its_head_is_known() -> None:
    it = door(fake_ports())
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        for _ in range(2):
            client.say(echo(1))
            assert (await client.answer())[0] == 200
        it.ports.allowed_hosts = frozenset({"else.example"})
        it.app._hosts.clear()
        client.say(echo(1))
        assert (await client.answer())[0] == 403


async def test_a_narrowed_key_is_judged_anew_on_a_known_head() -> None:
    it = door(fake_ports())
    keys: dict[str, Principal] = it.ports.authenticator.principals  # type: ignore[attr-defined]
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(echo(1))
        await client.answer()
        keys[CLIENT_TOKEN] = Principal("local", "key:new", "key:new", frozenset({"mcp"}))
        client.say(echo(1))
        await client.answer()
        assert [call.who.name for call in it.ports.handle.calls] == ["local:client", "key:new"]  # type: ignore[attr-defined]


async def test_bytes_inside_an_unfinished_head_are_never_taken_for_a_request() -> None:
    """A header whose value looks like a whole known request would else be answered as one."""
    it = door(fake_ports())
    app = counting(it)
    async with served(app, QUICK) as (host, port, _), peer(host, port) as client:
        client.say(echo(1))
        await client.answer()
        client.say(b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nx-inner: ")
        await eventually(lambda: any(c._headers_since is not None for c in _connections(app)))
        client.say(echo(1))
        assert (await client.answer())[0] == 400  # a second Host, within one head
    assert app.known == 0


def _connections(app: Any) -> list[GuardedProtocol]:
    return [one for one in gc.get_objects() if isinstance(one, GuardedProtocol) and one.app is app]


async def test_a_body_over_its_limit_is_refused_on_a_known_head_too() -> None:
    it = door(fake_ports())
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(echo(1))
        await client.answer()
        it.ports.limits = type(it.ports.limits)(body_bytes=100)
        client.say(echo(1))
        assert (await client.answer())[0] == 413


def saying(n: int, **more: Any) -> bytes:
    capabilities = "io.modelcontextprotocol/clientCapabilities"
    return post(modern("tools/call", n, meta={**META, capabilities: more}, name="demo__echo", arguments={"text": "x"}))


async def test_what_a_client_says_of_itself_is_taken_from_each_request() -> None:
    """It is read once while it stays the same; `true` and `1` are the same to Python, and not to JSON."""
    it = door(fake_ports())
    said: list[dict[str, Any]] = [{"a": {}}, {"a": {}}, {"b": {"c": True}}, {"b": {"c": 1}}, {}, {"a": {}}]
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        for n, capabilities in enumerate(said):
            client.say(saying(n, **capabilities))
            assert (await client.answer())[0] == 200
    heard = [call.client.capabilities for call in it.ports.handle.calls]  # type: ignore[attr-defined]
    assert [jsonrpc.dumps(given) for given in heard] == [jsonrpc.dumps(given) for given in said]


async def test_progress_is_told_on_a_known_head_under_the_token_of_its_own_request() -> None:
    it = door(fake_ports())
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        for n in (1, 2):
            client.say(echo(n))
            await client.answer()
        talk = modern("tools/call", 3, meta={**META, "progressToken": "t-3"}, name="demo__talk", arguments={})
        client.say(post(talk, mcp_name="demo__talk", connection="close"))
        heard = await client.hear()
    assert b'"progressToken":"t-3"' in heard


async def test_nothing_of_a_body_is_kept_with_a_head() -> None:
    """It used to be, in a circle with the head, for as long as the connection lived."""
    it = door(fake_ports())
    async with served(counting(it), QUICK) as (host, port, _), peer(host, port) as client:
        client.say(echo(1))
        await client.answer()
        [connection] = _connections(it.app)
        [head] = connection._heads._kept.values()
        assert "extensions" not in head.scope
        assert CLIENT_TOKEN not in repr(head.judged)  # nor may what is kept show its token
