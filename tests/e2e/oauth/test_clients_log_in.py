"""Clients that nobody here wrote log a person in through a real browser, stay logged in, and hear when it is over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.lacking import lack
from tests.e2e.oauth.browser import Chromium, Person
from tests.e2e.oauth.login_hub import NAME, PASSWORD, LoginHub
from tests.e2e.oauth.talking import LoginClient, Refused, talking
from tests.equipment import OLD_CLIENT

pytestmark = pytest.mark.e2e

SCRIPT: Final = Path(__file__).with_name("login_client.py")
KINDS: Final = ("modern", "legacy", "v1")
TOOLS: Final = {"echo__echo", "echo__big", "echo__sleep", "echo__hang", "echo__count"}


@contextmanager
def client_of(kind: str, hub: LoginHub, folder: Path) -> Iterator[LoginClient]:
    if kind == "v1" and not OLD_CLIENT.ready:
        lack("the environment of old clients: run `python -m tests.equipment`")
    python = str(OLD_CLIENT.python) if kind == "v1" else sys.executable
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    with talking([python, str(SCRIPT), hub.url, kind], env, folder) as made:
        yield LoginClient(made)


def allows(person: Person) -> None:
    person.press("Allow")
    person.arrive(r"/callback\?")


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_logs_in_the_client_stays_in_and_a_logout_ends_it(
    kind: str, hub: LoginHub, browser: Chromium, tmp_path: Path
) -> None:
    person = browser.person(f"with {kind}")

    def log_in(url: str) -> None:
        person.log_in(url, NAME, PASSWORD)
        allows(person)

    def again(url: str) -> None:
        person.goto(url)
        person.see("Allow access?")  # the browser is still logged in; it is asked all the same
        allows(person)

    with client_of(kind, hub, tmp_path) as client:
        first = client.use(log_in)
        assert set(first["tools"]) == TOOLS
        assert first["called"] == "said by a person"
        assert len(client.opened) == 1
        same = client.use(client.nobody)
        assert same["tokens"] == first["tokens"], "nothing expired, nothing changes"

        client.expire()
        refreshed = client.use(client.nobody)
        assert refreshed["stored"] == first["stored"] + 1
        assert refreshed["tokens"]["access"] != first["tokens"]["access"]
        assert refreshed["tokens"]["refresh"] != first["tokens"]["refresh"], "a refresh token is used once"
        assert refreshed["called"] == "said by a person"

        hub.log_out()
        once_more = client.use(again)
        assert once_more["called"] == "said by a person"
        assert len(client.opened) == 2

        hub.log_out()
        client.expire()  # what is refreshed has ended as well
        assert client.use(again)["called"] == "said by a person"
        assert len(client.opened) == 3
    person.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_hears_that_it_was_denied(kind: str, hub: LoginHub, browser: Chromium, tmp_path: Path) -> None:
    person = browser.person(f"denies {kind}")

    def deny(url: str) -> None:
        person.log_in(url, NAME, PASSWORD)
        person.press("Deny")
        assert "code=" not in person.arrive(r"/callback\?")

    before = len(hub.sessions())
    with client_of(kind, hub, tmp_path) as client, pytest.raises(Refused, match="access_denied"):
        client.use(deny)
    assert len(hub.sessions()) == before
    person.close()
