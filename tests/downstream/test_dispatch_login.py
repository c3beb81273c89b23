"""A call that needs a login: who is asked to open which page, how it goes on, and what nobody else learns of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp_types import ErrorData

from hub.audit.record import call_entry, line_of
from hub.core.call import Asked, Call, Client, Denied, Done, Effect, Item, Json, One, Outcome, Principal, Several
from hub.core.connections import ServerAuth
from hub.core.errors import NeedsLogin
from hub.core.pipeline import Record
from hub.downstream.login_tool import login_tool
from hub.wire.encode import answer
from hub.wire.pages import Pages
from policies.detectors.scan import RuleDetector
from policies.screen import Screen, ScreenModes
from tests.downstream.catalog_fakes import peer
from tests.downstream.offering import Logins
from tests.downstream.test_dispatch import Rig, a_call, no_next

CAN: Json = {"elicitation": {"form": {}, "url": {}}}
MODERN = Client("modern", "2026-07-28", capabilities=CAN)
MUTE = Client("modern", "2026-07-28", capabilities={"elicitation": {"form": {}}})
LEGACY = Client("legacy", "2025-11-25", capabilities=CAN)
OLD = Client("legacy", "2025-06-18", capabilities=CAN)
ADA = Principal("local", "user:ada", "c-ada", frozenset({"mcp"}), user="ada")
URL = "https://hub.example/oauth/connect?c=secret-1"
REFUSED = NeedsLogin("srv", "answers with HTTP 401")
COMPLETION = {"ref": {"type": "ref/prompt", "name": "srv__p"}, "argument": {"name": "a", "value": ""}}
PARAMS: dict[str, tuple[Any, Json]] = {
    "tools/call": ("tool", {"name": "srv__t"}),
    "prompts/get": ("prompt", {"name": "srv__p"}),
    "resources/read": ("resource", {"uri": "srv+doc://r"}),
    "completion/complete": ("prompt", COMPLETION),
}


class Offering(Rig):
    """A server where everybody has his own account, and a caller who can log in."""

    def __init__(self, auth: ServerAuth | None = ServerAuth(), **given: Any) -> None:
        self.logins = Logins()
        super().__init__(self.logins, auth=auth, **given)

    async def __aenter__(self) -> Offering:
        await super().__aenter__()
        self.up.peer = peer(era="modern")
        return self

    def made(self, method: str = "tools/call", more: Json = {}, item: Item | None = None, **given: Any) -> Call:
        kind, params = PARAMS[method]
        call = a_call(method, {**params, **more}, One(item or self.item(kind)), **{"client": MODERN, **given})
        return replace(call, who=ADA)

    async def call(self, method: str = "tools/call", more: Json = {}, **given: Any) -> Outcome:
        return await self.dispatch(self.made(method, more, **given), no_next)

    async def asked(self, method: str = "tools/call", **given: Any) -> str:
        """The state of the hub's own question about a call that its server refused."""
        self.up.answers[method] = [REFUSED]
        outcome = await self.call(method, **given)
        assert isinstance(outcome, Asked), outcome
        assert outcome.state is not None
        return outcome.state


def again(state: str | None, action: str = "accept") -> Json:
    return {"inputResponses": {"login": {"action": action}}, **({} if state is None else {"requestState": state})}


def soon(wait_s: float = 0.05) -> float:
    """A deadline that leaves a retry so long for its login."""
    return monotonic() + 1.0 + wait_s


def encoded(call: Call, outcome: Outcome) -> Json:
    return answer(call, outcome, request_id=1, server_info={}, pages=Pages(b"k" * 32)).message


def text_of(message: Json) -> str:
    return str(message["error"]["message"] if "error" in message else message["result"]["content"][0]["text"])


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
async def test_a_client_that_opens_pages_is_asked_and_its_call_goes_on_as_a_new_one(method: str) -> None:
    async with Offering() as rig:
        rig.up.answers[method] = [REFUSED]
        call = rig.made(method)
        outcome = await rig.dispatch(call, no_next)
        made = encoded(call, outcome)["result"]
        assert made["resultType"] == "input_required"
        (question,) = made["inputRequests"].values()
        assert question == {
            "method": "elicitation/create",
            "params": {"mode": "url", "message": "Log in to srv, to call it with your own account there.", "url": URL},
        }
        rig.logins.log_in()
        done = await rig.call(method, again(made["requestState"]))
        assert isinstance(done, Done)
        first, second = rig.up.asked
        assert first == second, "nothing of the hub's question goes down"
        assert rig.logins.waits[0][0] == "login-1"


async def test_a_login_that_takes_its_time_is_waited_for_and_then_asked_for_again() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        retry = asyncio.create_task(rig.call(more=again(state)))
        await asyncio.wait((retry,), timeout=0.05)
        assert not retry.done()
        assert rig.logins.waits == [("login-1", 20.0)]
        rig.logins.log_in()
        assert isinstance(await retry, Done)


async def test_what_has_not_ended_when_the_call_must_is_asked_for_again_with_the_same_page() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        outcome = await rig.call(more=again(state), deadline=soon())
        assert isinstance(outcome, Asked)
        assert outcome.requests["login"]["params"]["url"] == URL
        assert outcome.state not in (None, state)
        assert len(rig.up.asked) == 1, "the server is not asked again before there is a login"
        assert rig.logins.waits[0][1] == pytest.approx(0.05, abs=0.04)
        rig.logins.log_in()
        assert isinstance(await rig.call(more=again(outcome.state)), Done)


async def test_a_login_made_at_a_page_that_the_hub_forgot_counts_all_the_same() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        rig.logins.ended.clear()
        rig.pool.holds.add("srv")
        assert isinstance(await rig.call(more=again(state)), Done)


async def test_a_retry_for_which_no_page_is_left_goes_on_and_is_judged_by_its_server() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        rig.logins.able = False
        rig.up.answers["tools/call"] = [REFUSED]
        outcome = await rig.call(more=again(state), deadline=soon())
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.relayed) == ("needs_login", None)


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_does_not_log_in_is_told_so_and_may_think_better_of_it(action: str) -> None:
    async with Offering() as rig:
        state = await rig.asked()
        call = rig.made(more=again(state, action))
        outcome = await rig.dispatch(call, no_next)
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("needs_login", Effect.NONE)
        text = text_of(encoded(call, outcome))
        assert "declined" in text
        assert "operator" not in text
        assert "http" not in text
        assert (len(rig.up.asked), rig.logins.waits) == (1, [])
        rig.logins.log_in()
        assert isinstance(await rig.call(more=again(state)), Done)


@pytest.mark.parametrize(
    "answers", [{}, {"login": {}}, {"login": {"action": ["decline"]}}, {"x": {"action": "cancel"}}]
)
async def test_answers_that_say_nothing_are_no_refusal(answers: Json) -> None:
    async with Offering() as rig:
        state = await rig.asked()
        rig.logins.log_in()
        assert isinstance(await rig.call(more={"requestState": state, "inputResponses": answers}), Done)
        assert "inputResponses" not in rig.up.asked[-1][1]


async def test_no_server_can_ask_in_the_hubs_name() -> None:
    """What it calls its question, and what it puts into its state, is between it and the caller."""
    async with Offering() as rig:
        login = {
            "login": {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://x"}}
        }
        hubs = await rig.asked()
        for inner in ("\2login-1", "login-1", hubs, None):
            asks = {"resultType": "input_required", "inputRequests": login}
            rig.up.answers["tools/call"] = [asks if inner is None else {**asks, "requestState": inner}]
            outcome = await rig.call()
            assert isinstance(outcome, Asked)
            assert outcome.state is not None
            assert isinstance(await rig.call(more=again(outcome.state, "decline")), Done)
            sent = rig.up.asked[-1][1]
            assert sent["inputResponses"] == {"login": {"action": "decline"}}
            assert sent.get("requestState") == inner
        assert rig.logins.waits == []


async def test_the_hubs_state_is_good_for_its_caller_and_call_and_once_for_a_write() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        rig.logins.log_in()
        other = replace(rig.made(more=again(state)), who=replace(ADA, credential="c-eve"))
        retries = (other, rig.made(more={"arguments": {"a": 1}, **again(state)}), rig.made(more=again(None)))
        for retry in retries:
            outcome = await rig.dispatch(retry, no_next)
            assert isinstance(outcome, Denied)
            assert outcome.code == "state_refused"
        assert isinstance(await rig.call(more=again(state)), Done)
        used = await rig.call(more=again(state))
        assert isinstance(used, Denied)
        assert used.told == "It was used before."
        assert len(rig.up.asked) == 2


async def test_a_server_that_takes_the_new_login_neither_is_asked_about_until_no_login_would_help() -> None:
    async with Offering() as rig:
        state = await rig.asked()
        rig.logins.log_in()
        rig.up.answers["tools/call"] = [REFUSED, REFUSED]
        once_more = await rig.call(more=again(state))
        assert isinstance(once_more, Asked)
        rig.logins.able = False
        outcome = await rig.call(more=again(once_more.state))
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.relayed) == ("needs_login", None)


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "resources/subscribe"])
async def test_a_client_of_2025_11_25_gets_the_error_that_its_revision_has_for_it(method: str) -> None:
    async with Offering() as rig:
        rig.pool.down["srv"] = REFUSED
        if method == "resources/subscribe":
            call = a_call(method, {"uri": "srv+doc://r"}, Several((rig.item("resource"),)), client=LEGACY)
        else:
            call = rig.made(method, client=LEGACY)
        error = encoded(call, await rig.dispatch(call, no_next))["error"]
        read = UrlElicitationRequiredError.from_error(ErrorData.model_validate(error))
        (page,) = read.elicitations
        assert (page.mode, page.url, page.elicitation_id) == ("url", URL, "login-1")
        assert error["data"]["_meta"]["io.mcp-hub/code"] == "needs_login"
        assert "'srv'" in error["message"]


@pytest.mark.parametrize(
    ("method", "client"),
    [
        ("tools/call", MUTE),
        ("tools/call", OLD),
        ("tools/call", replace(LEGACY, capabilities={"elicitation": {}})),
        ("prompts/get", MUTE),
        ("resources/read", OLD),
        ("completion/complete", MODERN),
        ("completion/complete", LEGACY),
    ],
)
async def test_who_cannot_be_asked_reads_where_to_log_in(method: str, client: Client) -> None:
    async with Offering() as rig:
        rig.up.answers[method] = [REFUSED]
        call = rig.made(method, client=client)
        outcome = await rig.dispatch(call, no_next)
        assert isinstance(outcome, Denied)
        assert (outcome.code, outcome.effect) == ("needs_login", Effect.NONE)
        made = encoded(call, outcome)
        assert text_of(made) == (
            "The server behind this item wants its caller to log in. It is server 'srv'; nothing was done. "
            f"Open {URL} to log in, then call again."
        )
        assert ("error" in made) is (method != "tools/call")
        assert made.get("error", {}).get("code") in (None, -31014)


@pytest.mark.parametrize("client", [MODERN, LEGACY, MUTE])
async def test_without_an_offer_the_operator_is_who_can_help(client: Client) -> None:
    for auth, able in ((None, True), (ServerAuth(), False)):
        async with Offering(auth) as rig:
            rig.logins.able = able
            rig.up.answers["tools/call"] = [REFUSED]
            call = rig.made(client=client)
            text = text_of(encoded(call, await rig.dispatch(call, no_next)))
            assert "Ask the hub's operator to renew it." in text
            assert "http" not in text


@pytest.mark.parametrize("client", [MODERN, LEGACY, OLD])
async def test_the_log_names_the_server_and_never_the_page(client: Client) -> None:
    async with Offering() as rig:
        rig.up.answers["tools/call"] = [REFUSED]
        call = rig.made(client=client)
        outcome = await rig.dispatch(call, no_next)
        assert URL in str(encoded(call, outcome))
        line = line_of(call_entry(Record(call), outcome, "2026-01-01T00:00:00Z", 1.0, "1")).decode()
        assert "login" in line
        assert '"server":"srv"' in line
        assert "secret-1" not in line
        assert "oauth/connect" not in line


@pytest.mark.parametrize("client", [MODERN, LEGACY, OLD])
async def test_the_hubs_own_words_pass_its_screening(client: Client) -> None:
    async with Offering() as rig:
        rig.up.answers["tools/call"] = [REFUSED]
        call = rig.made(client=client)

        async def below(inner: Call) -> Outcome:
            return await rig.dispatch(inner, no_next)

        outcome = await Screen(RuleDetector(), ScreenModes("block", "block", "block"))(call, below)
        assert URL in str(encoded(call, outcome))


async def test_an_account_is_named_only_where_it_makes_a_difference() -> None:
    for auth, named in ((None, ""), (ServerAuth(), "ada")):
        async with Offering(auth) as rig:
            await rig.call()
            assert rig.pool.accounts == [named]


async def test_a_subscription_is_made_on_the_link_of_its_account() -> None:
    async with Offering() as rig:
        rig.up.peer = peer({"resources": {"subscribe": True}})
        rig.pool.holds.add("srv")
        call = a_call("resources/subscribe", {"uri": "srv+doc://r"}, Several((rig.item("resource"),)), client=LEGACY)
        assert isinstance(await rig.dispatch(replace(call, who=ADA), no_next), Done)
        assert rig.up.asked == [("resources/subscribe", {"uri": "doc://r"})]
        assert rig.pool.accounts == ["ada"]


# The tool that stands for a list which is given only after a login.


async def test_the_login_tool_offers_a_login_and_says_when_it_is_done() -> None:
    async with Offering() as rig:
        tool = login_tool(rig.spec)
        first = await rig.call(item=tool)
        assert isinstance(first, Asked)
        assert first.requests["login"]["params"]["url"] == URL
        rig.logins.log_in()
        done = await rig.call(more=again(first.state), item=tool)
        assert isinstance(done, Done)
        assert done.result["content"] == [{"type": "text", "text": "Connected to srv. Its tools are listed now."}]
        assert rig.up.asked == []


async def test_the_login_tool_asks_a_connected_server_whether_the_login_stands() -> None:
    async with Offering() as rig:
        tool = login_tool(rig.spec)
        rig.pool.holds.add("srv")
        done = await rig.call(item=tool)
        assert isinstance(done, Done)
        assert "connected already" in done.result["content"][0]["text"]
        rig.up.answers["tools/list"] = [REFUSED]
        assert isinstance(await rig.call(item=tool), Asked)
        assert [method for method, _ in rig.up.asked] == ["tools/list", "tools/list"]


async def test_the_login_tool_of_who_cannot_log_in_says_so() -> None:
    async with Offering() as rig:
        rig.logins.able = False
        outcome = await rig.call(item=login_tool(rig.spec))
        assert isinstance(outcome, Denied)
        assert outcome.code == "needs_login"
        assert rig.up.asked == []


async def test_a_servers_own_tool_of_that_name_is_the_servers() -> None:
    async with Offering() as rig:
        own = replace(rig.item(), native="log_in", name="srv__log_in")
        assert isinstance(await rig.call(item=own), Done)
        assert rig.up.asked == [("tools/call", {"name": "log_in"})]
