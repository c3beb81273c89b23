"""Two people with two accounts at one server: neither sees what is the other's, and who leaves has nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.e2e.hub_process import Hub, until
from tests.e2e.outbound.places import Human, Members, at_once, human, members, near_place, offered
from tests.e2e.raw_http import Http, Session

pytestmark = pytest.mark.e2e

OFFER: Final = "club__log_in"
WHO: Final = "club__whoami"
CALLS: Final = 40


@dataclass(frozen=True, slots=True)
class World:
    hub: Hub
    club: Members
    ann: Human
    bob: Human
    eve: Human  # never logs in

    def comes(self, name: str) -> Human:
        """Somebody who has logged in."""
        who = human(self.hub, name, self.club.door, f"{name}-there")
        who.logs_in(OFFER)
        who.listed(WHO)
        return who


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        members() as club,
        Hub(near_place(tmp_path_factory.mktemp("near"), {"club": club.entry})) as hub,
    ):
        hub.wait_state("club", "needs_login")
        ann, bob, eve = (human(hub, name, club.door, f"{name}-there") for name in ("ann", "bob", "eve"))
        for who in (ann, bob):
            who.logs_in(OFFER)
            who.listed(WHO)
        yield World(hub, club, ann, bob, eve)
        for who in (ann, bob, eve):
            who.close()


def everything(http: Http) -> str:
    """All that this caller gets of the server, as it is on the wire."""
    lists = [http.modern(f"{kind}/list") for kind in ("tools", "resources", "resources/templates", "prompts")]
    uri = next((r["uri"] for r in lists[1].result["resources"] if r["uri"].endswith("members://card")), None)
    assert uri is not None, lists[1].result
    more = [
        http.call(WHO),
        http.modern("resources/read", {"uri": uri}),
        http.modern("prompts/get", {"name": "club__greet", "arguments": {}}),
        http.modern(
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "club__greet"}, "argument": {"name": "topic", "value": "t"}},
        ),
    ]
    return "\n".join(answer.body.decode() for answer in (*lists, *more))


def test_each_sees_only_what_is_his_own_in_lists_resources_prompts_and_completions(world: World) -> None:
    for who, other in ((world.ann, "bob-there"), (world.bob, "ann-there")):
        mine, got = f"{who.name}-there", everything(who.http)
        for claim in (
            "whoami: ",
            "card of ",
            "greetings, ",
            "topic of ",
            "club__only_",
            "members://of/",
            "club__greet_",
        ):
            assert f"{claim}{mine}" in got, claim
        assert other not in got


def test_who_has_not_logged_in_sees_nothing_of_either(world: World) -> None:
    http = world.eve.http
    lists = [http.modern(f"{kind}/list").body.decode() for kind in ("tools", "resources", "prompts")]
    assert OFFER in lists[0]
    for text in lists:
        assert "-there" not in text
        assert "whoami" not in text
    for name in (WHO, "club__only_ann-there"):
        answer = http.call(name).body.decode()
        assert "whoami:" not in answer
        assert "ann-there: " not in answer


def test_what_is_listed_for_the_other_only_can_not_be_called(world: World) -> None:
    answer = world.bob.http.call("club__only_ann-there")
    assert "error" in answer.message or answer.result.get("isError"), answer.body
    assert world.ann.http.call("club__only_ann-there").text == "only_ann-there: ann-there"


def test_sessions_of_the_older_era_keep_apart_too(world: World) -> None:
    for who, other in ((world.ann, "bob-there"), (world.bob, "ann-there")):
        session = Session(who.http)
        got = f"{session.request('tools/list').result} {session.call(WHO).result}"
        assert f"whoami: {who.name}-there" in got
        assert other not in got


def test_calls_of_both_at_once_are_never_answered_with_the_others_account(world: World) -> None:
    people = (world.ann, world.bob)
    for who in people:
        world.club.expire(f"{who.name}-there")
    answers = at_once(CALLS, lambda number: people[number % 2].http.call(WHO))
    for number, answer in enumerate(answers):
        assert answer.text == f"whoami: {people[number % 2].name}-there"


def test_a_dead_login_of_one_touches_nobody_else(world: World) -> None:
    carl = world.comes("carl")
    before = world.club.count("logins", "ann-there")
    world.club.revoke("carl-there")
    assert carl.http.call(WHO).code == "needs_login"
    for who in (world.ann, world.bob):
        assert who.http.call(WHO).text == f"whoami: {who.name}-there"
    assert world.club.count("logins", "ann-there") == before
    assert carl.logs_in(WHO).text == "whoami: carl-there"
    carl.close()


def test_a_logout_ends_it_at_once_here_and_at_the_issuer(world: World) -> None:
    dora = world.comes("dora")
    assert dora.http.call(WHO).text == "whoami: dora-there"
    assert dora.logs_out().status == 200
    calls = world.club.count("calls", "dora-there")
    answer = dora.call(WHO)
    assert "whoami" not in answer.body.decode().replace(WHO, "")
    until(lambda: WHO not in dora.tools(), "the lists of the account are gone")
    until(lambda: OFFER in dora.tools(), "a login is offered again")
    assert world.club.count("calls", "dora-there") == calls
    until(lambda: revoked(world.club, "dora-there"), "the issuer is told")
    assert acts(world, "user:dora")[-1] == "connections.logout"
    dora.close()


def test_who_is_disabled_has_no_connection_left_also_when_allowed_in_again(world: World) -> None:
    fred = world.comes("fred")
    token = world.club.door.bearers()[-1]
    world.hub.place.run("users", "disable", "fred")
    assert fred.http.modern("tools/list").status == 401
    until(lambda: revoked(world.club, "fred-there"), "the issuer is told")
    world.hub.place.run("users", "enable", "fred")
    again = fred.near.log_in()
    http = fred.near.at(again)
    until(lambda: OFFER in [t["name"] for t in http.modern("tools/list").result["tools"]], "a login is offered")
    assert "fred-there" not in http.modern("tools/list").body.decode()
    assert token.startswith("access-fred-there")
    assert "connections.ended" in acts(world, None)
    fred.close()


def test_two_accounts_of_one_person_are_used_as_chosen(world: World) -> None:
    gina = world.comes("gina")
    base = gina.near.base
    gina.browser.known[world.club.door.url] = ("gina-work", "")
    page = gina.browser.go(f"{base}/oauth/connections")
    (form,) = (form for form in page.forms if form.action.endswith("/connect") and "label" in form.typed)
    form.fields["label"] = "work"
    done = gina.browser.go_on(page, form)
    assert "Connected to" in done.text, done.text
    until(lambda: said(gina) == "whoami: gina-work", "the account that was logged in last is used")
    page = gina.browser.go(f"{base}/oauth/connections")
    (form,) = (form for form in page.forms if form.action.endswith("/choose"))
    gina.browser.go_on(page, form)
    until(lambda: said(gina) == "whoami: gina-there", "the account that was chosen is used")
    gina.close()


def revoked(club: Members, member: str) -> bool:
    """Whether the issuer was asked to end it: the SDK's own refuses all but those with a secret in the form."""
    asked = [heard.form["token"] for heard in club.door.heard if heard.path == "/revoke"]
    return any(token.startswith(f"refresh-{member}-") for token in asked)


def said(who: Human) -> str | None:
    message: Any = who.http.call(WHO).message
    content = message.get("result", {}).get("content")
    return content[0]["text"] if content else None


def acts(world: World, who: str | None) -> list[str]:
    """Of connections, oldest first, as the log has them."""
    entries = [entry for entry in world.hub.place.entries() if entry["kind"] == "auth"]
    entries.sort(key=lambda entry: entry["seq"])
    found = [entry["detail"].get("act", "") for entry in entries if who is None or entry["who"] == who]
    return [act for act in found if act.startswith("connections.")]


def test_the_offer_of_one_is_nothing_to_the_retry_of_another(world: World) -> None:
    hugo, iris = (human(world.hub, name, world.club.door, f"{name}-there") for name in ("hugo", "iris"))
    _, retry = offered(hugo.call(OFFER))
    answer = iris.http.modern("tools/call", {"name": OFFER, "arguments": {}, **retry})
    assert answer.code in ("state_refused", "needs_login"), answer.body
    for who in (hugo, iris):
        who.close()
