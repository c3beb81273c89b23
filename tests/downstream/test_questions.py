"""A server that answers with a question: what of it crosses, to whom, and where the answer goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.core.call import Asked, Call, Client, Denied, Done, Effect, Json, One, Outcome, Route
from hub.core.errors import Lost, Refused, Unreachable
from hub.wire.encode import answer
from hub.wire.pages import Pages
from tests.downstream.catalog_fakes import peer
from tests.downstream.test_dispatch import Rig, a_call, no_next

FORM = {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {"properties": {}}}}
QUESTION: Json = {"resultType": "input_required", "inputRequests": {"who": FORM}}
ANSWERS = {"who": {"action": "accept", "content": {"name": "Ada"}}}
CAN: Json = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": True}, "experimental": {}}
ASKABLE = Client("modern", "2026-07-28", capabilities=CAN)
NEEDS: Json = {"requiredCapabilities": {"sampling": {}}}
METHODS = {
    "tools/call": ("tool", {"name": "srv__t"}, {"name": "t"}),
    "prompts/get": ("prompt", {"name": "srv__p"}, {"name": "p"}),
    "resources/read": ("resource", {"uri": "srv+doc://r"}, {"uri": "doc://r"}),
}


class Modern(Rig):
    """The same over a modern server."""

    async def __aenter__(self) -> Modern:
        await super().__aenter__()
        self.up.peer = self.canary.peer = peer(era="modern")
        return self

    def says(self, *answers: Any, method: str = "tools/call") -> None:
        self.up.answers[method] = list(answers)

    async def call(self, more: Json = {}, method: str = "tools/call", **given: Any) -> Outcome:
        kind, params, _ = METHODS[method]
        return await self.ask(method, {**params, **more}, One(self.item(kind)), **{"client": ASKABLE, **given})

    async def asked(self, *, state: str | None = None, method: str = "tools/call") -> str:
        """The sealed state of a first question."""
        self.says({**QUESTION, **({} if state is None else {"requestState": state})}, method=method)
        outcome = await self.call(method=method)
        assert isinstance(outcome, Asked), outcome
        assert outcome.state is not None
        return outcome.state


def again(sealed: str | None) -> Json:
    return {"inputResponses": ANSWERS, **({} if sealed is None else {"requestState": sealed})}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state", ["exact é\n", "", None])
async def test_a_question_crosses_under_the_hubs_seal_and_its_answer_under_the_servers(method: str, state: Any) -> None:
    async with Modern() as rig:
        sealed = await rig.asked(state=state, method=method)
        assert sealed != state
        outcome = await rig.call(again(sealed), method)
        assert isinstance(outcome, Done)
        _, _, native = METHODS[method]
        inner = {} if state is None else {"requestState": state}
        assert rig.up.asked == [(method, native), (method, {**native, "inputResponses": ANSWERS, **inner})]


async def test_capabilities_of_this_request_are_declared_and_nothing_else() -> None:
    relayed: Json = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
    async with Modern() as rig:
        await rig.call()
        await rig.call(client=Client("modern", "2026-07-28"))
        await rig.call(client=Client("legacy", "2025-11-25", capabilities=CAN))
        completion = {"ref": {"type": "ref/prompt", "name": "srv__p"}, "argument": {"name": "a", "value": ""}}
        await rig.ask("completion/complete", completion, One(rig.item("prompt")), client=ASKABLE)
        assert [one.capabilities for one in rig.up.exchanges] == [relayed, {}, {}, {}]


async def test_what_is_no_question_to_this_client_never_reaches_it() -> None:
    async with Modern() as rig:
        tools = {"method": "tools/call", "params": {}}
        rig.says({**QUESTION, "inputRequests": {"x": tools}}, {"resultType": "input_required"}, {"resultType": "task"})
        for _ in range(3):
            outcome = await rig.call()
            assert isinstance(outcome, Denied)
            assert outcome.code == "downstream_garbled"
        rig.up.peer = peer(era="legacy")
        rig.says(QUESTION)
        outcome = await rig.call()
        assert isinstance(outcome, Denied)
        assert outcome.code == "downstream_garbled"


async def test_a_question_beyond_what_the_client_declared_names_what_was_needed() -> None:
    async with Modern() as rig:
        rig.says(QUESTION, Refused("srv", {"code": -32021, "message": "x", "data": NEEDS}))
        needs: tuple[Json, ...] = ({"elicitation": {"form": {}}}, {"sampling": {}})
        for needed in needs:
            call = a_call("tools/call", {"name": "srv__t"}, One(rig.item()))
            made = encoded(call, await rig.dispatch(call, no_next))
            error = made.message["error"]
            assert (made.status, error["code"]) == (400, -32021)
            assert error["data"]["requiredCapabilities"] == needed
            assert error["data"]["_meta"]["io.mcp-hub/code"] == "missing_capability"
            assert "'srv'" in error["message"]


@pytest.mark.parametrize(
    "data", [{"requiredCapabilities": {"extensions": {"a": {}}}}, {"requiredCapabilities": {"roots": {}}}, None, [1]]
)
async def test_a_server_that_lacks_what_the_hub_does_not_relay_or_did_declare_is_an_error_of_the_hop(data: Any) -> None:
    async with Modern() as rig:
        rig.says(Refused("srv", {"code": -32021, "message": "x", "data": data}))
        call = a_call("tools/call", {"name": "srv__t"}, One(rig.item()), client=ASKABLE)
        outcome = await rig.dispatch(call, no_next)
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.relayed) == ("downstream_error", None)
        assert encoded(call, outcome).message["result"]["isError"] is True


async def test_a_legacy_client_is_told_that_it_cannot_be_asked() -> None:
    async with Modern() as rig:
        rig.says(QUESTION, {"resultType": "input_required", "requestState": "s"})
        refused = Refused("srv", {"code": -32021, "message": "x", "data": NEEDS})
        rig.up.answers["tools/call"].append(refused)
        client = Client("legacy", "2025-11-25", capabilities=CAN)
        for _ in range(3):
            call = a_call("tools/call", {"name": "srv__t"}, One(rig.item()), client=client)
            outcome = await rig.dispatch(call, no_next)
            assert isinstance(outcome, Denied)
            assert (outcome.code, outcome.effect) == ("input_required", Effect.NONE)
            text = encoded(call, outcome).message["result"]["content"][0]["text"]
            assert "cannot carry the question" in text
            assert "Use a client of a newer revision" in text


async def test_a_legacy_client_gets_no_retry_through() -> None:
    async with Modern() as rig:
        await rig.call(again("x"), client=Client("legacy", "2025-11-25"))
        assert rig.up.asked == [("tools/call", {"name": "t"})]


async def test_a_retry_of_what_cannot_ask_is_passed_without_it() -> None:
    async with Modern() as rig:
        completion = {"ref": {"type": "ref/prompt", "name": "srv__p"}, "argument": {"name": "a", "value": ""}}
        await rig.ask("completion/complete", {**completion, **again("x")}, One(rig.item("prompt")), client=ASKABLE)
        assert "inputResponses" not in rig.up.asked[0][1]
        assert "requestState" not in rig.up.asked[0][1]


@pytest.mark.parametrize("sealed", ["forged", ""])
async def test_a_state_that_the_hub_did_not_seal_reaches_no_server(sealed: str) -> None:
    async with Modern() as rig:
        call = a_call("tools/call", {"name": "srv__t", **again(sealed)}, One(rig.item()), client=ASKABLE)
        outcome = await rig.dispatch(call, no_next)
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("state_refused", Effect.NONE)
        assert encoded(call, outcome).message["error"]["code"] == -32602
        assert rig.up.asked == []


async def test_answers_that_nobody_asked_for_are_the_servers_to_judge() -> None:
    async with Modern() as rig:
        assert isinstance(await rig.call(again(None)), Done)
        assert rig.up.asked == [("tools/call", {"name": "t", "inputResponses": ANSWERS})]
        await rig.asked(state="s")
        outcome = await rig.call(again(None))
        assert isinstance(outcome, Denied)
        assert outcome.code == "state_refused"
        assert len(rig.up.asked) == 2


async def test_the_answer_goes_to_the_server_that_asked_and_to_no_variant() -> None:
    async with Modern() as rig:
        rig.canary.answers["tools/call"] = [QUESTION]
        first = await rig.call(route=Route("canary", "test"))
        assert isinstance(first, Asked)
        assert first.state is not None
        assert isinstance(await rig.call(again(first.state)), Done)
        assert [len(link.asked) for link in (rig.up, rig.canary)] == [0, 2]
        own = await rig.asked()
        assert isinstance(await rig.call(again(own), route=Route("canary", "test")), Done)
        assert [len(link.asked) for link in (rig.up, rig.canary)] == [2, 2]


async def test_an_answer_for_a_server_that_cannot_hear_it_any_more_is_refused() -> None:
    """Else it would carry out what its user may have declined."""
    async with Modern() as rig:
        sealed = await rig.asked()
        rig.up.peer = peer(era="legacy")
        outcome = await rig.call(again(sealed))
        assert isinstance(outcome, Denied)
        assert outcome.code == "state_refused"
        assert len(rig.up.asked) == 1


@pytest.mark.parametrize(("failure", "twice"), [(Unreachable("srv", "x"), True), (Lost("srv", "x"), False)])
async def test_a_write_is_answered_once_unless_it_surely_never_left(failure: Exception, twice: bool) -> None:
    async with Modern() as rig:
        sealed = await rig.asked(state="s")
        rig.says(failure)
        assert isinstance(await rig.call(again(sealed)), Denied)
        outcome = await rig.call(again(sealed))
        assert isinstance(outcome, Done) is twice
        if not twice:
            assert isinstance(outcome, Denied)
            assert outcome.told == "It was used before."


async def test_of_two_answers_at_once_one_goes_down() -> None:
    async with Modern() as rig:
        sealed = await rig.asked()
        rig.up.gates["tools/call"] = asyncio.Event()
        both = [asyncio.create_task(rig.call(again(sealed))) for _ in range(2)]
        done, _ = await asyncio.wait(both, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert [type(task.result()) for task in done] == [Denied]
        rig.up.gates["tools/call"].set()
        await asyncio.wait_for(asyncio.gather(*both), 5)
        assert len(rig.up.asked) == 2


def encoded(call: Call, outcome: Outcome) -> Any:
    return answer(call, outcome, request_id=1, server_info={}, pages=Pages(b"k" * 32))
