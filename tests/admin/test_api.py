"""The admin API as its callers meet it: who is let in, what is told, what is logged."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hub.admin import checks
from hub.core.call import Grants, Principal
from tests.admin.asking import ADMIN, CLIENT, NARROW, READER, Api
from tests.admin.fakes import FakeLog, Parts, changed, health

ROUTES = [
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/servers"),
    ("POST", "/api/v1/servers/time/test"),
    ("GET", "/api/v1/servers/time/diff"),
    ("POST", "/api/v1/servers/time/approve"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/ci"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/audit/c1"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_asks_who_calls_and_refuses_who_may_not(method: str, path: str) -> None:
    parts = Parts()
    nobody = await Api(parts.ports()).ask(method, path, None, {})
    assert (nobody.status, nobody.json["code"]) == (401, "unauthenticated")
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    for who in (CLIENT, NARROW):
        refused = await Api(parts.ports()).ask(method, path, who, {})
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert refused.headers["content-type"] == "application/problem+json"
    reader = await Api(parts.ports()).ask(method, path, READER, {})
    assert (reader.status == 403) is ("/audit" not in path)
    assert parts.journal.events == []
    assert parts.keys.rows() == ()


async def test_a_principal_that_is_none_is_no_principal() -> None:
    forged: Any = {"name": "local:admin", "scopes": ["admin"]}
    assert (await Api(Parts().ports()).ask("GET", "/api/v1/keys", forged)).status == 401


async def test_health_and_readiness_are_open_and_tell_no_server() -> None:
    parts = Parts()
    parts.pool.states["time"] = health("time", "down")
    found = await Api(parts.ports()).ask("GET", "/health", None)
    assert (found.status, found.json) == (200, {"status": "ok", "version": "1.2.3"})
    assert (await Api(parts.ports()).ask("GET", "/ready", None)).status == 200
    parts.ready = False
    found = await Api(parts.ports()).ask("GET", "/ready", None)
    assert (found.status, found.json) == (503, {"ready": False})


@pytest.mark.parametrize(
    ("who", "open_", "status"),
    [(None, True, 200), (None, False, 401), (ADMIN, False, 200), (READER, False, 200), (CLIENT, False, 200)],
)
async def test_metrics_are_told_to_who_may_see_all(who: Principal | None, open_: bool, status: int) -> None:
    found = await Api(Parts().ports(metrics_open=open_)).ask("GET", "/metrics", who)
    assert found.status == status
    assert (found.body == b"mcp_up 1\n") is (status == 200)


@pytest.mark.parametrize(
    "grants", [Grants(), Grants(frozenset({"time"})), Grants(frozenset({"*"}), ("x*",)), Grants(None, ("*",))]
)
async def test_a_key_that_sees_some_servers_reads_no_metrics_of_all(grants: Grants) -> None:
    key = Principal("local", "key:k", "key:3", frozenset({"mcp"}), grants)
    assert (await Api(Parts().ports(metrics_open=False)).ask("GET", "/metrics", key)).status == 403


async def test_unknown_paths_and_methods_answer_in_words() -> None:
    found = await Api(Parts().ports()).ask("GET", "/api/v2/x")
    assert (found.status, found.json["code"]) == (404, "not_found")
    found = await Api(Parts().ports()).ask("PUT", "/api/v1/keys")
    assert (found.status, found.json["code"]) == (405, "wrong_method")
    assert "allow" in found.headers


async def test_the_status_counts_servers_by_state() -> None:
    parts = Parts()
    parts.pool.states = {"time": health("time"), "wiki": health("wiki", "needs_login")}
    found = await Api(parts.ports(status=lambda: {"url": "http://h/mcp"})).ask("GET", "/api/v1/status")
    assert found.json == {
        "version": "1.2.3",
        "started_at": "2026-01-01T00:00:00Z",
        "ready": True,
        "servers": {"ready": 1, "needs_login": 1, "disabled": 3},
        "url": "http://h/mcp",
    }


async def test_servers_are_listed_without_their_secrets() -> None:
    parts = Parts()
    parts.pool.states = {"time": health("time"), "wiki": health("wiki", "down", failures=3, retry_in_s=2.5)}
    parts.catalogue.changes = (changed("time", "now"),)
    found = await Api(parts.ports()).ask("GET", "/api/v1/servers")
    rows = {row["id"]: row for row in found.json["servers"]}
    assert list(rows) == ["old", "sandbox", "time", "time-canary", "wiki"]
    assert (rows["time"]["state"], rows["time"]["era"], rows["time"]["waiting"]) == ("ready", "modern", 1)
    assert (rows["time"]["quarantined"], rows["time"]["items"]) == (1, {"tool": 2, "prompt": 0})
    assert (rows["wiki"]["reason"], rows["wiki"]["failures"], rows["wiki"]["retry_in_s"]) == ("down: look", 3, 2.5)
    assert rows["wiki"]["target"] == "https://u.example.com:8443/mcp"
    assert rows["time"]["target"] == "/usr/bin/uvx"
    assert (rows["sandbox"]["target"], rows["old"]["state"]) == ("sandbox", "disabled")
    assert rows["time-canary"]["variant_of"] == "time"
    assert b"s3cret" not in found.body


async def test_a_server_is_tested_now_and_tells_why_it_fails() -> None:
    parts = Parts()
    parts.pool.states["time"] = health("time", "down", noise={"garbage": 2}, stderr=("boom",))
    found = await Api(parts.ports()).ask("POST", "/api/v1/servers/time/test")
    assert parts.pool.probed == [("time", 45.0)]
    assert (found.json["ok"], found.json["noise"], found.json["stderr"]) == (False, {"garbage": 2}, ["boom"])
    assert found.json["problems"] == [{"kind": "tool", "item": "bad", "text": "inputSchema is no object"}]


async def test_a_disabled_server_is_not_connected_for_a_test() -> None:
    parts = Parts()
    found = await Api(parts.ports()).ask("POST", "/api/v1/servers/old/test")
    assert (found.json["ok"], found.json["state"], parts.pool.probed) == (False, "disabled", [])


@pytest.mark.parametrize(("method", "act"), [("POST", "test"), ("GET", "diff"), ("POST", "approve")])
async def test_a_server_that_does_not_exist_is_not_found(method: str, act: str) -> None:
    found = await Api(Parts().ports()).ask(method, f"/api/v1/servers/nope/{act}", body={})
    assert (found.status, found.json["detail"]) == (404, "no server is called 'nope'; see mcp-hub servers list")


async def test_a_difference_shows_both_definitions() -> None:
    parts = Parts()
    parts.catalogue.changes = (changed("time", "now"), changed("wiki", "find"))
    found = await Api(parts.ports()).ask("GET", "/api/v1/servers/time/diff")
    [change] = found.json["changes"]
    assert (change["item"], change["old"], change["new"]["v"]) == ("time__now", {"name": "now"}, 2)


async def test_an_approval_is_logged_before_it_is_done() -> None:
    parts = Parts()
    parts.catalogue.changes = (changed("time", "now"), changed("time", "zone"))
    found = await Api(parts.ports()).ask("POST", "/api/v1/servers/time/approve", body={"items": ["time__now"]})
    assert found.json == {"approved": ["time__now"]}
    after = [{"kind": "tool", "item": "time__now", "sha256": "a" * 64}]
    detail = {"act": "servers.approve", "server": "time", "after": after}
    assert parts.journal.events == [("admin", "local:admin", "done", detail)]
    assert [change.native for change in parts.catalogue.changes] == ["zone"]


async def test_an_approval_that_cannot_be_logged_is_not_done() -> None:
    parts = Parts()
    parts.catalogue.changes = (changed("time", "now"),)
    parts.journal.broken = True
    found = await Api(parts.ports()).ask("POST", "/api/v1/servers/time/approve", body={})
    assert (found.status, found.json["code"]) == (500, "internal")
    assert b"s3cret" not in found.body
    assert len(parts.catalogue.changes) == 1


async def test_an_approval_that_fails_is_logged_as_failed() -> None:
    parts = Parts()
    parts.catalogue = type(parts.catalogue)((changed("time", "now"),), broken=True)
    assert (await Api(parts.ports()).ask("POST", "/api/v1/servers/time/approve", body={})).status == 500
    assert [outcome for _, _, outcome, _ in parts.journal.events] == ["done", "error"]


@pytest.mark.parametrize("body", [{}, {"items": ["gone"]}, {"seen": ["b" * 64]}])
async def test_what_was_swapped_or_never_waited_is_not_approved(body: dict[str, Any]) -> None:
    parts = Parts()
    if body:
        parts.catalogue.changes = (changed("time", "now"),)
    found = await Api(parts.ports()).ask("POST", "/api/v1/servers/time/approve", body=body)
    assert (found.status, found.json["code"]) == (409, "nothing_waits")
    assert parts.journal.events == []


async def test_a_key_is_made_listed_and_revoked_and_each_act_is_logged() -> None:
    parts = Parts()
    api_ = Api(parts.ports())
    wish = {"name": "ci", "servers": ["time", "nowhere"], "expires": "30d"}
    made = (await api_.ask("POST", "/api/v1/keys", body=wish)).json
    assert made["key"].startswith("mhk_")
    assert made["scopes"] == ["mcp"]
    assert made["warnings"] == ["no server is called 'nowhere'"]
    listed = await api_.ask("GET", "/api/v1/keys")
    [row] = listed.json["keys"]
    assert (row["id"], row["state"], row["expires_at"]) == (made["id"], "live", made["expires_at"])
    assert "key" not in row
    assert "sha256" not in row
    gone = await api_.ask("DELETE", f"/api/v1/keys/{made['id']}")
    assert gone.json["revoked_at"]
    assert (await api_.ask("GET", "/api/v1/keys")).json["keys"][0]["state"] == "revoked"
    acts = [(who, outcome, detail["act"]) for _, who, outcome, detail in parts.journal.events]
    assert acts == [("local:admin", "done", "keys.create"), ("local:admin", "done", "keys.revoke")]
    assert parts.journal.events[1][3]["before"]["revoked_at"] is None
    assert made["key"] not in str(parts.journal.events)


async def test_a_key_that_cannot_be_logged_is_worthless() -> None:
    parts = Parts()
    parts.journal.broken = True
    assert (await Api(parts.ports()).ask("POST", "/api/v1/keys", body={"name": "ci"})).status == 500
    [row] = parts.keys.rows()
    assert row.revoked_at is not None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "the body: needs 'name'"),
        ({"name": 1}, 'body /name: this is not of type "string"'),
        ({"name": "no blanks"}, "body /name: is not written as it must be (wanted: letters, digits, '.'"),
        ({"name": "x", "scopes": ["root"]}, 'body /scopes/0: this is not one of "admin", "audit:read" or "mcp"'),
        ({"name": "x", "scopes": "mcp"}, "body /scopes: this is not of type"),
        ({"name": "x", "servers": []}, "body /servers: this has less than 1 item"),
        ({"name": "x", "tools": [1]}, "body /tools/0: this is not of type"),
        ({"name": "x", "expires": 30}, "body /expires: this is not of type"),
        ({"name": "x", "expires": "soon"}, "(wanted: such as 30d, 12h or 90m)"),
        ({"name": "x", "admin": True}, "the body: takes no 'admin'"),
    ],
)
async def test_a_key_that_may_not_be_is_refused_in_words(body: dict[str, Any], words: str) -> None:
    parts = Parts()
    found = await Api(parts.ports()).ask("POST", "/api/v1/keys", body=body)
    assert (found.status, found.json["code"]) == (422, "invalid")
    assert words in found.json["detail"]
    assert parts.keys.rows() == ()


async def test_a_key_that_does_not_exist_cannot_be_revoked() -> None:
    found = await Api(Parts().ports()).ask("DELETE", "/api/v1/keys/nope")
    assert (found.status, found.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        ([{"type": "http.request", "body": b"{"}], 400),
        ([{"type": "http.request", "body": b"[]"}], 422),
        ([{"type": "http.request", "body": b'{"name": NaN}'}], 400),
        ([{"type": "http.request", "body": b"x" * 40_000, "more_body": True}] * 2, 413),
        ([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}], 400),
    ],
)
async def test_a_body_that_is_no_object_within_bounds_is_refused(chunks: list[Any], status: int) -> None:
    assert (await Api(Parts().ports()).ask("POST", "/api/v1/keys", chunks=chunks)).status == status


async def test_a_list_of_names_holds_names() -> None:
    found = await Api(Parts().ports()).ask("POST", "/api/v1/servers/time/approve", body={"items": [1]})
    assert (found.status, found.json["detail"]) == (422, 'body /items/0: this is not of type "string"')


def log_of(count: int) -> FakeLog:
    return FakeLog([{"seq": seq, "call": f"c{seq}"} for seq in range(1, count + 1)])


async def test_the_log_is_read_from_its_end_or_from_a_place() -> None:
    found = Api(Parts(log=log_of(5)).ports())
    assert [e["seq"] for e in (await found.ask("GET", "/api/v1/audit?limit=2", READER)).json["entries"]] == [4, 5]
    page = await found.ask("GET", "/api/v1/audit?after=1&limit=2", READER)
    assert [entry["seq"] for entry in page.json["entries"]] == [2, 3]
    assert (await found.ask("GET", "/api/v1/audit/c3", READER)).json["entries"] == [{"seq": 3, "call": "c3"}]
    assert (await found.ask("GET", "/api/v1/audit/c9", READER)).status == 404


async def test_no_request_reads_the_whole_log() -> None:
    found = Api(Parts(log=log_of(1200)).ports())
    assert len((await found.ask("GET", "/api/v1/audit?limit=1000", READER)).json["entries"]) == 1000
    assert (await found.ask("GET", "/api/v1/audit?limit=1001", READER)).status == 422


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "after=1.5", "limit=1234567890123456", "after=%C2%B2", "limit="]
)
async def test_a_number_that_is_none_is_refused(query: str) -> None:
    assert (await Api(Parts().ports()).ask("GET", f"/api/v1/audit?{query}")).status == 422


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive() -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(checks, "BODY_S", 0.05)
    assert (await Api(Parts().ports()).ask_with(receive, "POST", "/api/v1/keys")).status == 408
