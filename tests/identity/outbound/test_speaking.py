"""Who the hub speaks as: one account's token and no other's, renewed once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.core.connections import SHARED, EnteredClient, ServerAuth
from hub.core.errors import NeedsLogin, Unreachable
from hub.identity.outbound.account import OwnConnections
from hub.identity.outbound.challenge import Challenge
from hub.identity.outbound.challenges import Challenges
from hub.identity.outbound.own_name import AGAIN_S
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.speaking import Silent, Speaking
from tests.identity.outbound.downstream import PRM
from tests.identity.outbound.office import ANN, BOB, LIFE_S, Office, an_office

APP = EnteredClient("app", "canary-secret", "client_secret_post")
IN_OWN_NAME = ServerAuth(account="shared", grant="client_credentials", client=APP)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with an_office() as made:
        yield made


# -- a token with every request


async def test_50_callers_at_one_expiry_cause_one_refresh(office: Office) -> None:
    await office.log_in()
    voice = office.voice()
    old = await voice.token()
    office.times.pass_by(LIFE_S)
    tokens = {await each for each in [asyncio.ensure_future(voice.token()) for _ in range(50)]}
    assert len(tokens) == len(office.bank.refreshed) == 1
    assert tokens != {old}
    assert office.bank.access[str(tokens.pop())] == ANN


async def test_50_callers_with_one_refused_token_cause_one_refresh(office: Office) -> None:
    await office.log_in()
    voice = office.voice()
    old = await voice.token()
    tokens = await asyncio.gather(*(voice.refused(old, 401, "Bearer") for _ in range(50)))
    assert len(set(tokens)) == len(office.bank.refreshed) == 1


async def test_a_fresh_token_is_given_without_waiting_and_opened_once(office: Office) -> None:
    await office.log_in()
    voice = office.voice()
    token = await voice.token()
    asked = len(office.there.idp.asked)
    opened = office.connections.held
    for _ in range(3):
        step = voice.token()
        with pytest.raises(StopIteration) as given_:  # it ends at its first step: nothing was waited for
            step.send(None)
        assert given_.value.value == token
    assert len(office.there.idp.asked) == asked
    row = office.connections.current("wiki", ANN)
    assert row is not None
    assert opened(row) is not None
    # what is remembered is that row's: it needs no key any more, and is gone when the row is
    await office.store.remove("local", row.id)
    assert await voice.token() == token
    await office.connections.load()
    assert await voice.token() is None


async def test_a_login_that_was_ended_elsewhere_is_needed_again_by_its_account_alone(office: Office) -> None:
    await office.log_in()
    await office.log_in(BOB)
    voice, bobs = office.voice(), office.voice(BOB)
    token = await voice.token()
    office.bank.refresh = {token: user for token, user in office.bank.refresh.items() if user != ANN}
    with pytest.raises(NeedsLogin, match="mcp-hub login wiki"):
        await voice.refused(token, 401, 'Bearer error="invalid_token"')
    with pytest.raises(NeedsLogin):
        await voice.token()
    assert office.bank.access[str(await bobs.token())] == BOB


async def test_an_issuer_that_is_away_is_no_login_that_is_needed(office: Office) -> None:
    await office.log_in()
    office.times.pass_by(LIFE_S)
    office.there.idp.down()
    with pytest.raises(Unreachable):
        await office.voice().token()
    assert [row.ended for row in office.connections.rows()] == [None]


async def test_without_a_connection_there_is_no_voice_and_without_oauth_none_at_all(office: Office) -> None:
    assert office.speaking.own("wiki", ANN) is None
    assert office.speaking.own("wiki", SHARED) is None
    assert office.speaking.shared("none") is None
    await office.log_in()
    voice = office.voice()
    assert office.speaking.own("wiki", BOB) is None
    await office.connections.remove(office.connections.rows()[0].id)
    assert await voice.token() is None
    with pytest.raises(NeedsLogin, match="nobody has logged in"):
        await voice.refused(None, 401, "Bearer")


async def test_the_silent_one_remembers_what_the_server_wants_for_whoever_logs_in(office: Office) -> None:
    office.there.idp.answers["/elsewhere"] = office.there.idp.answers.pop(f"{PRM}/mcp")
    voice = office.speaking.shared("wiki")
    assert isinstance(voice, Silent)
    assert voice.silent
    assert await voice.token() is None
    header = f'Bearer resource_metadata="{office.there.idp.url}/elsewhere", scope="read"'
    with pytest.raises(NeedsLogin, match="its users log in with their own accounts: mcp-hub login wiki"):
        await voice.refused(None, 401, header)
    assert office.parts.challenges.of("wiki", ANN).scopes == ("read",)
    row = (await office.log_in()).connection
    assert row.scopes == ("read",)


# -- never where it does not belong


async def test_a_token_does_not_follow_a_server_to_another_address(office: Office) -> None:
    await office.log_in()
    voice = office.voice()
    assert await voice.token() is not None
    good = office.protected["wiki"]
    for moved in (
        replace(good, url="https://evil.example/mcp"),
        replace(good, auth=ServerAuth(issuer="https://other.example")),
        replace(good, auth=ServerAuth(resource=f"{good.url}/other")),
    ):
        office.protected["wiki"] = moved
        with pytest.raises(NeedsLogin, match="than it had at the login"):
            await voice.token()
        with pytest.raises(NeedsLogin):
            await voice.refused("x", 401, "Bearer")
    del office.protected["wiki"]
    with pytest.raises(NeedsLogin, match="no such server"):
        await voice.token()
    office.protected["wiki"] = good
    assert office.bank.access[str(await voice.token())] == ANN


ACTS = st.sampled_from(["log_in", "token", "expire", "refuse", "step_up", "leave", "revoke", "served"])
PEOPLE = st.sampled_from([ANN, BOB, "local", "key:k1"])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(ACTS, PEOPLE), max_size=25))
def test_whatever_happens_nobody_is_ever_given_anothers_token(acts: list[tuple[str, str]]) -> None:
    async def run() -> None:
        async with an_office() as office:
            for act, account in acts:
                await one(office, act, account)
                for each in (ANN, BOB, "local", "key:k1"):
                    found = office.speaking.own("wiki", each)
                    token = None if found is None else await given_by(office, each)
                    assert token is None or f"-{each}-" in token, (acts, token)

    asyncio.run(run())


async def one(office: Office, act: str, account: str) -> None:
    found, token = office.speaking.own("wiki", account), await given_by(office, account)
    rows = [row for row in office.connections.rows() if row.user == account]
    match act:
        case "log_in":
            office.parts.attempts.served((account, "wiki", ""))
            await office.log_in(account)
        case "expire":
            office.times.pass_by(LIFE_S)
        case "revoke":
            office.bank.refresh = {key: user for key, user in office.bank.refresh.items() if user != account}
        case "leave" if rows:
            await office.leaving.disconnect(rows[0], "user x")
        case "served" if found is not None:
            found.served()
        case "refuse" | "step_up" if found is not None:
            error = "insufficient_scope" if act == "step_up" else "invalid_token"
            try:
                fresh = await found.refused(token, 401, f'Bearer error="{error}", scope="a"')
                assert f"-{account}-" in fresh
            except NeedsLogin:
                pass


async def given_by(office: Office, account: str) -> str | None:
    found = office.speaking.own("wiki", account)
    try:
        return None if found is None else await found.token()
    except NeedsLogin:
        return None


async def test_voices_are_bounded_and_one_that_fell_out_of_mind_still_speaks(office: Office) -> None:
    speaking = Speaking(office.parts, most=1)
    await office.log_in()
    await office.log_in(BOB)
    anns, bobs = speaking.own("wiki", ANN), speaking.own("wiki", BOB)
    assert anns is not None
    assert bobs is not None
    for _ in range(2):
        assert office.bank.access[str(await anns.token())] == ANN
        assert office.bank.access[str(await bobs.token())] == BOB
    old = await anns.token()
    assert speaking.own("wiki", BOB) is not None  # of the two, it is remembered
    await office.log_in()
    assert await anns.token() != old
    await office.connections.remove(next(row.id for row in office.connections.rows() if row.user == ANN))
    assert await anns.token() is None


async def test_the_account_chosen_last_speaks_whatever_resource_it_is_for(office: Office) -> None:
    home = (await office.log_in(label="home")).connection
    first = await office.voice().token()
    office.there.prm["resource"] = office.there.idp.url  # the server counts to a whole now
    work = (await office.log_in(label="work")).connection
    assert (home.resource, work.resource) == (office.there.url, office.there.idp.url)
    second = await office.voice().token()
    assert second != first
    await office.connections.choose(home.id)
    assert await office.voice().token() == first
    shown = OwnConnections(office.connections).of(ANN)
    assert {each.label: each.is_chosen for each in shown} == {"home": True, "work": False}
    await office.connections.remove(home.id)
    assert await office.voice().token() == second


async def test_what_is_remembered_of_a_token_goes_with_its_connection(office: Office) -> None:
    row = (await office.log_in()).connection
    voice = office.voice()
    token = await voice.token()
    assert token in vars(voice).values()
    await office.connections.remove(row.id)
    assert token not in vars(voice).values()


def test_challenges_are_bounded_and_the_newest_counts() -> None:
    said = Challenges(most=2)
    said.said("wiki", "", Challenge("https://a", ("read",)))
    said.said("wiki", ANN, Challenge(None, ("write",), "insufficient_scope"))
    assert said.of("wiki", ANN) == Challenge("https://a", ("write",), "insufficient_scope")
    said.said("wiki", ANN, Challenge("https://b"))
    assert said.of("wiki", ANN) == Challenge("https://b")
    assert said.of("wiki", BOB) == Challenge("https://a", ("read",))
    said.said("mail", ANN, Challenge())
    assert len(said) == 2
    assert said.of("wiki", BOB) == Challenge()
    said.met("wiki", ANN)
    assert said.of("wiki", ANN) == Challenge("https://b")


# -- the account of everybody


async def test_a_shared_account_speaks_for_all_once_an_admin_has_logged_in() -> None:
    async with an_office(ServerAuth(account="shared")) as office:
        voice = office.everybody()
        assert not voice.silent
        assert await voice.token() is None
        with pytest.raises(NeedsLogin, match="an admin logs in for everybody"):
            await voice.refused(None, 401, "Bearer")
        await office.log_in(SHARED)
        assert office.bank.access[str(await voice.token())] == "all"
        assert office.speaking.own("wiki", ANN) is None


async def test_in_its_own_name_the_hub_gets_tokens_by_itself_and_once_for_all_who_wait() -> None:
    async with an_office(IN_OWN_NAME) as office:
        voice = office.everybody()
        tokens = await asyncio.gather(*(voice.token() for _ in range(20)))
        assert (len(set(tokens)), office.bank.own) == (1, 1)
        assert office.bank.access[str(tokens[0])] == "hub"
        assert [(row.user, row.grant) for row in office.connections.rows()] == [(SHARED, "client_credentials")]
        office.times.pass_by(LIFE_S)
        fresh = await asyncio.gather(*(voice.token() for _ in range(20)))
        assert (len(set(fresh)), office.bank.own) == (1, 2)
        voice.served()
        office.bank.access.clear()
        assert await voice.refused(fresh[0], 401, "Bearer") not in fresh
        assert office.bank.own == 3
        assert office.log.acts() == [("hub", "connections.login", "done")]


async def test_a_token_in_the_hubs_own_name_that_no_server_takes_is_not_asked_for_for_ever() -> None:
    async with an_office(IN_OWN_NAME) as office:
        voice = office.everybody()
        for _ in range(30):
            try:
                token = await voice.token()
                assert token is not None
                await voice.refused(token, 401, "Bearer")
            except NeedsLogin:
                office.times.pass_by(AGAIN_S / 2)
        assert office.bank.own < 12
        with pytest.raises(NeedsLogin, match="3 logins were not enough"):
            await voice.token()


async def test_an_app_that_is_refused_is_told_to_admins_and_not_tried_at_every_request() -> None:
    async with an_office(IN_OWN_NAME) as office:
        voice = office.everybody()
        office.bank.error = "invalid_client"
        for _ in range(5):
            with pytest.raises(NeedsLogin, match="invalid_client"):
                await voice.token()
        assert office.there.idp.count("/token") == 1
        office.bank.error = None
        office.times.pass_by(AGAIN_S)
        assert await voice.token() is not None
        other = replace(IN_OWN_NAME, client=replace(APP, id="another app"))
        office.protected["wiki"] = Protected(office.there.url, other)
        before = office.bank.own
        assert await voice.token() is not None
        assert office.bank.own == before + 1


async def test_a_caller_who_goes_away_takes_no_token_from_those_who_wait() -> None:
    async with an_office(IN_OWN_NAME) as office:
        voice = office.everybody()
        office.there.idp.held = asyncio.Event()
        first, second = asyncio.create_task(voice.token()), asyncio.create_task(voice.token())
        async with asyncio.timeout(5):
            while not office.there.idp.asked:
                await asyncio.sleep(0)
        first.cancel()
        office.there.idp.held.set()
        assert office.bank.access[str(await second)] == "hub"
