"""Connections end: here first, then at their issuer, in the log, and with nothing left that could be seen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hub.core.connections import EnteredClient, ServerAuth
from hub.core.errors import HubError, NeedsLogin
from hub.identity.outbound.leaving import Leaving
from hub.identity.outbound.refresher import Connections
from tests.identity.outbound.downstream import query_of
from tests.identity.outbound.office import ANN, BOB, SEALER, Office, an_office, principal, token_of


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with an_office() as made:
        yield made


async def test_a_logout_ends_the_login_here_and_at_its_issuer_and_is_logged(office: Office) -> None:
    row = (await office.log_in()).connection
    voice = office.voice()
    access = await voice.token()
    assert await office.leaving.disconnect(row, "user ann") == "yes"
    assert office.bank.revoked == [str(access).replace("access", "refresh"), access]
    assert await office.store.all("local") == ()
    assert await voice.token() is None
    _, who, outcome, detail = office.log.events[-1]
    assert (who, outcome, detail["act"], detail["revoked"]) == ("user:ann", "done", "connections.logout", "yes")
    assert await office.leaving.disconnect(row, "user ann") == "yes"  # again: there is nothing more to log
    assert len(office.log.events) == 2


async def test_a_logout_counts_here_when_the_issuer_is_away_or_ends_nothing(office: Office) -> None:
    row, bobs = (await office.log_in()).connection, (await office.log_in(BOB)).connection
    office.there.metadata["revocation_endpoint"] = None
    office.times.pass_by(3601)  # what the issuer said about itself is asked for anew
    assert await office.leaving.disconnect(bobs, "user bob") == "no"
    office.there.idp.down()
    assert await office.leaving.disconnect(row, "user ann") in ("no", "failed")
    assert await office.store.all("local") == ()


async def test_an_issuer_that_never_answers_holds_no_logout_up_for_long(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.identity.outbound.leaving.REVOKE_S", 0.05)
    row = (await office.log_in()).connection
    office.there.idp.held = asyncio.Event()
    async with asyncio.timeout(3):
        assert await office.leaving.disconnect(row, "user ann") == "failed"
    assert office.log.events[-1][3]["revoked"] == "failed"


async def test_a_logout_is_seen_through_when_its_caller_goes_away(office: Office) -> None:
    row = (await office.log_in()).connection
    office.there.idp.held = asyncio.Event()
    asked = len(office.there.idp.asked)
    leaving = asyncio.create_task(office.leaving.disconnect(row, "user ann"))
    async with asyncio.timeout(5):
        while len(office.there.idp.asked) == asked:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
    office.there.idp.held.set()
    await office.leaving.aclose()
    assert [act for _, act, _ in office.log.acts()] == ["connections.login", "connections.logout"]
    assert len(office.bank.revoked) == 2


async def test_whoever_is_gone_leaves_nothing_and_issuers_are_told_after(office: Office) -> None:
    for label in ("home", "work"):
        await office.log_in(label=label)
    await office.log_in(BOB)
    offer = office.desk.offer_to(ANN, "user ann", "wiki", "third")
    office.there.idp.held = asyncio.Event()
    async with asyncio.timeout(3):
        assert await office.leaving.forget_user(ANN, "user ann") == 2
    assert [row.user for row in await office.store.all("local")] == [BOB]
    assert office.desk.pending(token_of(offer.url)) is None
    assert office.bank.revoked == []
    office.there.idp.held.set()
    office.there.idp.held = None
    await office.leaving.aclose()
    assert len(office.bank.revoked) == 4
    assert [act for _, act, _ in office.log.acts()].count("connections.logout") == 2
    assert office.bank.access[str(await office.voice(BOB).token())] == BOB


async def test_a_server_that_was_taken_out_is_forgotten_and_its_issuer_told(office: Office) -> None:
    await office.log_in()
    office.protected["mail"] = replace(office.protected["wiki"])
    await office.log_in(BOB, "mail")
    del office.protected["wiki"]
    assert len(office.connections.at("wiki")) == 1  # until it is said that it is gone for good
    assert await office.leaving.prune(["wiki"]) == 1
    await office.leaving.aclose()
    assert [row.server for row in await office.store.all("local")] == ["mail"]
    assert len(office.bank.revoked) == 2
    _, who, _, detail = office.log.events[-1]
    assert (who, detail["act"], detail["why"]) == ("hub", "connections.logout", "the server is gone")


async def test_an_app_that_was_entered_for_a_server_ends_its_tokens_by_its_own_secret() -> None:
    app = EnteredClient("app", "canary-secret", "client_secret_basic")
    async with an_office(ServerAuth(client=app)) as office:
        office.there.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
        row = (await office.log_in()).connection
        assert await office.leaving.disconnect(row, "user ann") == "yes"
        heard = [asked for asked in office.there.idp.asked if asked.path == "/revoke"]
        assert all(asked.headers["authorization"].startswith("Basic ") for asked in heard)


async def test_a_login_that_ends_by_itself_is_logged_once(office: Office) -> None:
    row = (await office.log_in()).connection
    voice = office.voice()
    office.bank.refresh.clear()
    for _ in range(3):
        with pytest.raises(NeedsLogin):
            await voice.refused("canary-access-" + ANN + "-1", 401, "Bearer")
    await office.leaving.aclose()
    ends = [(who, detail) for _, who, _, detail in office.log.events if detail["act"] == "connections.ended"]
    assert [(who, detail["connection"], detail["why"]) for who, detail in ends] == [("hub", row.id, "invalid_grant")]
    office.times.pass_by(1)
    later = Connections(office.store, SEALER, office.clients, office.parts.clocks, alone=True)
    again = Leaving(replace(office.parts, connections=later))
    await later.load()  # a hub that starts now finds that end, which is in the log already
    await again.aclose()
    assert later.rows()[0].ended == "invalid_grant"
    assert len(office.log.events) == 2


async def test_no_token_code_or_secret_is_seen_anywhere(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    offer = office.desk.offer(principal(), "wiki")
    assert offer is not None
    token = token_of(offer.url)
    location = await office.desk.begin(token, "canary-browser")
    query = office.back(location, ANN)
    waiting = office.desk._offered.by_id(offer.id)
    said += [repr(waiting), repr(offer), repr(office.desk.pending(token))]
    finished = await office.desk.finish(query, "canary-browser")
    voice = office.voice()
    access = await voice.token()
    said += [repr(finished), repr(voice), repr(office.parts), str(vars(office.desk)), repr(office.clients)]
    for act in (
        office.desk.finish(query, "canary-browser"),
        office.desk.begin(token, "canary-browser"),
        voice.refused(access, 403, 'Bearer error="insufficient_scope", scope="more"'),
        office.desk.begin(token_of(office.desk.offer_to(ANN, "user ann", "wiki").url), "canary-browser"),
    ):
        try:
            await act
        except HubError as exc:
            said += [str(exc), repr(exc), str(exc.__cause__)]
    office.bank.refresh.clear()
    with pytest.raises(NeedsLogin) as caught:
        await voice.refused(access, 401, "Bearer")
    said += [str(caught.value), repr(caught.value)]
    await office.leaving.disconnect(finished.connection, "user ann")
    said += [json.dumps(detail) for *_, detail in office.log.events]
    said += [record.getMessage() for record in caplog.records if record.name.startswith("hub")]
    secret = ("canary", token, f"code-{ANN}", query_of(location)["state"], query_of(location)["code_challenge"])
    for text in said:
        assert not [each for each in secret if each in text], text
