"""A company's provider before a real hub: people log in by it, and its own tokens open the hub."""

from __future__ import annotations

import base64
import json
import re
import secrets
from hashlib import sha256
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from tests.e2e.hub_process import Hub, raw_server
from tests.e2e.login_place import BACK, Code, LoginPlace, Page, Person, Tokens, tokens_of
from tests.e2e.oauth_sso.company import PEOPLE, Browser, Company, World
from tests.e2e.raw_http import Http, free_port

pytestmark = pytest.mark.e2e


def visitor(world: World, name: str = "nobody") -> Person:
    """With a new browser."""
    made = Person(world.hub.port, name)
    made.client = world.client
    return made


def sso_link(page: Page) -> str:
    found = re.search(r'href="(/oauth/sso\?[^"]*)"', page.source)
    assert found is not None, page.text
    return unescape(found[1])


def back_from(world: World, person: Person, page: Page, name: str) -> Page:
    """The page that stands at the end of a login at the company."""
    with Browser(world.company, name) as browser:
        returned = browser.go(person.get(sso_link(page)).leads_to)
    assert returned.startswith(person.base)
    return person.get(returned.removeprefix(person.base))


def log_in(world: World, person: Person, name: str) -> Tokens:
    verifier = secrets.token_urlsafe(40)
    page = person.answer(back_from(world, person, person.ask(verifier), name))
    told = {key: values[0] for key, values in parse_qs(urlsplit(page.leads_to).query).items()}
    return tokens_of(person.redeem(Code(told["code"], verifier)))


def test_a_user_logs_in_by_sso_and_calls_a_tool(world: World) -> None:
    with visitor(world) as person:
        tokens = log_in(world, person, "c-bob")
        http = person.at(tokens)
    assert world.hub.tools(http) == world.hub.tools()
    assert http.call("raw__echo", {"text": "hi"}).text == "echo: hi"
    users = world.hub.admin.request("GET", "/api/v1/users").json["users"]
    bob = next(user for user in users if user["name"] == "bob")
    assert (bob["roles"], bob["display"], bob["issuer"]) == (["member"], "Bob", world.company.issuer)
    (made,) = (entry for entry in world.entries("users.sso") if entry["who"] == "user:bob")
    assert (made["outcome"], made["created"], made["roles"]) == ("done", True, ["member"])


def test_whoever_bears_the_name_of_a_local_user_becomes_somebody_else(world: World) -> None:
    with visitor(world) as person:
        log_in(world, person, "c-ada")
    users = {user["name"]: user for user in world.hub.admin.request("GET", "/api/v1/users").json["users"]}
    assert users["ada"]["issuer"] is None
    assert users["ada"]["roles"] == ["member"]
    assert users["ada@127.0.0.1"]["issuer"] == world.company.issuer
    assert users["ada@127.0.0.1"]["roles"] == ["admin", "member"]


def test_who_has_no_role_at_the_hub_is_told_so_and_is_no_user(world: World) -> None:
    with visitor(world) as person:
        page = back_from(world, person, person.ask("v" * 43), "c-eve")
    assert page.status == 403
    assert "gives you no role at this hub" in page.text
    users = world.hub.admin.request("GET", "/api/v1/users").json["users"]
    assert not any(user["name"] == "eve" for user in users)
    assert [entry["wrong"] for entry in world.entries("login.sso")] == ["nothing"]


def test_a_login_begun_by_somebody_else_is_not_finished_by_a_victim_nor_the_other_way_round(world: World) -> None:
    """FastMCP CVE-2026-27124, in both directions."""
    with visitor(world, "eve") as attacker, visitor(world, "bob") as victim:
        begun = attacker.get(sso_link(attacker.ask("v" * 43))).leads_to
        victims = victim.get(sso_link(victim.ask("v" * 43))).leads_to
        with Browser(world.company, "c-bob") as browser:  # the victim was lured to the attacker's link
            lured = browser.go(begun).removeprefix(victim.base)
        assert "begun in another browser" in victim.get(lured).text
        with Browser(world.company, "c-eve") as browser:  # and here to the end of the attacker's login
            attackers = browser.go(attacker.get(sso_link(attacker.ask("v" * 43))).leads_to)
        state = parse_qs(urlsplit(victims).query)["state"][0]
        planted = {**{k: v[0] for k, v in parse_qs(urlsplit(attackers).query).items()}, "state": state}
        refused = victim.get(f"/oauth/sso/callback?{urlencode(planted)}")
        assert (refused.status, refused.path) == (403, "/oauth/sso/callback")
        assert "That login could not be used" in refused.text


def test_a_token_of_the_company_opens_the_hub_directly(world: World) -> None:
    address = f"http://127.0.0.1:{world.hub.port}/mcp"
    document = httpx2.get(
        f"http://127.0.0.1:{world.hub.port}/.well-known/oauth-protected-resource/mcp", trust_env=False
    )
    assert document.json()["authorization_servers"][1:] == [world.company.issuer]
    token = direct_token(world, "c-ada", address)
    http = Http(world.hub.port, token)
    assert http.call("raw__echo", {"text": "hi"}).text == "echo: hi"
    other = Http(world.hub.port, direct_token(world, "c-ada", "https://elsewhere.example/mcp"))
    assert other.modern("tools/list").status == 401
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    assert Http(world.hub.port, forged).modern("tools/list").status == 401


def test_with_the_provider_down_the_page_says_so_and_own_users_log_in(world: World) -> None:
    with visitor(world, "ada") as person:
        page = person.ask("v" * 43)
        with Browser(world.company, "c-bob") as browser:
            returned = browser.go(person.get(sso_link(page)).leads_to)
        world.company.stop()
        try:
            failed = person.get(returned.removeprefix(person.base))
            assert failed.status == 502
            assert "Example Corp does not answer" in failed.text
            assert http_of(person).call("raw__echo", {"text": "hi"}).text == "echo: hi"
        finally:
            world.company.start()
    assert "refuses connections" in json.dumps(world.entries("login.sso")[-1])
    assert world.company.secret not in world.hub.stderr() + json.dumps(world.place.entries())


def test_a_hub_without_a_login_of_its_own_is_opened_by_tokens_that_the_company_is_asked_about(
    tmp_path: Path, world: World
) -> None:
    port = free_port()
    with Company(tmp_path, free_port(), f"http://127.0.0.1:{port}", PEOPLE, "opaque") as company:
        asking = {"client_id": "hub", "client_secret": "env:SSO_SECRET"}
        issuer = {"issuer": company.issuer, "introspection": asking, "default_roles": ["member"]}
        auth = {"login": False, "issuers": [issuer], "fetch_local": ["127.0.0.1"]}
        config = {"listen": f"127.0.0.1:{port}", "mcpServers": {"raw": raw_server("modern")}, "auth": auth}
        with Hub(LoginPlace(tmp_path / "home", config, SSO_SECRET=company.secret)) as hub:
            hub.wait_for("raw__echo")
            other = World(world.place, hub, company, "")
            document = httpx2.get(f"http://127.0.0.1:{port}/.well-known/oauth-protected-resource", trust_env=False)
            assert document.json()["authorization_servers"] == [company.issuer]
            token = direct_token(other, "c-bob", f"http://127.0.0.1:{port}/mcp")
            assert "." not in token
            assert Http(port, token).call("raw__echo", {"text": "hi"}).text == "echo: hi"
            assert Http(port, token[:-1] + "~").modern("tools/list").status == 401
            assert httpx2.get(f"http://127.0.0.1:{port}/oauth/login", trust_env=False).status_code == 404


def http_of(person: Person) -> Http:
    return person.at(person.log_in())


def direct_token(world: World, name: str, resource: str) -> str:
    """As a program gets it that asks the company and not the hub."""
    verifier = secrets.token_urlsafe(40)
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "client_id": "program",
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "openid mcp",
        "resource": resource,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    with Browser(world.company, name) as browser:
        returned = browser.go(f"{world.company.issuer}/auth?{urlencode(asked)}")
    form = {
        "grant_type": "authorization_code",
        "client_id": "program",
        "redirect_uri": BACK,
        "code": parse_qs(urlsplit(returned).query)["code"][0],
        "code_verifier": verifier,
        "resource": resource,
    }
    answer = httpx2.post(f"{world.company.issuer}/token", data=form, trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])
