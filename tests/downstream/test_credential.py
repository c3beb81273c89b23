"""Requests of a link that speaks for an account: which token they carry, and what a refusal of it becomes."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hub.core.errors import Late, Lost, NeedsLogin, Unreachable
from hub.downstream.http_bearer import Bearer
from hub.downstream.http_hop import Hop
from hub.wire import jsonrpc
from tests.downstream.credential_fakes import (
    CALL,
    CHALLENGE,
    STEP_UP,
    Guarded,
    Kind,
    bearing,
    held,
    linked,
    presented,
    refuse,
)
from tests.downstream.raw_http import Got, Hangup, Say, exchange, result, until

KINDS = pytest.mark.parametrize("kind", ["modern", "legacy", "sse"])
HTTP = pytest.mark.parametrize("kind", ["modern", "legacy"])


# -- what goes along


@KINDS
async def test_token_goes_along_on_everything_beside_the_configured_headers(kind: Kind) -> None:
    async with linked(Guarded(kind, bearing("t-1")), held("t-1"), headers={"X-Key": "k"}) as (link, server, _):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        await link.notify("notifications/roots/list_changed", {})
        await link.aclose()
        assert set(presented(server)) == {"Bearer t-1"}
        assert {got.headers["x-key"] for got in server.got} == {"k"}
        seen = {
            "modern": {"server/discover", "subscriptions/listen", "tools/call"},
            "legacy": {"initialize", "notifications/initialized", "GET", "tools/call", "DELETE"},
            "sse": {"GET", "initialize", "notifications/initialized", "tools/call"},
        }
        assert seen[kind] <= set(server.methods())


@KINDS
async def test_next_request_presents_the_renewed_token_over_the_same_connections(kind: Kind) -> None:
    account = held("t-1")
    async with linked(Guarded(kind), account) as (link, server, heard):
        await link.request("tools/call", CALL, exchange())
        before, account.current = server.connections, "t-2"
        await link.request("tools/call", CALL, exchange())
        assert presented(server, "tools/call") == ["Bearer t-1", "Bearer t-2"]
        assert (server.connections, heard.closed, account.told) == (before, [], [])


@KINDS
async def test_account_that_holds_no_token_goes_without(kind: Kind) -> None:
    async with linked(Guarded(kind), held(), headers={"AUTHORIZATION": "Basic x"}) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        assert set(presented(server)) == {None}


@KINDS
async def test_token_stands_in_the_place_of_a_configured_authorization(kind: Kind) -> None:
    async with linked(Guarded(kind), held("t-1"), headers={"AUTHORIZATION": "Bearer configured"}) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        assert set(presented(server)) == {"Bearer t-1"}


@KINDS
async def test_without_a_credential_the_configured_headers_are_all(kind: Kind) -> None:
    async with linked(Guarded(kind), None) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        assert set(presented(server)) == {None}
    async with linked(Guarded(kind), None, headers={"Authorization": "Bearer configured"}) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        assert set(presented(server)) == {"Bearer configured"}


@KINDS
async def test_served_is_told_once_for_each_token(kind: Kind) -> None:
    account = held("t-1")
    async with linked(Guarded(kind), account) as (link, _, _):
        for token in ("t-1", "t-1", "t-2", "t-2"):
            account.current = token
            await link.request("tools/call", CALL, exchange())
        assert account.served_with == ["t-1", "t-2"]


async def test_what_the_server_refuses_is_not_served() -> None:
    account = held("t-1")
    guarded = Guarded("modern", lambda got: refuse("403 Forbidden", "") if got.method == "tools/call" else None)
    async with linked(guarded, account) as (link, _, _):
        account.served_with.clear()
        account.current = "t-2"
        with pytest.raises(NeedsLogin):
            await link.request("tools/call", CALL, exchange())
        assert account.served_with == []


# -- refused


@KINDS
async def test_refused_call_goes_out_exactly_once_more_with_another_token(kind: Kind) -> None:
    account = held("t-1", "t-2", "t-3")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = bearing("t-2")
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        first, second = (got for got in server.got if got.method == "tools/call")
        assert (first.headers["authorization"], second.headers["authorization"]) == ("Bearer t-1", "Bearer t-2")
        assert first.body == second.body
        assert {**first.headers, "authorization": ""} == {**second.headers, "authorization": ""}
        assert account.told == [("t-1", 401, CHALLENGE)]
        assert (link.alive, heard.closed) == (True, [])


@KINDS
async def test_second_refusal_is_told_and_is_the_last(kind: Kind) -> None:
    account = held("t-1", "t-2", "t-3", "t-4", "t-5")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = bearing("t-9")
        with pytest.raises(NeedsLogin, match="HTTP 401") as caught:
            await link.request("tools/call", CALL, exchange())
        assert "t-" not in str(caught.value)
        assert account.told == [("t-1", 401, CHALLENGE), ("t-2", 401, CHALLENGE)]
        assert presented(server, "tools/call") == ["Bearer t-1", "Bearer t-2"]
        assert (link.alive, heard.closed) == (True, [])


@KINDS
@pytest.mark.parametrize("line", ["401 Unauthorized", "403 Forbidden"])
async def test_call_that_needs_a_login_leaves_the_link_for_the_next_one(kind: Kind, line: str) -> None:
    account = held("t-1")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = lambda got: None if got.headers.get("authorization") == "Bearer t-2" else refuse(line, STEP_UP)
        with pytest.raises(NeedsLogin, match="the page of this test"):
            await link.request("tools/call", CALL, exchange())
        assert account.told == [("t-1", int(line[:3]), STEP_UP)]
        assert (link.alive, heard.closed, server.methods().count("tools/call")) == (True, [], 1)
        account.current = "t-2"  # somebody logged in
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert server.methods().count("initialize") <= 1


@pytest.mark.parametrize(
    "challenges",
    [
        [STEP_UP],
        ["Bearer error=insufficient_scope"],
        ['bearer realm="x",ERROR = "insufficient_scope"'],
        ['Basic realm="y"', 'Bearer scope="write", error="insufficient_scope"'],
    ],
)
async def test_token_that_may_too_little_is_followed_by_one_that_may_more(challenges: list[str]) -> None:
    account = held("t-1", "t-2")
    guarded = Guarded("modern")
    async with linked(guarded, account) as (link, server, _):
        refusal = refuse("403 Forbidden", "\r\nwww-authenticate: ".join(challenges))
        guarded.bar = lambda got: None if got.headers["authorization"] == "Bearer t-2" else refusal
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert account.told == [("t-1", 403, ", ".join(challenges))]
        assert server.methods().count("tools/call") == 2


@KINDS
@pytest.mark.parametrize("challenge", ["", CHALLENGE, 'Bearer error="invalid_token"', "Basic insufficient_scope"])
async def test_plain_403_is_none_of_the_credentials_business(kind: Kind, challenge: str) -> None:
    account = held("t-1", "t-2")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = lambda got: refuse("403 Forbidden", challenge) if got.method == "tools/call" else None
        with pytest.raises(NeedsLogin, match="HTTP 403"):
            await link.request("tools/call", CALL, exchange())
        assert (account.told, link.alive, heard.closed) == ([], True, [])
        assert server.methods().count("tools/call") == 1


@HTTP
async def test_server_that_hangs_up_with_its_refusal_is_asked_on_another_connection(kind: Kind) -> None:
    account = held("t-1", "t-2")

    async def call(got: Got, say: Say) -> None:
        if got.headers["authorization"] == "Bearer t-2":
            await say(result(got, {"resultType": "complete", "ok": True}))
            return
        await say(refuse(challenge=f"{CHALLENGE}\r\nconnection: close"))
        raise Hangup

    async with linked(Guarded(kind, call=call), account) as (link, server, _):
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        first, second = (got for got in server.got if got.method == "tools/call")
        assert first.connection != second.connection


async def test_session_that_ended_still_ends_the_link() -> None:
    account = held("t-1", "t-2")
    guarded = Guarded("legacy")
    async with linked(guarded, account) as (link, _, heard):
        gone = refuse("404 Not Found", "")
        guarded.bar = lambda got: gone if got.headers["authorization"] == "Bearer t-2" else refuse()
        with pytest.raises(Lost, match="session"):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, len(heard.closed)) == (False, 1)


async def test_what_the_credential_is_told_of_a_notification_renews_it_as_well() -> None:
    account = held("t-1", "t-2")
    guarded = Guarded("legacy")
    async with linked(guarded, account) as (link, server, _):
        guarded.bar = bearing("t-2")
        await link.notify("notifications/roots/list_changed", {})
        assert presented(server, "notifications/roots/list_changed") == ["Bearer t-1", "Bearer t-2"]
        account.current = "t-0"
        await link.notify("notifications/roots/list_changed", {})  # swallowed, as every failure of one
        assert account.told[-1] == ("t-0", 401, CHALLENGE)


# -- tokens that do not come, and such as are none


@KINDS
async def test_issuer_that_cannot_be_asked_costs_the_request_and_not_the_link(kind: Kind) -> None:
    account = held("t-1")
    async with linked(Guarded(kind), account) as (link, server, heard):
        account.broken = Unreachable("peer", "its issuer is on holiday")
        with pytest.raises(Unreachable, match="on holiday"):
            await link.request("tools/call", CALL, exchange())
        assert (link.alive, heard.closed, server.methods().count("tools/call")) == (True, [], 0)
        account.broken = None
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True


@HTTP
@pytest.mark.parametrize("refused", [False, True])
async def test_token_is_waited_for_only_as_long_as_the_request_has_time(kind: Kind, refused: bool) -> None:
    account = held("t-1", "t-2")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):

        def bar(got: Got) -> bytes | None:
            account.gate = asyncio.Event()
            return refuse()

        if refused:
            guarded.bar = bar
        else:
            account.gate = asyncio.Event()
        with pytest.raises(Unreachable, match="not renewed in time"):
            await link.request("tools/call", CALL, exchange(timeout_s=0.05))
        assert (server.methods().count("tools/call"), link.alive, heard.closed) == (int(refused), True, [])


@KINDS
@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "a b", "", "tök", "a\x00", "x" * 20_000, "Bearer\ta"])
async def test_token_that_would_be_more_than_one_is_not_sent(kind: Kind, token: str) -> None:
    account = held("t-1", token)
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = bearing("t-9")
        with pytest.raises(Unreachable, match="cannot be sent") as caught:
            await link.request("tools/call", CALL, exchange())
        assert account.current == token  # and so it is the one that the next request would present
        with pytest.raises(Unreachable, match="cannot be sent"):
            await link.request("tools/call", CALL, exchange())
        assert not token or token not in str(caught.value)
        assert all("x-evil" not in got.headers for got in server.got)
        assert (server.methods().count("tools/call"), link.alive, heard.closed) == (1, True, [])


@KINDS
@pytest.mark.parametrize("refused", [False, True])
async def test_cancelling_one_who_waits_for_a_token_leaves_nothing_behind(kind: Kind, refused: bool) -> None:
    account = held("t-1", "t-2")
    guarded = Guarded(kind)
    async with linked(guarded, account) as (link, server, _):
        await link.request("tools/call", CALL, exchange())
        standing, told, asked = server.open, len(server.got), account.asked

        def bar(got: Got) -> bytes | None:
            account.gate = asyncio.Event()
            return refuse()

        if refused:
            guarded.bar = bar
        else:
            account.gate = asyncio.Event()
        task = asyncio.create_task(link.request("tools/call", CALL, exchange()))
        await until(lambda: account.told if refused else account.asked > asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        guarded.bar, gate, account.gate = (lambda got: None), account.gate, None
        assert gate is not None
        gate.set()
        for _ in range(2):
            assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        if kind == "sse":  # there the correlator withdraws whatever it counts as asked: over a connection more
            assert server.open <= standing + 1
        else:
            assert server.methods()[told:] == ["tools/call"] * (2 + refused)
            assert server.open == standing


async def test_call_that_is_cancelled_after_a_refusal_is_withdrawn_like_every_other() -> None:
    account = held("t-1", "t-2")

    async def call(got: Got, say: Say) -> None:
        if got.headers["authorization"] == "Bearer t-1":
            await say(refuse())
        else:
            await asyncio.Event().wait()

    async with linked(Guarded("legacy", call=call), account) as (link, server, _):
        with pytest.raises(Late):
            await link.request("tools/call", CALL, exchange(timeout_s=0.05))
        await until(lambda: "notifications/cancelled" in server.methods())
        ids = {got.message["id"] for got in server.got if got.method == "tools/call"}
        assert ids == {server.got[-1].message["params"]["requestId"]}


async def test_many_callers_share_a_link_whose_token_ends_under_them() -> None:
    account = held("t-1", *["t-2"] * 50)
    guarded = Guarded("modern")
    async with linked(guarded, account) as (link, server, heard):
        guarded.bar = bearing("t-2")
        answers = await asyncio.gather(*(link.request("tools/call", CALL, exchange()) for _ in range(50)))
        assert all(answer["ok"] is True for answer in answers)
        assert len(account.told) <= 50
        assert {told[0] for told in account.told} == {"t-1"}
        assert server.methods().count("tools/call") == 50 + len(account.told)
        assert heard.closed == []


@KINDS
async def test_token_stands_in_no_text(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cr3t-t0ken"
    account = held(secret, f"{secret}-2")
    guarded = Guarded(kind)
    asyncio.get_running_loop().set_debug(True)
    with caplog.at_level(logging.DEBUG):
        async with linked(guarded, account) as (link, server, heard):
            guarded.bar = lambda got: refuse(challenge="")
            with pytest.raises(NeedsLogin) as caught:
                await link.request("tools/call", CALL, exchange())
            parts = [link, *vars(link).values()]
            parts += [inner for part in parts if isinstance(part, Hop) for inner in (*vars(part).values(), part.bearer)]
            assert any(isinstance(part, Bearer) for part in parts)
            told = [str(caught.value), repr(caught.value), *map(repr, parts), jsonrpc.dumps(heard.closed).decode()]
    assert presented(server, "tools/call") == [f"Bearer {secret}", f"Bearer {secret}-2"]
    assert not [text for text in [*told, caplog.text] if secret in text]
