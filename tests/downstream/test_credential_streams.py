"""Standing streams of a link that speaks for an account, and answers whose stream is taken up again."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.call import Json
from hub.core.errors import Lost, NeedsLogin, Unreachable
from hub.wire import jsonrpc
from tests.downstream.credential_fakes import (
    CALL,
    CHALLENGE,
    STEP_UP,
    Guarded,
    Handler,
    Kind,
    bearing,
    held,
    linked,
    presented,
    refuse,
)
from tests.downstream.raw_http import END, STREAM, Got, RawServer, Say, chunk, event, exchange, status, until

ERAS = pytest.mark.parametrize("kind", ["modern", "legacy"])
STREAMS = ("subscriptions/listen", "GET")
TOOLS_CHANGED: Json = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def standing(server: RawServer) -> list[str | None]:
    return presented(server, *STREAMS)


def only_streams(*tokens: str, line: str = "401 Unauthorized", challenge: str = CHALLENGE) -> Guarded:
    """Refuses streams that come without one of these tokens, and nothing else."""
    good = {f"Bearer {token}" for token in tokens}

    def bar(got: Got) -> bytes | None:
        barred = got.method in STREAMS and got.headers.get("authorization") not in good
        return refuse(line, challenge) if barred else None

    return Guarded("modern", bar)


async def told_and_stays(got: Got, say: Say) -> None:
    await say(STREAM + event(TOOLS_CHANGED))
    await asyncio.Event().wait()


@ERAS
@pytest.mark.parametrize(("line", "challenge"), [("401 No", CHALLENGE), ("403 No", STEP_UP)])
async def test_refused_stream_is_opened_with_another_token_before_the_link_is_given_out(
    kind: Kind, line: str, challenge: str
) -> None:
    account = held("t-1", "t-2", "t-3")
    guarded = only_streams("t-2", line=line, challenge=challenge)
    guarded.kind, guarded.stream = kind, told_and_stays
    async with linked(guarded, account) as (_, server, heard):
        assert standing(server) == ["Bearer t-1", "Bearer t-2"]
        assert account.told == [("t-1", int(line[:3]), challenge)]
        await until(lambda: ("notifications/tools/list_changed", {}) in heard.notified)


@ERAS
async def test_stream_that_is_opened_again_presents_the_token_of_then(kind: Kind) -> None:
    account = held("t-1")
    again = asyncio.Event()

    async def stream(got: Got, say: Say) -> None:
        await say(STREAM)
        if got.headers["authorization"] == "Bearer t-1":
            await again.wait()
            await say(END)
        else:
            await asyncio.Event().wait()

    async with linked(Guarded(kind, stream=stream), account) as (link, server, _):
        account.current = "t-2"
        again.set()
        await until(lambda: len(standing(server)) == 2)
        assert standing(server) == ["Bearer t-1", "Bearer t-2"]
        await until(lambda: account.served_with[-1] == "t-2")
        assert link.alive


@ERAS
async def test_stream_that_takes_no_token_is_given_up_after_the_second(kind: Kind) -> None:
    account = held(*(f"t-{n}" for n in range(1, 100)))
    guarded = only_streams()
    guarded.kind = kind
    async with linked(guarded, account) as (link, server, heard):
        assert standing(server) == ["Bearer t-1", "Bearer t-2"]
        assert [token for token, _, _ in account.told] == ["t-1", "t-2"]
        for _ in range(3):
            assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert (len(standing(server)), link.alive, heard.closed) == (2, True, [])


@ERAS
async def test_link_whose_stream_needs_a_login_goes_on_without_it(kind: Kind) -> None:
    account = held("t-1")
    guarded = only_streams()
    guarded.kind = kind
    async with linked(guarded, account) as (link, server, heard):
        assert account.told == [("t-1", 401, CHALLENGE)]
        assert (await link.request("tools/call", CALL, exchange()))["ok"] is True
        assert (standing(server), link.alive, heard.closed) == (["Bearer t-1"], True, [])


@ERAS
async def test_plain_403_of_a_stream_is_none_of_the_credentials_business(kind: Kind) -> None:
    account = held("t-1", "t-2")
    guarded = only_streams(line="403 No", challenge="")
    guarded.kind = kind
    async with linked(guarded, account) as (link, server, _):
        assert (account.told, standing(server), link.alive) == ([], ["Bearer t-1"], True)


@ERAS
@pytest.mark.parametrize("refused", [False, True])
async def test_stream_waits_for_an_issuer_that_cannot_be_asked(kind: Kind, refused: bool) -> None:
    account = held("t-1")
    ended = asyncio.Event()

    async def stream(got: Got, say: Say) -> None:
        await say(STREAM)
        if got.headers["authorization"] == "Bearer t-1":
            await ended.wait()
            await say(END)
        else:
            await asyncio.Event().wait()

    guarded = Guarded(kind, stream=stream)
    async with linked(guarded, account) as (link, server, heard):
        if refused:
            guarded.bar = lambda got: refuse() if got.headers["authorization"] == "Bearer t-0" else None
            account.current, account.told_breaks = "t-0", True
        else:
            account.broken = Unreachable("peer", "its issuer is on holiday")
        asked = account.asked
        ended.set()
        await until(lambda: len(account.told) > 1 if refused else account.asked > asked + 1)
        assert (link.alive, heard.closed) == (True, [])
        account.broken, account.told_breaks, account.current = None, False, "t-2"
        await until(lambda: standing(server)[-1] == "Bearer t-2")
        assert link.alive


# -- answers that are taken up again


def interrupted(resumed: Handler) -> Guarded:
    """A legacy server that ends the stream of every answer, to be taken up at once; `resumed` answers that."""

    async def call(got: Got, say: Say) -> None:
        await say(STREAM + chunk(b"id: p-1\nretry: 1\ndata:\n\n") + END)

    async def stream(got: Got, say: Say) -> None:
        if "last-event-id" in got.headers:
            await resumed(got, say)
        else:
            await say(status("405 No"))

    return Guarded("legacy", call=call, stream=stream)


def resumptions(server: RawServer) -> list[str]:
    return [got.headers["authorization"] for got in server.got if "last-event-id" in got.headers]


def finishing(*tokens: str) -> Handler:
    """Answers the request with id 1 to whoever comes with one of these tokens."""
    bar = bearing(*tokens)

    async def resumed(got: Got, say: Say) -> None:
        answer = STREAM + event(jsonrpc.result(1, {"ok": True}), "p-2") + END
        await say(bar(got) or answer)

    return resumed


async def test_answer_is_taken_up_with_the_token_of_then_and_with_another_when_that_is_refused() -> None:
    account = held("t-1", "t-2")
    async with linked(interrupted(finishing("t-2")), account) as (link, server, _):
        assert await link.request("tools/call", CALL, exchange()) == {"ok": True}
        assert resumptions(server) == ["Bearer t-1", "Bearer t-2"]
        assert (account.told, server.methods().count("tools/call")) == ([("t-1", 401, CHALLENGE)], 1)


@pytest.mark.parametrize(("more", "words"), [(("t-2", "t-3"), "did not resume"), ((), "cannot be taken up again")])
async def test_answer_that_cannot_be_taken_up_for_want_of_a_token_is_lost(more: tuple[str, ...], words: str) -> None:
    account = held("t-1", *more)
    async with linked(interrupted(finishing()), account) as (link, server, heard):
        with pytest.raises(Lost, match=words):  # it was begun: nobody may take it for one that was not
            await link.request("tools/call", CALL, exchange())
        assert len(resumptions(server)) == 1 + bool(more)
        assert (link.alive, heard.closed) == (True, [])


async def test_answer_is_not_taken_up_when_no_token_comes() -> None:
    account = held("t-1")

    async def resumed(got: Got, say: Say) -> None:
        raise AssertionError

    guarded = interrupted(resumed)
    interrupt = guarded.call
    assert interrupt is not None

    async def call(got: Got, say: Say) -> None:
        account.broken = NeedsLogin("peer", "log in at the page of this test")
        await interrupt(got, say)

    guarded.call = call
    async with linked(guarded, account) as (link, server, _):
        with pytest.raises(Lost, match="the page of this test"):
            await link.request("tools/call", CALL, exchange())
        assert (resumptions(server), link.alive) == ([], True)


async def test_goodbye_to_a_server_needs_no_login() -> None:
    account = held("t-1")
    async with linked(Guarded("legacy"), account) as (link, server, _):
        account.broken = NeedsLogin("peer", "the connection was removed")
        await link.aclose()
        assert "DELETE" not in server.methods()
        await until(lambda: server.open == 0)
