"""The page about logging in to servers says what the code does: addresses, times, states and acts."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest

from hub.cli.login import TIMEOUT_S
from hub.config import Config, Listen
from hub.config_auth import bases
from hub.identity.outbound.clients import CALLBACK
from hub.identity.outbound.held import WORDS
from hub.identity.outbound.pending import GOOD_S
from tests.equipment import ROOT

DOCS: Final = ROOT / "hub" / "docs"
PAGE: Final = (DOCS / "connections.md").read_text()
FLAT: Final = " ".join(PAGE.split())


def test_the_redirect_uri_to_enter_is_the_hubs_own() -> None:
    usual = Config(DOCS).listen
    assert usual == Listen("127.0.0.1", 8700)
    own = bases(None, usual.loopback, usual.port)[0] + CALLBACK
    for uri in (f"{{public_url}}{CALLBACK}", f"https://hub.example.com{CALLBACK}", own):
        assert f"`{uri}`" in FLAT


def test_a_page_is_good_for_as_long_as_is_said_and_the_command_waits_for_it() -> None:
    assert (GOOD_S, TIMEOUT_S) == (600, 600)
    assert "good for ten minutes and once" in FLAT


def test_every_reason_for_a_login_is_explained() -> None:
    told = set(re.findall(r"^\| needs login: (.*?) \|", PAGE, re.MULTILINE))
    assert told == set(WORDS.values()) - {WORDS["new"]}, "nobody has an account that nobody logged in"


def test_every_act_is_named() -> None:
    table = PAGE.partition("## What is in the log")[2]
    named = set(re.findall(r"`(connections\.\w+)`", table))
    written = set()
    for path in (ROOT / "hub").rglob("*.py"):
        if path.name not in ("acts.py", "connection_desk.py", "oauth_connections.py", "oauth_connect.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and re.fullmatch(r"connections\.\w+", str(node.value)):
                written.add(str(node.value))
    assert named == written


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("registers no apps by itself", "hub/identity/outbound/registration.py"),
        ("no browser reaches this hub", "hub/identity/outbound/desk.py"),
        ("has one account for all", "hub/identity/outbound/desk.py"),
        ("nobody logged in while the page was good", "hub/cli/login.py"),
    ],
)
def test_what_a_login_says_is_said_like_that(words: str, file: str) -> None:
    assert f"*{words}*" in PAGE
    assert words in (ROOT / file).read_text()
