"""The pages of logins at downstreams, one after the other, with the browser standing there."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e.oauth.browser import Chromium, Person
from tests.e2e.oauth.connect_stage import OTHER, ConnectStage, connect_stage
from tests.e2e.oauth.login_hub import NAME, PASSWORD
from tests.e2e.oauth.seen import Place


def connect_places(browser: Chromium) -> Iterator[tuple[Place, Person]]:
    """From a link that a program was given to a page full of connections; each with who stands there."""
    nobody, ada = browser.person("at this computer"), browser.person("ada who connects")
    with connect_stage() as stage:
        for place in _by_link(stage, nobody):
            yield place, nobody
        for place in _as_user(stage, ada):
            yield place, ada
        for place in _connections(stage, ada):
            yield place, ada
    nobody.close()
    ada.close()


def _by_link(stage: ConnectStage, person: Person) -> Iterator[Place]:
    person.goto(stage.link())
    person.see("Connect linear?")
    yield Place("connect")
    stage.issuer.keeps = True
    person.press("Log in there")
    person.see("On to linear")
    yield Place("connecting")
    stage.issuer.keeps, stage.issuer.denies = False, True
    person.run("document.querySelector('a.button').click()")
    person.see("You are not connected")
    yield Place("connect_failed", "denied")
    stage.issuer.denies = False
    person.run("document.querySelector('a.button').click()")
    person.see("Connect linear?")
    person.press("Log in there")
    person.see("Connected to linear")


def _as_user(stage: ConnectStage, person: Person) -> Iterator[Place]:
    person.goto(stage.link(NAME))
    person.see("Log in")
    yield Place("login", "connect")
    for field, text in (("name", NAME), ("password", PASSWORD)):
        person.fill(field, text)
    person.press("Log in")
    person.see("Connected to linear")  # the form's way led to the issuer and back
    yield Place("connected")
    person.goto(stage.link(OTHER))
    person.see("This link is not yours")
    yield Place("connect_failed")
    person.goto(stage.link(NAME))
    person.see("Connected to linear")  # nothing is asked once more


def _connections(stage: ConnectStage, person: Person) -> Iterator[Place]:
    person.goto(f"{stage.base}/oauth/connections")
    person.see("Your connections")
    person.press("Log out")
    person.see("Your connections")
    yield Place("connections", "none")
    for server, label, life_s in (("linear", "home", 1e6), ("linear", "work", 1e6), ("notion", "", 60.0)):
        stage.pass_by(60)
        stage.connected(server, label, life_s=life_s)
    stage.connect.servers = ("github", "linear", "notion", "a-server-with-a-name-that-a-telephone-has-no-room-for")
    stage.pass_by(120)
    person.goto(f"{stage.base}/oauth/connections")
    person.see("Your connections")
    yield Place("connections")
    person.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    yield Place("connections", "open")
    person.press("Use this one")
    person.see("Your connections")
    person.press("Connect")
    person.see("Connected to")
    person.goto(f"{stage.base}/oauth/connections?done=ended")
    person.see("Your connections")
