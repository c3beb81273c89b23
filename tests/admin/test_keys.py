"""What the maker of a key is warned of, and how keys are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.admin.keys import KeyDesk
from hub.identity.keys import Keys
from hub.stores.memory.keys import MemoryKeys
from tests.admin.asking import Api
from tests.admin.fakes import FakeJournal, Parts


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


async def test_a_rotation_is_told_once_and_logged_without_the_key() -> None:
    parts = Parts()
    api = Api(parts.ports())
    made = (await api.ask("POST", "/api/v1/keys", body={"name": "ci", "servers": ["time"]})).json
    found = await api.ask("POST", "/api/v1/keys/ci/rotate", body={"overlap": "1h"})
    assert found.status == 200
    assert (found.json["name"], found.json["servers"]) == ("ci", ["time"])
    assert found.json["key"].startswith("mhk_")
    assert (found.json["replaces"]["id"], found.json["replaces"]["replaced_by"]) == (made["id"], found.json["id"])
    *_, (kind, who, outcome, detail) = parts.journal.events
    assert (kind, who, outcome, detail["act"]) == ("admin", "local:admin", "done", "keys.rotate")
    assert (detail["before"]["id"], detail["after"]["id"]) == (made["id"], found.json["id"])
    assert found.json["key"] not in repr(parts.journal.events)
    rows = (await api.ask("GET", "/api/v1/keys")).json["keys"]
    assert {row["id"]: (row["state"], row["expires_soon"], row["replaced_by"]) for row in rows} == {
        made["id"]: ("live", False, found.json["id"]),
        found.json["id"]: ("live", False, None),
    }


@pytest.mark.parametrize(
    ("key", "body", "status", "words"),
    [
        ("ci", {"overlap": "0m"}, 422, "overlap"),
        ("ci", {"overlap": "31d"}, 422, "at most 30d"),
        ("ci", {"overlap": 3}, 422, "overlap"),
        ("ci", {"expires": "soon"}, 422, "expires"),
        ("ci", {"name": "x"}, 422, "takes no 'name'"),
        ("nobody", {}, 404, "no key 'nobody'"),
        ("old", {}, 409, "was rotated already"),
    ],
)
async def test_what_may_not_be_rotated_is_refused_in_words(key: str, body: object, status: int, words: str) -> None:
    parts = Parts()
    api = Api(parts.ports())
    old, _ = await parts.keys.create("ci", ["mcp"])
    _, new, _ = await parts.keys.rotate("ci", timedelta(hours=1))
    found = await api.ask("POST", f"/api/v1/keys/{old.id if key == 'old' else key}/rotate", body=body)
    assert found.status == status
    assert words in found.json["detail"]
    assert [row.id for row in parts.keys.rows()] == [old.id, new.id]
    assert parts.journal.events == []


async def test_a_rotation_that_cannot_be_logged_leaves_the_old_key_and_no_new_one() -> None:
    parts = Parts()
    api = Api(parts.ports())
    old, _ = await parts.keys.create("ci", ["mcp"])
    parts.journal.broken = True
    assert (await api.ask("POST", "/api/v1/keys/ci/rotate")).status == 500
    kept, gone = parts.keys.rows()
    assert (kept.id, kept.revoked_at, gone.revoked_at is None) == (old.id, None, False)
    parts.journal.broken = False
    assert (await api.ask("POST", "/api/v1/keys/ci/rotate")).status == 200


async def test_revoking_a_name_revokes_the_key_it_took_over_from_and_logs_both() -> None:
    parts = Parts()
    api = Api(parts.ports())
    old, _ = await parts.keys.create("ci", ["mcp"])
    _, new, _ = await parts.keys.rotate("ci", timedelta(hours=1))
    found = await api.ask("DELETE", "/api/v1/keys/ci")
    assert (found.json["id"], found.json["also_revoked"]) == (new.id, [old.id])
    assert all(row.revoked_at for row in parts.keys.rows())
    assert [event[3]["before"]["id"] for event in parts.journal.events] == [new.id, old.id]


async def test_a_key_that_ends_soon_is_marked() -> None:
    parts = Parts()
    await parts.keys.create("ci", ["mcp"], expires_in=timedelta(days=6))
    [row] = (await Api(parts.ports()).ask("GET", "/api/v1/keys")).json["keys"]
    assert row["expires_soon"] is True
