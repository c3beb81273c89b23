"""What the maker of a key is warned of, and how keys are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub.admin.keys import KeyDesk
from hub.identity.keys import Keys
from hub.stores.memory.keys import MemoryKeys
from tests.admin.fakes import FakeJournal


def desk(clock_s: float | None = None) -> tuple[KeyDesk, Keys]:
    keys = Keys(MemoryKeys()) if clock_s is None else Keys(MemoryKeys(), clock=lambda: clock_s)
    return KeyDesk(keys, FakeJournal(), ("time",)), keys


async def test_a_key_with_neither_server_nor_tool_is_warned_to_see_nothing() -> None:
    made = await desk()[0].create("local:admin", {"name": "ci"})
    assert made["warnings"] == ["this key sees nothing: give it --server ID, --server '*' or --tool GLOB"]


async def test_a_key_whose_grants_mean_nothing_is_warned_of() -> None:
    made = await desk()[0].create("local:admin", {"name": "ci", "scopes": ["audit:read"], "tools": ["time__*"]})
    assert made["warnings"] == ["without the scope mcp its servers and tools mean nothing"]


async def test_a_sensible_key_has_no_warning() -> None:
    assert (await desk()[0].create("local:admin", {"name": "a", "servers": ["*"]}))["warnings"] == []
    assert (await desk()[0].create("local:admin", {"name": "b", "servers": ["time"]}))["warnings"] == []
    assert (await desk()[0].create("local:admin", {"name": "c", "scopes": ["admin"]}))["warnings"] == []


async def test_an_expired_key_is_shown_as_expired() -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    past, keys = desk(yesterday)
    await past.create("local:admin", {"name": "ci", "expires": "1h"})
    assert [row["state"] for row in KeyDesk(keys, FakeJournal(), ()).rows()] == ["expired"]
