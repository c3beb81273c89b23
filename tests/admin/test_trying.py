"""Dry runs over the admin API: everything is told, nothing is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hub.admin import trying
from tests.admin.registry_hub import RegistryHub

PASTE = json.dumps({"mcpServers": {"wiki": {"url": "https://a.example.com/mcp", "headers": {"X-Key": "canary-7"}}}})


@pytest.fixture
async def hub(tmp_path: Path) -> RegistryHub:
    return await RegistryHub(tmp_path).open()


async def tried(hub: RegistryHub, text: str, **more: Any) -> Any:
    return await hub.api.ask("POST", "/api/v1/servers/try", body={"text": text, **more})


async def test_a_dry_run_shows_what_a_server_offers_and_keeps_nothing(hub: RegistryHub) -> None:
    found = await tried(hub, PASTE)
    (row,) = found.json["servers"]
    assert (found.status, row["outcome"], row["items"]["tool"], row["items"]["prompt"]) == (200, "works", 1, 1)
    (tool,) = row["tools"]
    assert (tool["name"], tool["hints"]) == ("wiki__read", {"readOnlyHint": True})
    assert row["schema_bytes"] == tool["bytes"] > 50
    assert any("not shown: tool bad" in warning for warning in row["warnings"])
    assert any("looks like another" in warning for warning in row["warnings"])
    assert (hub.live.rows(), hub.vault.names(), hub.installed) == ((), (), [])
    ((outcome, act, detail),) = hub.acts()
    assert (outcome, act) == ("done", "servers.try")
    assert "canary" not in repr(detail)
    assert hub.trials.seen[0][2] == {"wiki.X-Key": "canary-7"}


async def test_a_server_that_prints_its_secret_shows_it_to_nobody(hub: RegistryHub) -> None:
    hub.trials.state, hub.trials.stderr = "down", ("bad key canary-7!",)
    found = await tried(hub, PASTE)
    (row,) = found.json["servers"]
    assert (row["outcome"], row["problem"], row["stderr"]) == ("failed", "down: look", ["bad key ***!"])


async def test_what_cannot_be_started_is_not_started(hub: RegistryHub) -> None:
    text = json.dumps({"a": {"command": "sh"}, "b": {"url": "https://b", "headers": {"X-Key": ""}}})
    found = await tried(hub, text)
    assert [row["outcome"] for row in found.json["servers"]] == ["refused", "incomplete"]
    assert (hub.trials.seen, hub.parts.journal.events) == ([], [])
    many = json.dumps({f"s{n}": {"url": "https://a"} for n in range(11)})
    assert (await tried(hub, many)).json["code"] == "too_many"


async def test_what_is_not_logged_is_not_started(hub: RegistryHub) -> None:
    hub.parts.journal.broken = True
    assert (await tried(hub, PASTE)).status == 500
    assert hub.trials.seen == []


async def test_a_fault_of_the_entry_is_told(hub: RegistryHub) -> None:
    hub.trials.fails = ValueError("mcpServers.wiki.url: must be http")
    (row,) = (await tried(hub, PASTE)).json["servers"]
    assert (row["outcome"], row["problem"]) == ("refused", "mcpServers.wiki.url: must be http")


async def test_a_dry_run_ends(hub: RegistryHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "LIMIT_S", 0.05)

    async def hang(*args: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(hub.trials, "run", hang)
    (row,) = (await tried(hub, PASTE)).json["servers"]
    assert (row["outcome"], row["problem"]) == ("failed", "it was not done within 0.05 s")


async def test_too_many_dry_runs_at_once_wait_and_then_say_so(
    hub: RegistryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "BUSY_S", 0.05)
    for _ in range(trying.AT_ONCE):
        await hub.trying._turn.acquire()
    (row,) = (await tried(hub, PASTE)).json["servers"]
    assert "other dry runs" in row["problem"]
    assert hub.trials.seen == []
