"""Logins at downstreams: offered, begun and ended by the one they are for, and in one browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.core.call import LOCAL
from hub.core.connections import SHARED, EnteredClient, ServerAuth
from hub.core.errors import NeedsLogin
from hub.identity.outbound.acts import EVERYBODY, THIS
from hub.identity.outbound.clients import hub_client
from hub.identity.outbound.desk import Unofferable
from hub.identity.outbound.errors import Exhausted, Refused, Unavailable, Unfit, Unregistered
from hub.identity.outbound.pending import GOOD_S, MOST_BEGUN, MOST_OF_ACCOUNT, Lost, Offered, Pending
from hub.identity.outbound.protected import Protected
from tests.identity.outbound.downstream import Downstream, query_of
from tests.identity.outbound.office import ANN, BASE, BOB, Bank, Full, Office, an_office, principal, serve, token_of
from tests.identity.outbound.rotating import Times

HERE, THERE = "browser 1", "browser 2"


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with an_office() as made:
        yield made


async def begun(office: Office, account: str = ANN, browser: str = HERE) -> tuple[str, str, str]:
    """The offer's id and token, and where the browser was sent."""
    offer = office.desk.offer_to(account, "user ann", "wiki")
    token = token_of(offer.url)
    return offer.id, token, await office.desk.begin(token, browser)


# -- a whole login


async def test_a_login_from_its_offer_to_its_token(office: Office) -> None:
    offer = office.desk.offer(principal(), "wiki")
    assert offer is not None
    assert offer.url.startswith(f"{BASE}/oauth/connect?c=")
    token = token_of(offer.url)
    assert office.desk.pending(token) == Pending("wiki", ANN, "user ann", True)
    location = await office.desk.begin(token, HERE)
    asked = query_of(location)
    assert asked["redirect_uri"] == f"{BASE}/oauth/connect/callback"
    assert asked["state"].startswith(f"{offer.id}.")
    assert (asked["resource"], asked["code_challenge_method"]) == (office.there.url, "S256")
    waiting = asyncio.create_task(office.desk.finished(offer.id, 5))
    finished = await office.desk.finish(office.back(location, ANN), HERE)
    assert (finished.server, finished.account) == ("wiki", ANN)
    assert office.connections.get(finished.connection.id) == finished.connection
    assert await waiting
    assert await office.desk.finished(offer.id, 0)
    assert office.desk.pending(token) is None
    access = await office.voice().token()
    assert office.bank.access[str(access)] == ANN
    ((kind, who, outcome, detail),) = office.log.events
    host = office.there.issuer.removeprefix("http://")
    assert (kind, who, outcome) == ("auth", "user:ann", "done")
    said = {"act": "connections.login", "server": "wiki", "issuer": host, "account": ANN}
    assert detail == {**said, "connection": finished.connection.id}


async def test_while_an_offer_is_good_its_caller_gets_the_same_one_and_nobody_else_does(office: Office) -> None:
    first = office.desk.offer(principal(), "wiki")
    assert first is not None
    assert office.desk.offer(principal(), "wiki") == first
    other = office.desk.offer(principal(BOB, "user:bob"), "wiki")
    assert other is not None
    assert {first.id, first.url}.isdisjoint({other.id, other.url})
    assert first.id not in first.url
    office.times.pass_by(GOOD_S)
    again = office.desk.offer(principal(), "wiki")
    assert again is not None
    assert again.id != first.id
    assert office.desk.pending(token_of(first.url)) is None


async def test_the_words_of_an_offer_say_whose_the_account_will_be(office: Office) -> None:
    for who, account, words, is_user in (
        (principal(None, "local:client", "local:client"), LOCAL, THIS, False),
        (principal(None, "key:ci", "key:k1"), "key:k1", "key ci", False),
        (principal(BOB, "user:bob"), BOB, "user bob", True),
    ):
        offer = office.desk.offer(who, "wiki")
        assert offer is not None
        assert office.desk.pending(token_of(offer.url)) == Pending("wiki", account, words, is_user)


# -- one browser, one answer, ten minutes


async def test_an_answer_counts_in_the_browser_that_began_and_in_no_other(office: Office) -> None:
    _, _, location = await begun(office)
    with pytest.raises(Lost, match="another browser"):
        await office.desk.finish(office.back(location, "mallory"), THERE)
    assert office.connections.rows() == ()
    assert (await office.desk.finish(office.back(location, ANN), HERE)).account == ANN


async def test_a_second_answer_is_lost_and_changes_nothing(office: Office) -> None:
    _, token, location = await begun(office)
    answers = await asyncio.gather(
        *(office.desk.finish(office.back(location, ANN), HERE) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Lost) for each in answers) == 4
    with pytest.raises(Lost):
        await office.desk.finish(office.back(location, "mallory"), HERE)
    with pytest.raises(Lost):
        await office.desk.begin(token, HERE)
    assert [row.user for row in office.connections.rows()] == [ANN]
    assert len(office.log.events) == 1


async def test_a_forged_answer_costs_the_real_one_nothing(office: Office) -> None:
    id, _, location = await begun(office)
    state = query_of(location)["state"]
    for query in (
        [("code", "c"), ("state", f"{id}.guess")],
        [("code", "c"), ("state", state), ("state", state)],
        [("code", "c"), ("state", "?")],
        [("code", "c"), ("state", f"{id}.\udc80")],
        [("code", "c")],
    ):
        with pytest.raises(Lost):
            await office.desk.finish(query, HERE)
    assert (await office.desk.finish(office.back(location, ANN), HERE)).account == ANN


async def test_an_offer_ends_after_ten_minutes_even_when_its_login_is_under_way(office: Office) -> None:
    id, token, location = await begun(office)
    office.times.pass_by(GOOD_S)
    for act in (office.desk.begin(token, HERE), office.desk.finish(office.back(location, ANN), HERE)):
        with pytest.raises(Lost, match="ask for a new one"):
            await act
    assert not await office.desk.finished(id, 0)
    assert not await office.desk.finished("nobody knows this", 5)


async def test_the_page_of_a_computer_belongs_to_the_first_browser_and_a_users_moves_with_the_user(
    office: Office,
) -> None:
    _, token, _ = await begun(office, LOCAL)
    with pytest.raises(Lost, match="another browser"):
        await office.desk.begin(token, THERE)
    await office.desk.begin(token, HERE)
    _, token, old = await begun(office)
    new = await office.desk.begin(token, THERE)
    with pytest.raises(Lost):
        await office.desk.finish(office.back(old, ANN), HERE)
    await office.desk.finish(office.back(new, ANN), THERE)


async def test_one_offer_asks_an_issuer_only_so_often(office: Office) -> None:
    _, token, _ = await begun(office)
    for _ in range(MOST_BEGUN - 1):
        await office.desk.begin(token, HERE)
    with pytest.raises(Lost, match="too often"):
        await office.desk.begin(token, HERE)


def test_offers_are_bounded_and_the_oldest_goes_first() -> None:
    times = Times()
    offered = Offered(times.steady, most=50)
    mine = [offered.open(ANN, "ann", "wiki", str(number)) for number in range(MOST_OF_ACCOUNT + 5)]
    assert [offered.by_id(each.id) is not None for each in mine] == [False] * 5 + [True] * MOST_OF_ACCOUNT
    others = [offered.open(f"key:{number}", "key", "wiki", "") for number in range(40)]
    assert len(offered) == 50
    assert all(offered.by_token(each.token) is each for each in others)
    times.pass_by(GOOD_S)
    offered.open(BOB, "bob", "wiki", "")
    assert len(offered) == 1


# -- where no login can be had


async def test_nothing_is_offered_where_nobody_could_log_in(office: Office) -> None:
    auth = ServerAuth(account="shared")
    office.protected["all"] = Protected(office.there.url, auth)
    own = ServerAuth(account="shared", grant="client_credentials", client=EnteredClient("c", "s", "client_secret_post"))
    office.protected["own"] = Protected(office.there.url, own)
    for server in ("all", "own", "none"):
        assert office.desk.offer(principal(), server) is None
        with pytest.raises(Unofferable):
            office.desk.offer_to(ANN, "user ann", server)
    with pytest.raises(Unofferable, match="own account"):
        office.desk.offer_to(SHARED, EVERYBODY, "wiki")
    with pytest.raises(Unofferable, match="by itself"):
        office.desk.offer_to(SHARED, EVERYBODY, "own")
    with pytest.raises(Unofferable, match="characters"):
        office.desk.offer_to(ANN, "user ann", "wiki", "a\nb")
    assert office.desk.protected() == ("wiki",)
    finished = await office.log_in(SHARED, "all", whose=EVERYBODY)
    assert finished.account == SHARED
    office.hub = None
    assert office.desk.offer(principal(), "wiki") is None
    with pytest.raises(Unofferable, match="public_url"):
        office.desk.offer_to(ANN, "user ann", "wiki")


@pytest.mark.parametrize(
    ("iss", "naming"),
    [(None, True), ("https://evil.example", True), ("https://evil.example", None)],
)
async def test_a_mixed_up_answer_never_reaches_a_token_endpoint(iss: str | None, naming: bool | None) -> None:
    said = {"authorization_response_iss_parameter_supported": naming}
    async with an_office(metadata=said, iss=lambda issuer: iss) as office:
        _, _, location = await begun(office)
        with pytest.raises(Unfit, match="iss"):
            await office.desk.finish(office.back(location, ANN), HERE)
        assert office.there.idp.count("/token") == 0
        ((_, who, outcome, detail),) = office.log.events
        assert (who, outcome, detail["wrong"]) == ("user:ann", "denied:unfit", "unfit")


async def test_a_login_that_fails_is_logged_by_its_kind_and_can_be_begun_again(office: Office) -> None:
    id, token, location = await begun(office)
    office.bank.error = "access_denied"
    with pytest.raises(Refused):
        await office.desk.finish(office.back(location, ANN), HERE)
    office.bank.error = None
    assert not await office.desk.finished(id, 0)
    location = await office.desk.begin(token, HERE)
    await office.desk.finish(office.back(location, ANN), HERE)
    assert [outcome for _, _, outcome, _ in office.log.events] == ["denied:refused", "done"]
    assert office.log.events[0][3]["error"] == "access_denied"


async def test_a_server_that_is_away_is_told_before_anybody_is_sent_anywhere(office: Office) -> None:
    offer = office.desk.offer_to(ANN, "user ann", "wiki")
    office.there.idp.down()
    with pytest.raises(Unavailable):
        await office.desk.begin(token_of(offer.url), HERE)
    assert office.log.acts() == [("user:ann", "connections.login", "denied:unavailable")]


async def test_a_client_that_its_issuer_forgot_is_registered_anew_at_the_next_try(office: Office) -> None:
    _, token, location = await begun(office)
    office.bank.error = "invalid_client"
    with pytest.raises(Refused):
        await office.desk.finish(office.back(location, ANN), HERE)
    office.bank.error = None
    again = await office.desk.begin(token, HERE)
    assert query_of(again)["client_id"] != query_of(location)["client_id"]
    await office.desk.finish(office.back(again, ANN), HERE)
    assert len(office.there.registrations) == 2
    await office.log_in(BOB)
    assert len(office.there.registrations) == 2


async def test_what_the_log_does_not_take_is_not_given(office: Office) -> None:
    id, _, location = await begun(office)
    office.log.is_full = True
    with pytest.raises(Full):
        await office.desk.finish(office.back(location, ANN), HERE)
    assert await office.store.all("local") == ()
    assert office.speaking.own("wiki", ANN) is None
    assert not await office.desk.finished(id, 0)
    assert len(office.bank.revoked) == 2  # nor left at the issuer, where nobody knows of it
    assert office.bank.access == {}


async def test_a_user_who_is_gone_gets_no_connection_from_a_login_under_way(office: Office) -> None:
    _, _, location = await begun(office)
    held = office.there.idp.held = asyncio.Event()
    asked = office.there.idp.count("/token")
    finishing = asyncio.create_task(office.desk.finish(office.back(location, ANN), HERE))
    async with asyncio.timeout(5):
        while office.there.idp.count("/token") == asked:
            await asyncio.sleep(0)
    await office.leaving.forget_user(ANN, "user ann")
    held.set()
    with pytest.raises(Lost):
        await finishing
    assert await office.store.all("local") == ()
    assert office.bank.access == {}


async def test_a_browser_that_hangs_up_loses_no_login(office: Office) -> None:
    id, _, location = await begun(office)
    held = office.there.idp.held = asyncio.Event()
    finishing = asyncio.create_task(office.desk.finish(office.back(location, ANN), HERE))
    async with asyncio.timeout(5):
        while office.there.idp.count("/token") == 0:
            await asyncio.sleep(0)
    finishing.cancel()
    held.set()
    await office.desk.aclose()
    assert await office.desk.finished(id, 0)
    assert office.log.acts() == [("user:ann", "connections.login", "done")]


# -- more than was granted, and elsewhere


async def test_a_step_up_asks_for_what_was_held_and_what_is_wanted_and_ends_where_it_does_not_help(
    office: Office,
) -> None:
    office.bank.scopes[ANN] = "mcp:basic"
    row = (await office.log_in()).connection
    voice = office.voice()
    token = await voice.token()
    with pytest.raises(NeedsLogin):
        await voice.refused(token, 403, 'Bearer error="insufficient_scope", scope="mcp:write"')
    assert office.connections.get(row.id) == row  # the login is good for all else
    assert await voice.token() == token
    offer = office.desk.offer(principal(), "wiki")
    assert offer is not None
    location = await office.desk.begin(token_of(offer.url), HERE)
    assert set(query_of(location)["scope"].split()) == {"mcp:basic", "mcp:write"}
    office.bank.scopes[ANN] = "mcp:basic mcp:write"
    await office.desk.finish(office.back(location, ANN), HERE)
    fresh = await voice.token()
    assert fresh != token
    assert await voice.refused(token, 403, 'Bearer error="insufficient_scope", scope="mcp:write"') == fresh
    with pytest.raises(NeedsLogin):
        await voice.refused(fresh, 403, 'Bearer error="insufficient_scope", scope="mcp:write"')
    assert office.desk.offer(principal(), "wiki") is None  # it has that scope already
    assert len(office.connections.rows()) == 1


async def test_three_logins_that_the_server_never_took_are_enough(office: Office) -> None:
    for _ in range(3):
        await office.log_in()
    assert office.desk.offer(principal(), "wiki") is None
    with pytest.raises(Unofferable, match="try again in an hour"):
        office.desk.offer_to(ANN, "user ann", "wiki")
    office.voice().served()
    offer = office.desk.offer(principal(), "wiki")
    assert offer is not None
    for _ in range(3):
        office.parts.attempts.logged_in((ANN, "wiki", ""))
    with pytest.raises(Exhausted):
        await office.desk.begin(token_of(offer.url), HERE)


async def test_a_server_that_moves_to_another_issuer_is_logged_in_to_there(office: Office) -> None:
    old = (await office.log_in()).connection
    async with Downstream() as new:
        bank = Bank()
        serve(new, bank)
        office.there.prm["authorization_servers"] = [new.issuer]
        voice = office.voice()
        office.bank.refresh.clear()
        with pytest.raises(NeedsLogin):
            await voice.refused(await voice.token(), 401, "Bearer")
        offer = office.desk.offer(principal(), "wiki")
        assert offer is not None
        location = await office.desk.begin(token_of(offer.url), HERE)
        assert location.startswith(new.issuer)
        row = (await office.desk.finish(office.back(location, ANN, new), HERE)).connection
        assert (row.issuer, [each.id for each in office.connections.rows()]) == (new.issuer, [row.id])
        assert old.id != row.id
        assert bank.access[str(await voice.token())] == ANN


async def test_an_app_without_an_issuer_is_shown_to_no_other_one_than_it_was_used_at(office: Office) -> None:
    app = EnteredClient("app", "app's secret", "client_secret_post")
    office.protected["wiki"] = Protected(office.there.url, ServerAuth(client=app))
    await office.log_in()
    async with Downstream() as evil:
        office.there.prm["authorization_servers"] = [evil.issuer]
        offer = office.desk.offer_to(BOB, "user bob", "wiki")
        with pytest.raises(Unregistered, match="another issuer"):
            await office.desk.begin(token_of(offer.url), HERE)
        assert evil.idp.asked == []


async def test_an_offer_that_ends_while_its_login_is_begun_sends_nobody_away(office: Office) -> None:
    offer = office.desk.offer_to(ANN, "user ann", "wiki")
    held = office.there.idp.held = asyncio.Event()
    beginning = asyncio.create_task(office.desk.begin(token_of(offer.url), HERE))
    async with asyncio.timeout(5):
        while not office.there.idp.asked:
            await asyncio.sleep(0)
    office.desk.forget(ANN)
    held.set()
    with pytest.raises(Lost):
        await beginning


async def test_a_user_with_too_many_connections_is_told_so_and_the_grant_is_given_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.identity.outbound.refresher.MAX_OF_USER", 1)
    await office.log_in(label="one")
    with pytest.raises(Unfit, match="remove one first"):
        await office.log_in(label="two")
    assert [outcome for *_, outcome in office.log.acts()] == ["done", "denied:unfit"]
    assert len(office.bank.access) == 1


async def test_the_hubs_document_is_there_when_it_has_a_public_address(office: Office) -> None:
    assert office.desk.document() is None
    address = "https://hub.example/oauth/client.json"
    office.hub = hub_client("https://hub.example", address)
    said = office.desk.document()
    assert said is not None
    assert said["client_id"] == address
