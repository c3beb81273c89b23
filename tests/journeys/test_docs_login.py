"""The pages about logging in say what the code does: how long things last, at which addresses, and what people see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final, TypeGuard

import pytest

from hub.config_auth import ACCESS_S, REFRESH_DAYS
from hub.edge.browser import ABSOLUTE_S, IDLE_S
from hub.edge.oauth_parked import WAIT_S
from hub.edge.ports import Limits
from hub.identity.introspection import BELIEVED_S
from hub.identity.jwks import KEPT_S, UNKNOWN_S
from hub.identity.oauth.clients import REGISTRATIONS
from hub.identity.oauth.device import LASTS_S
from hub.identity.oauth.ports import Settings
from hub.identity.oauth.signing import TURN_S
from hub.identity.passwords import LONGEST, SHORTEST
from hub.identity.roles import BUILT_IN
from hub.identity.throttle import PER_MINUTE
from hub.identity.users import INVITE_S
from tests.edge.oauth.place import Place
from tests.equipment import ROOT

PAGE: Final = (ROOT / "hub" / "docs" / "logging-in.md").read_text()
COMPANY: Final = (ROOT / "hub" / "docs" / "company-logins.md").read_text()
ERRORS: Final = (ROOT / "hub" / "docs" / "errors.md").read_text()
EDGE: Final = ROOT / "hub" / "edge"
OAUTH: Final = ROOT / "hub" / "identity" / "oauth"
ERROR_AT: Final = {"Refusal": 0, "refused": 1, "_refused": 1, "_fault": 1}  # which argument is the code
WITH_A_PROVIDER: Final = {"/oauth/sso"}  # not served otherwise
USUAL: Final = Settings()
UNITS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def spelled(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0 and (unit != "day" or seconds > size))
    count = int(seconds) // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        ("access token", USUAL.access_s),
        ("access token", ACCESS_S),
        ("consent, with all its refresh tokens", USUAL.refresh_s),
        ("consent, with all its refresh tokens", REFRESH_DAYS * 86_400),
        ("code between browser and client", USUAL.code_s),
        ("a request that waits for the person, and the code of a program without a browser", WAIT_S),
        ("a request that waits for the person, and the code of a program without a browser", LASTS_S),
        ("signing key", TURN_S),
        ("a program that registered itself", USUAL.client_ttl_s),
    ],
)
def test_the_table_of_how_long_things_last_is_true(what: str, seconds: float) -> None:
    assert f"| {what} | {spelled(seconds)}" in PAGE


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (PAGE, f"same successor for {spelled(USUAL.grace_s)} more"),
        (PAGE, f"again after those {spelled(USUAL.grace_s)}"),
        (PAGE, f"lasts {spelled(ABSOLUTE_S)}, and one hour without use" if IDLE_S == 3600 else "-"),
        (PAGE, f"has {SHORTEST} to {LONGEST} characters"),
        (PAGE, "good once, for a day" if INVITE_S == 86_400 else "-"),
        (PAGE, f"`edge.keepalive_s`, {spelled(Limits().keepalive_s)}"),
        (PAGE, f"{REGISTRATIONS.per_minute:g} a minute from one address"),
        (PAGE, "ten failures a minute are allowed from one address" if PER_MINUTE == 10 else "-"),
        (COMPANY, f"believed for {spelled(BELIEVED_S)}"),
        (COMPANY, "at most twice a minute" if UNKNOWN_S == 30 else "-"),
        (COMPANY, "known ones are good for a day" if KEPT_S == 86_400 else "-"),
    ],
)
def test_what_the_pages_say_in_numbers_is_true(page: str, words: str) -> None:
    assert words in " ".join(page.split())


def test_every_address_that_is_served_is_named_and_the_other_way_round() -> None:
    table = PAGE.partition("## The addresses")[2].partition("##")[0]
    named = set(re.findall(r"`(/[\w./-]+?)`", table)) - {"/.well-known/oauth-protected-resource/mcp"}
    served = {str(getattr(route, "path", "")) for route in Place().app.routes} - {"/oauth/style.css"}
    whole = {path.removesuffix("/{path:path}") for path in served}
    assert named - WITH_A_PROVIDER <= whole
    under = (*named, "/.well-known/oauth-protected-resource")
    assert [path for path in sorted(whole) if not path.startswith(under)] == []


def codes() -> Iterator[str]:
    """Every error of OAuth that is written out where a client is refused."""
    for path in (*OAUTH.glob("*.py"), *EDGE.glob("oauth*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            at = ERROR_AT.get(ast.unparse(node.func).rpartition(".")[2])
            if at is not None and len(node.args) > at:
                yield from (str(found.value) for found in ast.walk(node.args[at]) if is_code(found))


def is_code(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]+_[a-z_]+", str(node.value)) is not None


def test_every_error_of_the_authorization_server_is_described() -> None:
    table = ERRORS.partition("## At the authorization server")[2].partition("##")[0]
    cells = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    found = set(codes())
    assert {"invalid_grant", "invalid_target", "temporarily_unavailable", "invalid_client_metadata"} <= found
    assert sorted(found - set(re.findall(r"`(\w+)`", cells))) == []


def test_every_role_that_there_is_is_told() -> None:
    table = PAGE.partition("## Who may do what")[2].partition("##")[0]
    assert set(BUILT_IN) <= set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


@pytest.mark.parametrize("page", [PAGE, COMPANY], ids=["logging-in", "company-logins"])
def test_what_people_are_said_to_see_stands_on_a_page(page: str) -> None:
    table = page.partition("## When it does not work")[2]
    seen = [words.strip("… ") for words in re.findall(r"^\| \*(.+?)\* \|", table, re.MULTILINE)]
    assert len(seen) > 3
    shown = "\n".join(path.read_text() for path in (*EDGE.glob("oauth*.py"), *EDGE.glob("pages/*.html")))
    assert [words for words in seen if words not in shown] == []
