"""A hub with logins under attack: whose token opens what, and what strangers, members and foreign pages get."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hub_process import Hub, raw_server
from tests.e2e.login_place import LoginPlace, Person, made_user, person, tokens_of
from tests.e2e.raw_http import Http, raw_exchange

METADATA = "/.well-known/oauth-protected-resource"
OURS = (
    "/oauth/authorize",
    "/oauth/login",
    "/oauth/jwks",
    "/oauth/style.css",
    METADATA,
    f"{METADATA}/team/mcp",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)
AT_ONCE = 50


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    config = {
        "mcpServers": {"raw": raw_server("legacy"), "other": raw_server("modern")},
        "endpoints": {"/team/mcp": {"servers": ["raw"]}},
        "auth": {"roles": {"reader": {"servers": ["raw"], "tools": ["raw__echo"]}}},
    }
    place = LoginPlace(tmp_path_factory.mktemp("attacks"), config)
    with Hub(place) as running:
        for name, role in (("ada", "member"), ("root", "admin"), ("log", "auditor"), ("rex", "reader")):
            made_user(running, name, role)
        running.wait_for("raw__echo", "other__echo")
        yield running


@pytest.fixture
def ada(hub: Hub) -> Iterator[Person]:
    with person(hub, "ada") as found:
        yield found


@pytest.fixture
def root(hub: Hub) -> Iterator[Person]:
    with person(hub, "root") as found:
        yield found


NOBODY: Final = (401, 429)  # the second once this address has failed too often, which a fast machine decides


def admin_address(found: Person) -> str:
    return f"{found.base}/api/v1"


# 1 and 3: whose token opens what


def test_check_1_no_route_of_the_hub_opens_without_a_token_beside_health_metadata_and_login(hub: Hub) -> None:
    described = hub.admin.request("GET", "/api/v1/openapi.json").json["paths"]
    assert len(described) > 20
    nobody = Http(hub.port, None)
    for path, verbs in described.items():
        filled = path.replace("{", "").replace("}", "")
        for verb in verbs:
            if filled not in ("/health", "/ready", "/metrics") and verb in ("get", "post", "put", "patch", "delete"):
                assert nobody.request(verb.upper(), filled).status == 401, (verb, path)
    for path in ("/mcp", "/team/mcp", "/sse", "/messages", "/team/sse", "/nowhere/mcp", "/", "/api", "/docs", "/oauth"):
        for verb in ("GET", "POST", "DELETE", "PUT"):
            assert nobody.request(verb, path).status == 401, (verb, path)


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/../api/v1/users",
        "/oauth/%2e%2e/api/v1/users",
        "/oauth//api/v1/users",
        "/oauth/..%2fapi/v1/users",
        "//api/v1/users",
        "/oauth/mcp",
        "/oauth/sse",
        "/.well-known/oauth-protected-resource/../../api/v1/users",
        "/.well-known/oauth-authorization-server/api/v1/users",
        "/oauth/login/../../mcp",
    ],
)
def test_badhost_no_way_of_writing_a_path_gets_round_the_token(hub: Hub, path: str) -> None:
    answer = Http(hub.port, None).request("GET", path)
    assert answer.status in (401, 404)
    assert b"ada" not in answer.body


def test_check_3_a_token_for_one_endpoint_opens_no_other_and_not_the_admin_api(hub: Hub, root: Person) -> None:
    team = root.at(root.log_in(resource=root.address("team")))
    assert team.call("raw__echo", {"text": "in"}, endpoint="/team").text == "echo: in"
    for endpoint in ("", "/nowhere"):
        assert team.modern("tools/list", endpoint=endpoint).status == 401
    assert team.request("GET", "/sse").status == 401
    assert team.request("GET", "/api/v1/users").status == 401
    assert team.request("POST", "/api/v1/servers", {"id": "x", "command": "true"}).status == 401
    assert team.call("raw__echo", {"text": "still"}, endpoint="/team").text == "echo: still"


def test_check_3_a_token_of_the_admin_api_opens_the_admin_api_alone(hub: Hub, root: Person) -> None:
    admin = root.at(root.log_in(resource=admin_address(root), scope="admin"))
    assert admin.request("GET", "/api/v1/users").status == 200
    assert admin.modern("tools/list").status == 401
    assert admin.modern("tools/list", endpoint="/team").status == 401


def test_check_2_a_token_that_was_altered_anywhere_opens_nothing(hub: Hub, ada: Person) -> None:
    tokens = ada.log_in()
    head, claims, signature = tokens.access.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    for change in ({"aud": f"{ada.base}/team/mcp"}, {"exp": 9_999_999_999}, {"scope": "mcp admin"}, {"sub": "u0"}):
        forged = base64.urlsafe_b64encode(json.dumps({**said, **change}).encode()).decode().rstrip("=")
        assert Http(hub.port, f"{head}.{forged}.{signature}").modern("tools/list").status in (401, 429)
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    assert Http(hub.port, f"{none}.{claims}.").modern("tools/list").status in (401, 429)
    assert ada.at(tokens).modern("tools/list").status == 200


@pytest.mark.parametrize("token", ["' OR '1'='1", "x'; DROP TABLE grants; --", '" OR ""="', "mhr_' UNION SELECT 1--"])
def test_litellm_cve_2026_42208_quotes_in_a_token_are_no_query(hub: Hub, ada: Person, token: str) -> None:
    tokens = ada.log_in()
    assert Http(hub.port, token).modern("tools/list").status in (401, 429)
    assert ada.refresh(token).status_code == 400
    assert ada.token(grant_type="authorization_code", code=token, code_verifier="v" * 43).status_code == 400
    assert ada.http.post("/oauth/revoke", data={"client_id": ada.client, "token": token}).status_code == 200
    assert ada.at(tokens).modern("tools/list").status == 200
    assert ada.refresh(tokens.refresh).status_code == 200


# 5 and 6: what a reach hides is not called either


def test_checks_5_and_6_a_role_shows_and_calls_what_it_names_and_nothing_else(hub: Hub, ada: Person) -> None:
    with person(hub, "rex") as rex:
        mine, theirs = rex.at(rex.log_in()), ada.at(ada.log_in())
        listed = mine.modern("tools/list").result
        assert [tool["name"] for tool in listed["tools"]] == ["raw__echo"]
        assert listed["cacheScope"] == "private"
        others = hub.tools(theirs)
        assert {"raw__slow", "other__echo"} <= set(others)
        assert hub.tools(mine) == ["raw__echo"]  # whoever asked in between
        assert mine.call("raw__echo", {"text": "x"}).text == "echo: x"
        hidden, absent = mine.call("raw__slow", {"ms": 1}), mine.call("raw__nothing")
        assert hidden.error["code"] == absent.error["code"] == -32602
        assert hidden.error["message"].replace("raw__slow", "") == absent.error["message"].replace("raw__nothing", "")
        assert mine.call("other__echo", {"text": "x"}).error["code"] == -32602


def test_check_5_scopes_narrow_what_the_role_allows_and_never_widen_it(hub: Hub) -> None:
    with person(hub, "rex") as rex:
        assert hub.tools(rex.at(rex.log_in(scope="mcp:server:other"))) == []
        assert hub.tools(rex.at(rex.log_in(scope="mcp:tool:*"))) == ["raw__echo"]
        assert hub.tools(rex.at(rex.log_in(scope="mcp:server:raw mcp:tool:raw__slow"))) == []
        assert rex.at(rex.log_in(scope="mcp:tool:*")).call("raw__echo", {"text": 1}).result["isError"]


# LiteLLM's chain: a member becomes an administrator, and an administrator's words become a process


def test_litellm_chain_a_member_gets_no_admin_scope_at_authorize(hub: Hub, ada: Person) -> None:
    told, _ = ada.told(scope="admin")
    assert told["error"] == "access_denied"
    assert "code" not in told
    told, _ = ada.told(resource=admin_address(ada))  # which stands for admin
    assert told["error"] == "access_denied"
    assert ada.log_in(scope="mcp admin audit:read").scope == "mcp"


def test_litellm_chain_a_member_gets_no_admin_scope_by_asking_again(hub: Hub, ada: Person) -> None:
    tokens = ada.log_in(scope="mcp mcp:server:raw admin")
    for scope in ("admin", "mcp admin", "mcp:server:raw admin", "audit:read", "mcp:admin", "MCP ADMIN"):
        answer = ada.refresh(tokens.refresh, scope=scope)
        assert answer.status_code == 400, scope
        assert answer.json()["error"] == "invalid_scope"
    assert tokens_of(ada.refresh(tokens.refresh)).scope.split() == tokens.scope.split()


def test_litellm_chain_what_was_narrowed_is_not_widened_again(hub: Hub, ada: Person) -> None:
    tokens = ada.log_in(scope="mcp:server:raw")
    assert ada.refresh(tokens.refresh, scope="mcp").status_code == 400
    assert ada.refresh(tokens.refresh, scope="mcp:server:other").status_code == 400
    narrow = tokens_of(ada.refresh(tokens.refresh))
    assert hub.tools(ada.at(narrow)) == [name for name in hub.tools() if name.startswith("raw__")]


def test_litellm_chain_the_admin_of_the_hub_has_to_ask_for_admin_too(hub: Hub, root: Person) -> None:
    tokens = root.log_in()
    assert tokens.scope == "mcp"
    assert root.at(tokens).request("GET", "/api/v1/users").status in NOBODY
    assert root.refresh(tokens.refresh, scope="admin").status_code == 400


@pytest.mark.parametrize(
    ("user", "status"), [("ada", 401), ("rex", 401), ("log", 403)], ids=["member", "reader", "auditor"]
)
def test_litellm_cve_2026_42271_no_process_is_started_for_who_is_no_admin(
    hub: Hub, tmp_path: Path, user: str, status: int
) -> None:
    mark = tmp_path / "started"
    entry = {"command": "/usr/bin/touch", "args": [str(mark)]}
    with person(hub, user) as found:
        if status == 401:  # there is no token for the admin API that could be tried
            assert found.told(resource=admin_address(found), scope="admin audit:read")[0]["error"] == "access_denied"
            tokens = found.log_in()
        else:
            tokens = found.log_in(resource=admin_address(found), scope="admin audit:read")
            assert tokens.scope == "audit:read"
            assert found.at(tokens).request("GET", "/api/v1/audit").status == 200
        mine = found.at(tokens)
    told = NOBODY if status == 401 else (403,)
    assert mine.request("POST", "/api/v1/servers", {"id": f"spawn-{user}", **entry}).status in told
    assert mine.request("PUT", "/api/v1/servers/raw", entry).status in told
    for path in ("import", "try", "raw/test", "raw/enable"):
        assert mine.request("POST", f"/api/v1/servers/{path}", {"mcpServers": {"x": entry}}).status in told
    rows = hub.admin.request("GET", "/api/v1/servers").json["servers"]
    assert {row["id"] for row in rows} == {"raw", "other"}
    assert not mark.exists()


def test_litellm_cve_2026_12773_a_refused_token_is_nobody_and_not_anybody(hub: Hub, ada: Person) -> None:
    tokens = ada.log_in()
    assert ada.at(tokens).modern("tools/list").status == 200
    assert ada.http.post("/oauth/revoke", data={"client_id": ada.client, "token": tokens.access}).status_code == 200
    for _ in range(3):
        refused = ada.at(tokens).call("raw__echo", {"text": "x"})
        assert refused.status in NOBODY
        assert refused.status == 429 or refused.headers["www-authenticate"].startswith("Bearer")
    assert ada.refresh(tokens.refresh).json()["error"] == "invalid_grant"


# 17 and 18: rebinding

FOREIGN = (
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "127.0.0.1:80:80",
    "127.0.0.1, evil.example",
    "[::1].evil.example",
    "0x7f000001",
    "2130706433",
    "127.1",
    "localhost.",
    "",
    " ",
    "127.0.0.1/evil",
    "127.0.0.1\\evil",
    "%31%32%37.0.0.1",
    "api/v1?x=127.0.0.1",
)


def exchanged(hub: Hub, path: str, *headers: str) -> tuple[int, str]:
    head = "\r\n".join((f"GET {path} HTTP/1.1", *headers, "Connection: close"))
    answer = raw_exchange(hub.port, f"{head}\r\n\r\n".encode("latin-1")).decode("latin-1")
    return int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize("path", OURS)
def test_check_17_docker_cve_2025_64443_a_foreign_host_gets_no_page_no_metadata_and_no_echo(
    hub: Hub, path: str
) -> None:
    for host in FOREIGN:
        status, answer = exchanged(hub, path, f"Host: {host}")
        assert status in (400, 403), (host, status)
        assert "evil" not in answer
    assert exchanged(hub, path)[0] in (400, 403)
    assert exchanged(hub, path, "Host: localhost", "Host: evil.example")[0] == 400


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Server", "Forwarded", "X-Original-Host", "X-Host"])
@pytest.mark.parametrize("path", [METADATA, f"{METADATA}/team/mcp", "/.well-known/oauth-authorization-server", "/mcp"])
def test_check_18_what_a_caller_says_of_the_hubs_name_is_never_repeated(hub: Hub, path: str, header: str) -> None:
    value = "host=evil.example;proto=https" if header == "Forwarded" else "evil.example"
    status, answer = exchanged(hub, path, f"Host: 127.0.0.1:{hub.port}", f"{header}: {value}")
    assert status in (200, 401)
    assert "evil" not in answer


def test_check_17_metadata_names_configured_addresses_whatever_allowed_host_is_said(hub: Hub) -> None:
    for host in (f"127.0.0.1:{hub.port}", f"localhost:{hub.port}", f"[::1]:{hub.port}", "localhost:1", "LOCALHOST"):
        status, answer = exchanged(hub, METADATA, f"Host: {host}")
        document = json.loads(answer.partition("\r\n\r\n")[2])
        assert status == 200
        named = host if host.endswith(f":{hub.port}") else f"127.0.0.1:{hub.port}"
        assert document["resource"] == f"http://{named}/mcp"
        assert document["authorization_servers"] == [f"http://127.0.0.1:{hub.port}"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "https://localhost:1@evil"]
)
def test_docker_cve_2025_64443_a_foreign_page_sends_no_form_and_calls_no_tool(
    hub: Hub, ada: Person, origin: str
) -> None:
    page = ada.ask(secrets.token_urlsafe(40))
    typed = {**page.fields(), "name": "ada", "password": ada.password}
    foreign = ada.http.post("/oauth/login", data=typed, headers={"origin": origin})
    assert foreign.status_code == 403
    cross = ada.http.post("/oauth/login", data=typed, headers={"origin": "null", "sec-fetch-site": "cross-site"})
    assert cross.status_code == 403
    assert ada.at(ada.log_in()).request("POST", "/mcp", {}, {"Origin": origin}).status == 403


def test_pages_are_shown_in_no_frame_and_kept_by_nobody(hub: Hub, ada: Person) -> None:
    page = ada.ask(secrets.token_urlsafe(40))
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in page.headers


# Many at once


def test_fifty_clients_that_refresh_one_token_at_once_get_one_successor(hub: Hub, ada: Person) -> None:
    tokens = ada.log_in()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: ada.refresh(tokens.refresh), range(AT_ONCE)))
    given = [tokens_of(answer) for answer in answers]
    assert len({each.refresh for each in given}) == 1
    assert given[0].refresh != tokens.refresh
    assert ada.at(given[-1]).modern("tools/list").status == 200
    assert tokens_of(ada.refresh(given[0].refresh)).refresh not in {tokens.refresh, given[0].refresh}


def test_fifty_clients_that_redeem_one_code_at_once_share_nothing_and_leave_nothing(hub: Hub, ada: Person) -> None:
    code = ada.code()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: ada.redeem(code), range(AT_ONCE)))
    won = [tokens_of(answer) for answer in answers if answer.status_code == 200]
    assert len(won) <= 1
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    for tokens in won:  # a code in two hands ends what it opened
        assert ada.at(tokens).modern("tools/list").status in NOBODY
        assert ada.refresh(tokens.refresh).status_code == 400


def test_nothing_of_all_this_was_a_fault_of_the_hub(hub: Hub) -> None:
    told = [json.loads(line) for line in hub.stderr().splitlines()]
    assert [row for row in told if row["level"] == "error"] == []
    assert hub.http.modern("tools/list").status == 200
