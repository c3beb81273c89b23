"""The endpoints that programs use."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from hub.edge.oauth import is_ours
from hub.identity.oauth.asked import Reply
from tests.edge.oauth.place import BASE, Place

FORM = {"content-type": "application/x-www-form-urlencoded"}
PRM = "/.well-known/oauth-protected-resource"


def http(place: Place, base: str = BASE) -> httpx2.AsyncClient:
    return place.browser(base).http


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (PRM, f"{BASE}/mcp"),
        (f"{PRM}/mcp", f"{BASE}/mcp"),
        (f"{PRM}/team/mcp", f"{BASE}/team/mcp"),
        (f"{PRM}/api/v1", f"{BASE}/api/v1"),
    ],
)
async def test_metadata_of_each_resource_stands_at_its_root_and_at_its_path(path: str, resource: str) -> None:
    answer = await http(Place()).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (answer.json()["resource"], answer.json()["authorization_servers"]) == (resource, [BASE])


@pytest.mark.parametrize("host", ["evil.example", "hub.example.evil.example", "hub.example@evil.example", "", "a b"])
async def test_metadata_names_configured_addresses_whatever_host_says(host: str) -> None:
    """Starlette CVE-2026-48710: `Host` must not reach an address that is answered."""
    for path in (PRM, f"{PRM}/mcp", "/.well-known/oauth-authorization-server"):
        answer = await http(Place()).get(path, headers={"host": host})
        assert answer.status_code == 200
        assert "evil" not in answer.text


async def test_metadata_names_the_configured_address_that_was_called() -> None:
    answer = await http(Place(), "https://hub.internal:8443").get(f"{PRM}/mcp")
    assert answer.json()["resource"] == "https://hub.internal:8443/mcp"


@pytest.mark.parametrize("path", [f"{PRM}/none/mcp", f"{PRM}/x", f"{PRM}/team", f"{PRM}//evil.example/mcp"])
async def test_metadata_of_what_is_not_there_is_a_404_for_programs(path: str) -> None:
    answer = await http(Place()).get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("suffix", ["", "/mcp", "/team/mcp"])
@pytest.mark.parametrize("name", ["oauth-authorization-server", "openid-configuration"])
async def test_the_servers_metadata_is_found_wherever_clients_look(name: str, suffix: str) -> None:
    answer = await http(Place()).get(f"/.well-known/{name}{suffix}")
    assert answer.status_code == 200
    assert answer.json()["issuer"] == BASE
    assert (await http(Place()).get(f"/.well-known/{name}/none/mcp")).status_code == 404


@pytest.mark.parametrize("kind", ["token", "revoke", "introspect"])
async def test_a_form_is_passed_on_in_order_with_what_came_twice(kind: str) -> None:
    place = Place()
    answer = await http(place).post(
        f"/oauth/{kind}", content=b"a=1&b=%C3%BC+x&a=2&c=", headers={**FORM, "authorization": "Basic eDp5"}
    )
    assert answer.status_code == 200
    assert place.server.forms == [(kind, [("a", "1"), ("b", "ü x"), ("a", "2"), ("c", "")], "Basic eDp5")]
    assert answer.headers["cache-control"] == "no-store"
    assert ("access-control-allow-origin" in answer.headers) == (kind != "introspect")


async def test_the_servers_own_status_and_headers_are_answered_once_each() -> None:
    place = Place()
    place.server.reply = Reply(
        401,
        {"error": "invalid_client"},
        {"WWW-Authenticate": "Basic", "Content-Type": "application/json", "cache-control": "no-store"},
    )
    answer = await http(place).post("/oauth/token", content=b"a=1", headers=FORM)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})
    names = [name.lower() for name, _ in answer.headers.multi_items()]
    assert len(names) == len(set(names))
    assert answer.headers["www-authenticate"] == "Basic"


async def test_an_answer_without_a_body_has_none() -> None:
    place = Place()
    place.server.reply = Reply(200, None)
    answer = await http(place).post("/oauth/revoke", content=b"token=x", headers=FORM)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("status", "kwargs"),
    [
        (415, {"json": {"grant_type": "x"}}),
        (413, {"content": b"a=" + b"x" * 66_000, "headers": FORM}),
        (400, {"content": b"a=%ff", "headers": FORM}),
        (400, {"content": b"&".join(b"a%d=1" % n for n in range(65)), "headers": FORM}),
    ],
)
async def test_what_is_no_form_is_refused_in_the_words_of_oauth(status: int, kwargs: dict[str, Any]) -> None:
    place = Place()
    answer = await http(place).post("/oauth/token", **kwargs)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert place.server.forms == []


async def test_a_registration_is_passed_on_as_it_came_with_its_address() -> None:
    place = Place()
    place.server.reply = Reply(201, {"client_id": "c-1"})
    body = json.dumps({"redirect_uris": ["http://127.0.0.1/cb"]}).encode()
    answer = await http(place).post("/oauth/register", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (201, {"client_id": "c-1"})
    assert place.server.registered == [(body, "192.0.2.7")]
    typed = await http(place).post("/oauth/register", content=body, headers=FORM)
    assert (typed.status_code, typed.json()["error"]) == (415, "invalid_client_metadata")
    large = await http(place).post(
        "/oauth/register", content=b"x" * 66_000, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert (large.status_code, large.json()["error"]) == (413, "invalid_client_metadata")
    assert len(place.server.registered) == 1


@pytest.mark.parametrize("path", [PRM, f"{PRM}/mcp", "/oauth/jwks", "/oauth/token", "/oauth/register", "/oauth/revoke"])
async def test_a_page_of_any_origin_may_ask_first(path: str) -> None:
    answer = await http(Place()).options(path, headers={"origin": "https://inspector.example"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "authorization" in answer.headers["access-control-allow-headers"]


async def test_a_failure_is_a_server_error_and_shows_nothing_of_itself() -> None:
    place = Place()
    place.server.failure = RuntimeError("s3cret")
    answer = await http(place).post("/oauth/token", content=b"a=1", headers=FORM)
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/register", "/oauth/introspect"])
async def test_the_wrong_method_is_told_as_programs_read(path: str) -> None:
    answer = await http(Place()).get(path)
    assert (answer.status_code, answer.json()["error"]) == (405, "invalid_request")
    assert "POST" in answer.headers["allow"]


async def test_the_stylesheet_is_kept_by_its_version() -> None:
    place = Place()
    source = (await place.browser().get("/oauth/welcome")).source
    address = source.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = await http(place).get(address)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert (await http(place).get("/oauth/style.css?v=old")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/oauth/login", True),
        (PRM, True),
        (f"{PRM}/mcp", True),
        ("/.well-known/openid-configuration", True),
        ("/oauth", False),
        ("/mcp", False),
        ("/api/v1/keys", False),
        ("/oauth/mcp", False),
        ("/oauth/sse", False),
        ("/oauth/messages", False),
    ],
)
def test_which_paths_are_the_login_pages(path: str, ours: bool) -> None:
    assert is_ours(path) is ours
