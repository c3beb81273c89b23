"""Secrets over the admin API: stored, listed, removed, and never told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hub.admin.ports import AdminPorts
from hub.admin.secrets import SecretDesk, operations
from hub.identity.kek import KekFile
from hub.identity.vault import Vault
from hub.stores.memory.secrets import MemorySecrets
from tests.admin.asking import CLIENT, READER, Api
from tests.admin.fakes import Parts

VALUE = "s3cret-canary"
ROUTES = [
    ("GET", "/api/v1/secrets"),
    ("PUT", "/api/v1/secrets/jira"),
    ("DELETE", "/api/v1/secrets/jira"),
    ("POST", "/api/v1/secrets/rekey"),
]


@dataclass
class Kept:
    """A vault behind the API, and what its changes told the servers."""

    folder: Path
    parts: Parts = field(default_factory=Parts)
    store: MemorySecrets = field(default_factory=MemorySecrets)
    uses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told: list[tuple[str, str | None]] = field(default_factory=list)
    faults: Sequence[str] = ()
    vault: Vault = field(init=False)

    def __post_init__(self) -> None:
        self.vault = Vault(self.store, KekFile(self.folder / "kek"))

    async def changed(self, who: str) -> Sequence[str]:
        self.told.append((who, self.vault.get("jira")))
        return self.faults

    def ports(self) -> AdminPorts:
        desk = SecretDesk(self.vault, self.parts.journal, lambda: self.uses, self.changed)
        return self.parts.ports(more=operations(desk))

    @property
    def api(self) -> Api:
        return Api(self.ports())

    def acts(self) -> list[tuple[str, str, str, Any]]:
        return [(kind, who, outcome, {**detail}) for kind, who, outcome, detail in self.parts.journal.events]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_administrators_see_or_change_secrets(kept: Kept, method: str, path: str) -> None:
    body = {"value": VALUE} if method == "PUT" else None
    for who, status in ((None, 401), (CLIENT, 403), (READER, 403)):
        assert (await kept.api.ask(method, path, who, body)).status == status
    assert kept.vault.names() == ()
    assert kept.parts.journal.events == []


async def test_a_secret_is_stored_listed_and_logged_without_its_value(kept: Kept) -> None:
    kept.uses["jira"] = ("tickets", "wiki")
    made = await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": VALUE})
    assert (made.status, made.json["version"], made.headers["etag"]) == (200, 1, '"1"')
    again = await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": VALUE + "2"})
    assert again.json["version"] == 2
    listed = await kept.api.ask("GET", "/api/v1/secrets")
    [row] = listed.json["secrets"]
    assert (row["name"], row["version"], row["used_by"]) == ("jira", 2, ["tickets", "wiki"])
    assert kept.vault.get("jira") == VALUE + "2"
    act = {"act": "secrets.set", "secret": "jira"}
    assert kept.acts() == [
        ("admin", "local:admin", "done", {**act, "before": None, "after": {"version": 1}}),
        ("admin", "local:admin", "done", {**act, "before": {"version": 1}, "after": {"version": 2}}),
    ]
    for answer in (made, again, listed):
        assert VALUE.encode() not in answer.body
    assert VALUE not in repr(kept.parts.journal.events)


async def test_servers_that_refer_to_it_are_told_of_a_new_value_and_their_trouble_is_told(kept: Kept) -> None:
    await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": "old"})
    assert kept.told == []
    kept.uses["jira"], kept.faults = ("tickets",), ("mcpServers.tickets.headers.A: no header may hold it",)
    made = await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": VALUE})
    assert kept.told == [("local:admin", VALUE)]
    assert made.json["warnings"] == list(kept.faults)


async def test_a_secret_in_use_is_removed_only_by_force(kept: Kept) -> None:
    await kept.vault.put("jira", VALUE)
    kept.uses["jira"] = ("tickets",)
    refused = await kept.api.ask("DELETE", "/api/v1/secrets/jira")
    assert (refused.status, refused.json["code"]) == (409, "in_use")
    assert "in use by tickets" in refused.json["detail"]
    assert kept.vault.get("jira") == VALUE
    assert kept.parts.journal.events == []
    done = await kept.api.ask("DELETE", "/api/v1/secrets/jira?force=true")
    assert done.json["warnings"] == ["tickets cannot be loaded again before: mcp-hub secrets set jira"]
    assert kept.vault.names() == ()
    assert kept.told == [("local:admin", None)]
    detail = {"act": "secrets.remove", "secret": "jira", "before": {"version": 1}, "forced": True}
    assert kept.acts() == [("admin", "local:admin", "done", detail)]


async def test_a_secret_nobody_uses_is_removed(kept: Kept) -> None:
    await kept.vault.put("jira", VALUE)
    done = await kept.api.ask("DELETE", "/api/v1/secrets/jira")
    assert (done.status, done.json["warnings"]) == (200, [])
    assert (await kept.api.ask("DELETE", "/api/v1/secrets/jira")).status == 404


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("a%20b", {"value": VALUE}, 422, "letters, digits"),
        ("x" * 65, {"value": VALUE}, 422, "at most 64"),
        ("jira", {"value": ""}, 422, "/value"),
        ("jira", {"value": VALUE + "\0"}, 422, "NUL"),
        ("jira", {"value": "é" * 9000}, 422, "at most 16384"),
        ("jira", {"value": {"token": VALUE}}, 422, "/value"),
        ("jira", {}, 422, "needs 'value'"),
        ("jira", {"value": VALUE, "force": True}, 422, "takes no 'force'"),
        ("jira", [VALUE], 422, "must be an object"),
    ],
)
async def test_what_may_not_be_stored_is_refused_without_its_value(
    kept: Kept, name: str, body: object, status: int, words: str
) -> None:
    found = await kept.api.ask("PUT", f"/api/v1/secrets/{name}", body=body)
    assert (found.status, words in found.json["detail"]) == (status, True), found.json
    assert VALUE.encode() not in found.body
    assert kept.vault.names() == ()


async def test_who_says_which_version_he_saw_overwrites_no_other(kept: Kept) -> None:
    await kept.vault.put("jira", "1")
    await kept.vault.put("jira", "2")
    for method in ("PUT", "DELETE"):
        body = {"value": "3"} if method == "PUT" else None
        stale = await kept.api.ask(method, "/api/v1/secrets/jira", body=body, headers={"If-Match": '"1"'})
        assert stale.status == 412
    assert kept.vault.get("jira") == "2"
    done = await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": "3"}, headers={"If-Match": '"2"'})
    assert done.headers["etag"] == '"3"'
    new = await kept.api.ask("PUT", "/api/v1/secrets/wiki", body={"value": "1"}, headers={"If-Match": '"1"'})
    assert new.status == 412


@pytest.mark.parametrize("before", [None, "old"])
async def test_what_cannot_be_logged_is_not_stored(kept: Kept, before: str | None) -> None:
    if before is not None:
        await kept.vault.put("jira", before)
    kept.parts.journal.broken = True
    kept.uses["jira"] = ("tickets",)
    assert (await kept.api.ask("PUT", "/api/v1/secrets/jira", body={"value": VALUE})).status == 500
    assert kept.vault.get("jira") == before
    assert kept.told == []


async def test_rekey_is_logged_with_the_new_keys_id(kept: Kept) -> None:
    await kept.vault.put("jira", VALUE)
    found = await kept.api.ask("POST", "/api/v1/secrets/rekey")
    assert found.json["secrets"] == 1
    [row] = await kept.store.all("local")
    assert found.json["kek"] == row.kek
    assert kept.acts() == [("admin", "local:admin", "done", {"act": "secrets.rekey", "after": {"kek": row.kek}})]


async def test_a_vault_without_its_key_takes_nothing_and_says_why(kept: Kept) -> None:
    await kept.vault.put("jira", VALUE)
    (kept.folder / "kek").unlink()
    put = await kept.api.ask("PUT", "/api/v1/secrets/wiki", body={"value": VALUE})
    rekey = await kept.api.ask("POST", "/api/v1/secrets/rekey")
    for found in (put, rekey):
        assert (found.status, found.json["code"]) == (409, "sealed")
        assert "restore it from a backup" in found.json["detail"]
    assert kept.parts.journal.events == []


async def test_secrets_come_in_pages(kept: Kept) -> None:
    for name in ("b", "a", "c"):
        await kept.vault.put(name, VALUE)
    first = (await kept.api.ask("GET", "/api/v1/secrets?limit=2")).json
    second = (await kept.api.ask("GET", f"/api/v1/secrets?limit=2&cursor={first['next']}")).json
    assert [row["name"] for row in (*first["secrets"], *second["secrets"])] == ["a", "b", "c"]
    assert second["next"] is None


async def test_a_row_of_another_time_is_shown_as_it_is(kept: Kept) -> None:
    row = await kept.vault.put("jira", VALUE)
    await kept.store.put((replace(row, sealed=b"damaged"),))
    desk = SecretDesk(kept.vault, kept.parts.journal, dict)
    assert desk.rows()[0]["used_by"] == []
    assert (await desk.put("local:admin", "jira", "anew"))["version"] == 2
