"""A token opens what it was issued for, and nothing else; who has none is told where to get one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.core.call import Principal
from hub.core.ports import Surface
from hub.edge.admission import Admission, bearer, meant_for
from hub.edge.logins import BURST, FailedLogins
from tests.edge.fakes import CLIENT, CLIENT_TOKEN, FakeAuthenticator, FakeJournal, fake_ports

ISSUED = replace(CLIENT, name="user:ann", credential="grant:g1", endpoints=frozenset({"team"}), user="u1")
ADMIN = replace(ISSUED, credential="grant:g2", endpoints=frozenset())


class Published:
    def metadata_url(self, endpoint: str, host: str | None) -> str:
        return f"https://hub.test/.well-known/oauth-protected-resource/{endpoint}"


def admission(published: Published | None = None) -> tuple[Admission, FakeAuthenticator]:
    authenticator = FakeAuthenticator()
    ports = fake_ports(authenticator=authenticator)
    return Admission(ports, FailedLogins(FakeJournal()), published), authenticator


def headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "host": "hub.test"}


async def test_a_known_token_waits_for_nobody() -> None:
    gate, authenticator = admission()
    assert await gate.caller(headers(CLIENT_TOKEN), "mcp", "") is CLIENT
    assert authenticator.asked == []


async def test_a_token_that_is_not_known_yet_is_asked_about() -> None:
    gate, authenticator = admission()
    authenticator.admitted["fresh"] = ISSUED
    assert await gate.caller(headers("fresh"), "mcp", "team") is ISSUED
    assert await gate.caller(headers("stranger"), "mcp", "team") is None
    assert authenticator.asked == ["fresh", "stranger"]


@pytest.mark.parametrize(
    ("who", "surface", "endpoint", "fits"),
    [
        (ISSUED, "mcp", "team", True),
        (ISSUED, "mcp", "", False),
        (ISSUED, "mcp", "other", False),
        (ISSUED, "admin", "", False),
        (ADMIN, "admin", "", True),
        (ADMIN, "mcp", "", False),
        (CLIENT, "mcp", "other", True),
        (CLIENT, "admin", "", True),
    ],
)
def test_a_token_for_one_resource_opens_no_sibling(who: Principal, surface: Surface, endpoint: str, fits: bool) -> None:
    assert meant_for(who, surface, endpoint) is fits


async def test_a_token_for_another_endpoint_is_nobody_here() -> None:
    gate, authenticator = admission()
    authenticator.principals["issued"] = ISSUED
    assert await gate.caller(headers("issued"), "mcp", "team") is ISSUED
    assert await gate.caller(headers("issued"), "mcp", "other") is None


@pytest.mark.parametrize("value", ["", "Bearer", "Basic abc", "Bearer ", "bearer", "Token x"])
def test_what_is_no_bearer_header_holds_no_token(value: str) -> None:
    assert bearer({"authorization": value} if value else {}) == ""


async def test_the_challenge_names_where_tokens_are_to_be_had_and_every_scope_of_a_call() -> None:
    gate, _ = admission(Published())
    code, ((name, value),) = gate.refusal({"host": "hub.test"}, {"client": ("127.0.0.1", 1)}, "mcp", "team")
    assert (code, name) == ("unauthenticated", b"www-authenticate")
    assert value == (
        b'Bearer realm="mcp-hub", scope="mcp", '
        b'resource_metadata="https://hub.test/.well-known/oauth-protected-resource/team"'
    )


async def test_a_wrong_token_is_called_invalid_and_a_missing_one_is_not() -> None:
    gate, _ = admission(Published())
    scope = {"client": ("127.0.0.1", 1)}
    _, ((_, wrong),) = gate.refusal(headers("old"), scope, "mcp", "")
    _, ((_, missing),) = gate.refusal({}, scope, "mcp", "")
    assert b'error="invalid_token"' in wrong
    assert b"error=" not in missing


async def test_behind_a_trusted_proxy_one_callers_failures_hold_up_nobody_else() -> None:
    ports = fake_ports(authenticator=FakeAuthenticator())
    ports.limits = replace(ports.limits, trusted_proxies=("127.0.0.1",))
    failed = FailedLogins(FakeJournal())
    gate = Admission(ports, failed, None)
    scope = {"type": "http", "client": ("127.0.0.1", 1)}
    mine, other = ({**headers("wrong"), "x-forwarded-for": address} for address in ("198.51.100.7", "198.51.100.8"))
    refused = [gate.refusal(mine, scope, "mcp", "")[0] for _ in range(BURST + 1)]
    assert refused == ["unauthenticated"] * BURST + ["too_many_logins"]
    assert gate.refusal(other, scope, "mcp", "")[0] == "unauthenticated"
    await failed.aclose()
