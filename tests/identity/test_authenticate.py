from __future__ import annotations

import pytest

from hub.core.call import Grants
from hub.core.ports import Surface
from hub.identity.authenticate import LOCAL_ADMIN, LOCAL_CLIENT, Identities
from hub.identity.keys import Keys
from hub.identity.tokens import MAX_LENGTH, LocalTokens
from hub.stores.memory.keys import MemoryKeys

CLIENT, ADMIN, SECRET = "c" * 43, "a" * 43, "s" * 43
SURFACES: tuple[Surface, ...] = ("mcp", "admin")


async def identities() -> tuple[Identities, Keys]:
    keys = Keys(MemoryKeys())
    await keys.load()
    return Identities(LocalTokens(CLIENT, ADMIN), keys, SECRET), keys


def test_the_local_client_calls_and_administers_nothing() -> None:
    assert LOCAL_CLIENT.scopes == {"mcp"}
    assert LOCAL_CLIENT.grants == Grants(servers=frozenset({"*"}))


def test_the_local_admin_administers_and_calls_nothing() -> None:
    assert LOCAL_ADMIN.scopes == {"admin", "audit:read"}
    assert LOCAL_ADMIN.grants == Grants()


@pytest.mark.parametrize("surface", SURFACES)
async def test_each_local_token_is_one_principal_on_every_surface(surface: Surface) -> None:
    who, _ = await identities()
    assert who.verify(CLIENT, surface) is LOCAL_CLIENT
    assert who.verify(ADMIN, surface) is LOCAL_ADMIN


async def test_the_local_secret_is_client_or_admin_by_surface() -> None:
    who, _ = await identities()
    assert who.verify(SECRET, "mcp") is LOCAL_CLIENT
    assert who.verify(SECRET, "admin") is LOCAL_ADMIN


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_key_is_itself_until_it_is_revoked(surface: Surface) -> None:
    who, keys = await identities()
    _, key = await keys.create("ci", ["audit:read"])
    found = who.verify(key, surface)
    assert found is not None
    assert (found.name, found.scopes) == ("key:ci", frozenset({"audit:read"}))
    await keys.revoke("ci")
    assert who.verify(key, surface) is None


async def test_a_key_may_not_pass_for_a_local_principal() -> None:
    who, keys = await identities()
    _, key = await keys.create("client", servers=["*"])
    found = who.verify(key, "mcp")
    assert found is not None
    assert (found.name, found.credential[:5]) == ("key:client", "key:k")
    assert found.credential != LOCAL_CLIENT.credential


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        CLIENT[:-1],
        CLIENT + " ",
        CLIENT.upper(),
        "x" * (MAX_LENGTH + 1),
        "x" * 10_000_000,
        "é" * 40,
        "\ud800" * 40,
        "\x00" * 40,
    ],
)
async def test_any_doubt_is_nobody(surface: Surface, token: str) -> None:
    who, keys = await identities()
    await keys.create("ci")
    assert who.verify(token, surface) is None


async def test_a_stored_hash_opens_nothing() -> None:
    who, keys = await identities()
    row, _ = await keys.create("ci")
    assert who.verify(row.sha256, "mcp") is None


def test_a_short_local_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        Identities(LocalTokens(CLIENT, ADMIN), Keys(MemoryKeys()), "short")
