"""Servers registered over the admin API: in force at once, logged, undone when they cannot be, and without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.admin.operation import Refused
from hub.admin.paste.drafts import Rules
from hub.core.connections import EnteredClient, ServerAuth
from hub.core.ports import Conflict
from tests.admin.asking import CLIENT, READER
from tests.admin.registry_hub import RegistryHub

ENTRY = {"command": "npx", "args": ["-y", "wiki-mcp@1.0.0"], "env": {"WIKI_TOKEN": "canary-wiki-1", "MODE": "fast"}}
STORED = {**ENTRY, "env": {"WIKI_TOKEN": "secret:wiki.WIKI_TOKEN", "MODE": "fast"}}
V1 = "/api/v1/servers"
ROUTES = [
    ("POST", V1, {"id": "wiki", "entry": ENTRY}),
    ("GET", f"{V1}/time", None),
    ("PUT", f"{V1}/wiki", {"entry": ENTRY}),
    ("DELETE", f"{V1}/wiki", None),
    ("POST", f"{V1}/time/enable", None),
    ("POST", f"{V1}/time/disable", None),
    ("POST", f"{V1}/import", {"text": "{}"}),
    ("POST", f"{V1}/try", {"text": "{}"}),
]


@pytest.fixture
async def hub(tmp_path: Path) -> RegistryHub:
    return await RegistryHub(tmp_path).open()


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_administrators_touch_servers(hub: RegistryHub, method: str, path: str, body: Any) -> None:
    for who, status in ((None, 401), (CLIENT, 403), (READER, 403)):
        assert (await hub.api.ask(method, path, who, body)).status == status
    assert (hub.parts.journal.events, hub.live.rows(), hub.trials.seen) == ([], (), [])


@pytest.mark.parametrize("body", [None, [], {}, {"id": "wiki"}, {"id": "No", "entry": {}}, {"text": 1}, {"more": 1}])
async def test_malformed_bodies_are_refused(hub: RegistryHub, body: Any) -> None:
    for path in (V1, f"{V1}/import", f"{V1}/try"):
        assert (await hub.api.ask("POST", path, body=body)).status in (400, 415, 422)
    assert hub.parts.journal.events == []


async def test_a_server_is_registered_at_once_and_its_secret_is_sealed(hub: RegistryHub) -> None:
    made = await hub.api.ask("POST", V1, body={"id": "wiki", "entry": ENTRY})
    assert (made.status, made.headers["etag"]) == (201, '"1"')
    assert made.json["entry"] == STORED
    spec = hub.spec("wiki")
    assert spec is not None
    assert spec.env["WIKI_TOKEN"] == "canary-wiki-1"
    assert hub.installed[-1].servers[-1].id == "wiki"
    ((outcome, act, detail),) = hub.acts()
    assert (outcome, act, detail["before"], detail["after"]) == ("done", "servers.add", None, STORED)
    assert "canary" not in (await hub.everything_kept()).replace("canary-of-file", "")
    assert b"canary" not in made.body


async def test_what_is_shown_names_secrets_and_shows_none(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    found = await hub.api.ask("GET", f"{V1}/wiki")
    assert (found.json["version"], found.json["provenance"], found.headers["etag"]) == (1, "database", '"1"')
    assert found.json["secrets"] == [{"name": "wiki.WIKI_TOKEN", "stored": True}]
    of_file = await hub.api.ask("GET", f"{V1}/time")
    assert (of_file.json["entry"], of_file.json["env"], of_file.json["version"]) == (None, ["TOKEN"], None)
    assert b"canary" not in found.body + of_file.body
    assert (await hub.api.ask("GET", f"{V1}/nobody")).status == 404


@pytest.mark.parametrize(
    ("id", "entry", "status", "code"),
    [
        ("time", {"url": "https://a.example.com"}, 409, "exists"),
        ("a", {"command": "bash"}, 422, "invalid"),
        ("a", {"url": "ftp://x"}, 422, "invalid"),
        ("a", {"command": "npx", "args": ["x@1.0.0"], "env": {"API_KEY": ""}}, 422, "incomplete"),
        ("a", {"url": "https://a", "headers": {"X": "secret:nobody"}}, 422, "invalid"),
        ("a", {"url": "https://a", "pins": "sometimes"}, 422, "invalid"),
    ],
)
async def test_what_no_server_can_be_is_refused_in_words(
    hub: RegistryHub, id: str, entry: Any, status: int, code: str
) -> None:
    found = await hub.api.ask("POST", V1, body={"id": id, "entry": entry})
    assert (found.status, found.json["code"]) == (status, code)
    assert hub.live.rows() == ()
    assert hub.parts.journal.events == []


async def test_a_missing_value_is_named_and_can_be_given(hub: RegistryHub) -> None:
    entry = {"url": "https://a.example.com/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    asked = await hub.api.ask("POST", V1, body={"id": "a", "entry": entry})
    assert [need["name"] for need in asked.json["needs"]] == ["TOKEN"]
    made = await hub.api.ask("POST", V1, body={"id": "a", "entry": entry, "values": {"TOKEN": "canary-2"}})
    assert made.json["entry"]["headers"] == {"Authorization": "Bearer secret:a.Authorization"}
    spec = hub.spec("a")
    assert spec is not None
    assert spec.headers == {"Authorization": "Bearer canary-2"}


async def test_a_secret_that_a_program_takes_as_an_argument_reaches_only_it(hub: RegistryHub) -> None:
    entry = {"command": "npx", "args": ["x@1.0.0", "--api-key=canary-9-arg", "postgres://u:canary-9-pg@h/d"]}
    made = await hub.api.ask("POST", V1, body={"id": "a", "entry": entry})
    assert made.json["entry"]["args"] == ["x@1.0.0", "--api-key=secret:a.api-key", "secret:a.arg-3"]
    spec = hub.spec("a")
    assert spec is not None
    assert spec.command[1:] == ("x@1.0.0", "--api-key=canary-9-arg", "postgres://u:canary-9-pg@h/d")
    assert "canary-9" not in await hub.everything_kept()
    gone = await hub.api.ask("DELETE", f"{V1}/a", headers={"if-match": '"1"'})
    assert gone.json["secrets"] == ["a.api-key", "a.arg-3"]


async def test_two_admins_who_edit_one_entry_do_not_overwrite_each_other(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    body = {"entry": {"url": "https://new.example.com/mcp"}}
    assert (await hub.api.ask("PUT", f"{V1}/wiki", body=body)).status == 428
    first = await hub.api.ask("PUT", f"{V1}/wiki", body=body, headers={"if-match": '"1"'})
    second = await hub.api.ask("PUT", f"{V1}/wiki", body={"entry": ENTRY}, headers={"if-match": '"1"'})
    assert (first.status, first.json["version"], second.status) == (200, 2, 412)
    _, act, detail = hub.acts()[-1]
    assert (act, detail["before"], detail["after"]) == ("servers.replace", STORED, body["entry"])
    assert (await hub.api.ask("DELETE", f"{V1}/wiki", headers={"if-match": '"1"'})).status == 412
    assert hub.vault.names() == ()  # the new entry needs none


async def test_an_entry_that_is_edited_keeps_its_secrets_by_their_names(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    shown = hub.desk.show("wiki")["entry"]
    edited = {**shown, "env": {**shown["env"], "MODE": "slow"}}
    await hub.api.ask("PUT", f"{V1}/wiki", body={"entry": edited}, headers={"if-match": '"1"'})
    spec = hub.spec("wiki")
    assert spec is not None
    assert spec.env == {"WIKI_TOKEN": "canary-wiki-1", "MODE": "slow"}


async def test_a_removed_server_takes_its_own_secrets_along(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    other = {"url": "https://o.example.com", "headers": {"X": "secret:wiki.WIKI_TOKEN"}}
    await hub.desk.add("admin", "other", other, Rules(own=True))
    assert await hub.desk.remove("admin", "wiki", 1) == []
    assert hub.vault.names() == ("wiki.WIKI_TOKEN",)
    assert hub.spec("wiki") is None
    _, act, detail = hub.acts()[-1]
    assert (act, detail["before"], detail["after"]) == ("servers.remove", STORED, None)
    assert (await hub.api.ask("DELETE", f"{V1}/time", headers={"if-match": '"1"'})).json["code"] == "from_file"
    assert (await hub.api.ask("DELETE", f"{V1}/nobody", headers={"if-match": '"1"'})).status == 404


async def test_a_server_with_variants_stays_until_they_are_gone(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    await hub.desk.add("admin", "canary", {"url": "https://a", "variant_of": "wiki"}, Rules(own=True))
    found = await hub.api.ask("DELETE", f"{V1}/wiki", headers={"if-match": '"1"'})
    assert (found.status, found.json["code"]) == (409, "in_use")
    assert hub.spec("wiki") is not None


async def test_any_server_is_switched_off_and_on(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    for id in ("wiki", "time"):
        off = await hub.api.ask("POST", f"{V1}/{id}/disable")
        spec = hub.spec(id)
        assert (off.status, off.json["enabled"]) == (200, False)
        assert spec is not None
        assert not spec.enabled
        again = await hub.api.ask("POST", f"{V1}/{id}/disable")
        on = await hub.api.ask("POST", f"{V1}/{id}/enable")
        assert (again.status, on.json["enabled"]) == (200, True)
    assert [act for _, act, _ in hub.acts()][1:] == ["servers.disable", "servers.enable"] * 2
    assert (await hub.api.ask("POST", f"{V1}/nobody/enable")).status == 404


async def test_what_cannot_be_logged_is_undone(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    hub.parts.journal.broken = True
    changed = {**ENTRY, "env": {"WIKI_TOKEN": "canary-new", "MODE": "slow"}}
    assert (await hub.api.ask("POST", V1, body={"id": "b", "entry": {**ENTRY}})).status == 500
    put = await hub.api.ask("PUT", f"{V1}/wiki", body={"entry": changed}, headers={"if-match": '"1"'})
    assert put.status == 500
    assert (await hub.api.ask("POST", f"{V1}/time/enable")).status == 200
    assert hub.spec("b") is None
    assert hub.vault.names() == ("wiki.WIKI_TOKEN",)
    spec = hub.spec("wiki")
    assert spec is not None
    assert dict(spec.env) == ENTRY["env"]


async def test_what_the_vault_refuses_leaves_nothing_behind(hub: RegistryHub) -> None:
    entry = {"url": "https://a", "headers": {"X-API-Key": "k\0k"}}
    assert (await hub.api.ask("POST", V1, body={"id": "a", "entry": entry})).status == 422
    two = {"command": "npx", "args": ["x@1.0.0"], "env": {"A_TOKEN": "canary-a", "B_TOKEN": "b" * 20_000}}
    assert (await hub.api.ask("POST", V1, body={"id": "a", "entry": two})).status == 422
    assert (hub.vault.names(), hub.live.rows()) == ((), ())


async def test_the_secret_of_an_app_is_sealed_and_shown_to_nobody(hub: RegistryHub) -> None:
    auth = {"account": "shared", "client": {"id": "hub", "secret": "canary-of-the-app"}}
    entry = {"url": "https://wiki.example.com/mcp", "auth": auth}
    made = await hub.api.ask("POST", V1, body={"id": "wiki", "entry": entry})
    sealed = {**entry, "auth": {**auth, "client": {"id": "hub", "secret": "secret:wiki.client-secret"}}}
    assert (made.status, made.json["entry"]) == (201, sealed)
    assert made.json["secrets"] == [{"name": "wiki.client-secret", "stored": True}]
    spec = hub.spec("wiki")
    assert spec is not None
    assert spec.auth == ServerAuth("shared", client=EnteredClient("hub", "canary-of-the-app", "client_secret_basic"))
    shown = await hub.api.ask("GET", f"{V1}/wiki")
    tried = await hub.api.ask("POST", f"{V1}/try", body={"text": json.dumps({"wiki2": entry})})
    wrong = {**entry, "auth": {"client": {"secret": "canary-two"}, "acount": 1}}
    refused = await hub.api.ask("PUT", f"{V1}/wiki", body={"entry": wrong}, headers={"If-Match": '"1"'})
    assert (refused.status, hub.vault.get("wiki.client-secret")) == (422, "canary-of-the-app")
    for found in (made, shown, tried, refused):
        assert b"canary" not in found.body
    assert "canary" not in (await hub.everything_kept()).replace("canary-of-file", "")
    assert "canary" not in f"{spec!r}"
    gone = await hub.api.ask("DELETE", f"{V1}/wiki", headers={"If-Match": shown.headers["etag"]})
    assert (gone.status, hub.vault.names()) == (200, ())


def many(count: int) -> dict[str, Any]:
    return {
        f"server-{n}": {"url": f"https://s{n}.example.com/mcp", "headers": {"X-Key": f"canary-{n}"}}
        for n in range(count)
    }


async def test_an_import_of_200_takes_195_reports_5_and_changes_nothing_when_run_again(hub: RegistryHub) -> None:
    servers = many(200)
    servers["server-3"] = {"command": "sh", "args": ["-c", "x"]}
    servers["server-50"] = {}
    servers["server-77"] = {"url": "not a url"}
    servers["server-120"] = {"url": "https://a", "headersHelper": "x"}
    servers["server-199"] = {"url": "https://a", "headers": {"Authorization": "Bearer YOUR_TOKEN"}}
    body = {"text": json.dumps({"mcpServers": servers})}
    first = await hub.api.ask("POST", f"{V1}/import", body=body)
    assert (first.json["taken"], first.json["refused"]) == (195, 5)
    wrong = {row["id"]: row["problem"] for row in first.json["servers"] if row["outcome"] in ("refused", "incomplete")}
    assert sorted(wrong) == ["server-120", "server-199", "server-3", "server-50", "server-77"]
    assert all(wrong.values())
    rows, acts, secrets = hub.live.rows(), len(hub.acts()), hub.vault.rows()
    assert (len(rows), acts, len(secrets)) == (195, 195, 195)
    second = await hub.api.ask("POST", f"{V1}/import", body=body)
    assert (second.json["taken"], second.json["refused"]) == (195, 5)
    assert {row["outcome"] for row in second.json["servers"]} == {"unchanged", "refused", "incomplete"}
    assert (hub.live.rows(), len(hub.acts()), hub.vault.rows()) == (rows, acts, secrets)
    assert "canary" not in (await hub.everything_kept()).replace("canary-of-file", "")
    assert b"canary" not in first.body + second.body


async def taken(hub: RegistryHub, servers: Any, **more: Any) -> list[tuple[str, str]]:
    found = await hub.api.ask("POST", f"{V1}/import", body={"text": json.dumps({"mcpServers": servers}), **more})
    return [(row["outcome"], row["problem"] or "") for row in found.json["servers"]]


async def test_an_import_replaces_only_when_told_to(hub: RegistryHub) -> None:
    await hub.desk.add("admin", "wiki", ENTRY, Rules(own=True))
    other = {"wiki": {"url": "https://other.example.com/mcp"}}
    assert (await taken(hub, other))[0][0] == "refused"
    assert (await taken(hub, other, check=True, replace=True))[0][0] == "replaced"
    assert hub.live.rows()[0].version == 1
    assert (await taken(hub, other, replace=True))[0][0] == "replaced"
    assert (await taken(hub, other))[0][0] == "unchanged"
    assert "configuration file has a server" in (await taken(hub, {"time": {"url": "https://a"}}))[0][1]


async def test_another_value_of_a_secret_is_a_change(hub: RegistryHub) -> None:
    assert (await taken(hub, {"wiki": ENTRY}))[0][0] == "added"
    assert (await taken(hub, {"wiki": ENTRY}))[0][0] == "unchanged"
    other = {**ENTRY, "env": {**ENTRY["env"], "WIKI_TOKEN": "canary-rotated"}}  # type: ignore[dict-item]
    assert (await taken(hub, {"wiki": other}))[0][0] == "refused"
    assert (await taken(hub, {"wiki": other}, replace=True))[0][0] == "replaced"
    spec = hub.spec("wiki")
    assert spec is not None
    assert spec.env["WIKI_TOKEN"] == "canary-rotated"
    assert "canary-rotated" not in await hub.everything_kept()


async def test_a_disabled_server_stays_disabled_when_its_paste_is_imported_again(hub: RegistryHub) -> None:
    await taken(hub, {"wiki": ENTRY})
    await hub.api.ask("POST", f"{V1}/wiki/disable")
    assert (await taken(hub, {"wiki": ENTRY}))[0][0] == "unchanged"
    assert hub.desk.show("wiki")["enabled"] is False


async def test_half_a_paste_is_refused_by_line_and_column(hub: RegistryHub) -> None:
    found = await hub.api.ask("POST", f"{V1}/import", body={"text": '{"mcpServers": {"a": '})
    assert (found.status, found.json["code"]) == (422, "unreadable")
    assert "line 1, column 22" in found.json["detail"]


async def test_a_variant_comes_after_the_server_it_is_one_of(hub: RegistryHub) -> None:
    servers = {"a-canary": {"url": "https://b", "variant_of": "base"}, "base": {"url": "https://a"}}
    assert [outcome for outcome, _ in await taken(hub, servers)] == ["added", "added"]


async def test_a_change_at_the_same_time_is_one_refused_server(
    hub: RegistryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*args: Any) -> Any:
        raise Conflict("x")

    monkeypatch.setattr(hub.live, "put_server", late)
    assert (await taken(hub, {"wiki": ENTRY}))[0] == (
        "refused",
        "somebody changed it at the same time; import it again",
    )
    assert hub.vault.names() == ()


async def test_a_name_that_is_no_id_is_not_taken_for_another(hub: RegistryHub) -> None:
    with pytest.raises(Refused, match="write 'my-wiki'"):
        await hub.desk.add("admin", "My Wiki", {"url": "https://a"}, Rules(own=True))
