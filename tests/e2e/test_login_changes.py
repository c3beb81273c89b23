"""Logins while the hub changes: roles, users and settings. What is taken away is gone at once, on open streams too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from tests.e2e.hub_process import Hub, Json, raw_server
from tests.e2e.login_place import PASSWORD, LoginPlace, Person, made_user, person, tokens_of
from tests.e2e.raw_http import Events, Http, Session, SseSession

METADATA = "/.well-known/oauth-protected-resource"
SERVERS: Json = {"raw": raw_server("legacy"), "other": raw_server("modern")}
LISTENING = {"notifications": {"toolsListChanged": True}}
END_S = 5.0  # of a stream whose keep-alive is half a second


def configuration(role: Json, **more: Any) -> Json:
    return {
        "mcpServers": SERVERS,
        "edge": {"keepalive_s": 0.5},
        "auth": {"roles": {"reader": role}},
        **more,
    }


READER: Json = {"servers": ["raw"], "tools": ["raw__e*"]}
NUMBERS = count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(LoginPlace(tmp_path_factory.mktemp("changes"), configuration(READER))) as hub:
        hub.wait_for("raw__echo", "other__echo")
        yield hub


@pytest.fixture
def hub(running: Hub) -> Iterator[Hub]:
    yield running
    reloaded(running, configuration(READER))


@pytest.fixture
def rex(hub: Hub) -> Iterator[Person]:
    """Another one for each test, so that what one of them loses is not missed by the next."""
    name = f"rex{next(NUMBERS)}"
    made_user(hub, name, "reader")
    with person(hub, name) as found:
        yield found


@pytest.fixture
def ada(hub: Hub) -> Iterator[Person]:
    name = f"ada{next(NUMBERS)}"
    made_user(hub, name, "member")
    with person(hub, name) as found:
        yield found


def reloaded(hub: Hub, config: Mapping[str, Any]) -> None:
    hub.place.configure(config)
    answer = hub.admin.request("POST", "/api/v1/reload")
    assert answer.status == 200, answer.body


class Streams:
    """One of every kind that a caller can hold open."""

    def __init__(self, http: Http, stack: ExitStack) -> None:
        self.modern = stack.enter_context(http.modern_stream("subscriptions/listen", LISTENING))
        self.session = Session(http)
        self.legacy = stack.enter_context(self.session.listen())
        self.sse = stack.enter_context(SseSession(http))
        self.modern.until("notifications/subscriptions/acknowledged")

    def end(self) -> None:
        """Returns when all have ended, each within its bound."""
        for stream in (self.modern, self.legacy, self.sse.stream):
            while stream.next(END_S) is not None:  # a closing result may stand before the end
                pass

    def stand(self) -> bool:
        return self.session.request("ping").status == 200


def comment(stream: Events) -> None:
    """Returns when the stream was kept alive once more, and so was looked at."""
    while not (line := stream._response.readline()).startswith(b":"):
        assert line, "the stream ended"


# Roles of the file


def test_roles_of_the_file_reach_exactly_what_they_say(hub: Hub, rex: Person, ada: Person) -> None:
    mine = rex.at(rex.log_in())
    assert hub.tools(mine) == ["raw__echo", "raw__environment"]
    assert hub.tools(ada.at(ada.log_in())) == hub.tools()
    for name in ("raw__slow", "other__echo"):
        assert mine.call(name).error["code"] == -32602


@pytest.mark.parametrize(
    ("role", "tools"),
    [
        ({"servers": ["raw"], "tools": ["raw__told"]}, ["raw__told"]),
        ({"servers": ["other"], "tools": ["*__echo"]}, ["other__echo"]),
        ({}, []),
        ({"scopes": ["audit:read"]}, None),
    ],
    ids=["other tools", "another server", "nothing", "no calls at all"],
)
def test_a_role_that_changes_while_the_hub_runs_holds_for_the_next_call_and_ends_old_streams(
    hub: Hub, rex: Person, role: Json, tools: list[str] | None
) -> None:
    with ExitStack() as stack:
        mine = rex.at(rex.log_in())
        streams = Streams(mine, stack)
        reloaded(hub, configuration(role))
        refused = mine.call("raw__echo", {"text": "x"})
        if tools is None:
            assert refused.status == 403
        else:
            assert refused.error["code"] == -32602
            assert hub.tools(mine) == tools
        streams.end()


def test_streams_of_an_old_reach_end_by_themselves_though_nobody_calls(hub: Hub, rex: Person, ada: Person) -> None:
    with ExitStack() as stack:
        streams, others = Streams(rex.at(rex.log_in()), stack), Streams(ada.at(ada.log_in()), stack)
        reloaded(hub, configuration({"servers": ["other"]}))
        streams.end()
        assert others.stand()


def test_a_role_that_goes_away_takes_all_it_allowed_with_it(hub: Hub, rex: Person) -> None:
    tokens = rex.log_in()
    reloaded(hub, {**configuration({}), "auth": {}})
    assert rex.at(tokens).modern("tools/list").status == 403
    assert rex.at(tokens_of(rex.refresh(tokens.refresh))).modern("tools/list").status == 403


def test_a_reload_that_leaves_the_roles_alone_ends_nobodys_stream(hub: Hub, rex: Person) -> None:
    with ExitStack() as stack:
        mine = rex.at(rex.log_in())
        streams = Streams(mine, stack)
        reloaded(hub, configuration({"servers": ["raw"], "tools": ["raw__e*"]}, log={"level": "warning"}))
        comment(streams.legacy)
        comment(streams.legacy)
        assert streams.stand()
        assert mine.call("raw__echo", {"text": "x"}).text == "echo: x"


# 21: whoever leaves


ENDS: Mapping[str, tuple[str, str, Json | None]] = {
    "disable": ("POST", "/disable", None),
    "password": ("PUT", "/password", {"password": "another password of rex"}),
    "logout": ("DELETE", "/grants", None),
    "roles": ("PATCH", "", {"roles": ["auditor"]}),
}


def told(hub: Hub, name: str, act: str) -> None:
    verb, path, wish = ENDS[act]
    answer = hub.admin.request(verb, f"/api/v1/users/{name}{path}", wish)
    assert answer.status in (200, 204), answer.body


@pytest.mark.parametrize("act", list(ENDS))
def test_check_21_what_ends_a_users_access_ends_it_on_the_next_call_and_on_open_streams(
    hub: Hub, rex: Person, ada: Person, act: str
) -> None:
    with ExitStack() as stack:
        tokens, theirs = rex.log_in(), ada.at(ada.log_in())
        mine = rex.at(tokens)
        streams, others = Streams(mine, stack), Streams(theirs, stack)
        assert mine.call("raw__echo", {"text": "x"}).text == "echo: x"
        told(hub, rex.name, act)
        refused = {403} if act == "roles" else {401}
        assert {mine.call("raw__echo", {"text": "x"}).status, mine.modern("tools/list").status} == refused
        assert streams.session.request("ping").status in refused
        again = rex.refresh(tokens.refresh)
        assert again.status_code == 400 or rex.at(tokens_of(again)).modern("tools/list").status in refused
        streams.end()
        assert others.stand()
        assert theirs.call("raw__echo", {"text": "y"}).text == "echo: y"


def test_check_21_a_disabled_user_can_neither_log_in_nor_finish_a_login_that_was_begun(hub: Hub, rex: Person) -> None:
    code = rex.code()
    page = rex.ask("v" * 43)
    assert page.path == "/oauth/consent"
    told(hub, rex.name, "disable")
    assert rex.redeem(code).status_code == 400
    after = rex.post("/oauth/consent", {**page.fields(), "answer": "allow"})
    assert "code=" not in after.leads_to
    fresh = rex.ask("v" * 43)
    assert fresh.path == "/oauth/login"
    refused = rex.post("/oauth/login", {**fresh.fields(), "name": rex.name, "password": PASSWORD})
    assert refused.status == 403
    assert hub.admin.request("POST", f"/api/v1/users/{rex.name}/enable").status == 200
    assert hub.tools(rex.at(rex.log_in())) == ["raw__echo", "raw__environment"]


# Settings


def challenge(hub: Hub) -> str:
    return Http(hub.port, None).request("POST", "/mcp", {}).headers["www-authenticate"]


@pytest.mark.parametrize(
    "config",
    [
        {"auth": {"login": False}},
        {"listen": "0.0.0.0:0", "allowed_hosts": ["127.0.0.1"]},
    ],
    ids=["login off", "on the network without a public address"],
)
def test_where_nobody_can_log_in_there_is_no_page_no_metadata_and_no_word_of_them(
    tmp_path_factory: pytest.TempPathFactory, config: Json
) -> None:
    place = LoginPlace(tmp_path_factory.mktemp("off"), {"mcpServers": SERVERS, **config})
    with Hub(place) as hub:
        made_user(hub, "ada", "member")
        assert "resource_metadata" not in challenge(hub)
        nobody = Http(hub.port, None)
        for path in ("/oauth/authorize", "/oauth/login", "/oauth/jwks", METADATA, f"{METADATA}/mcp"):
            assert nobody.request("GET", path).status == (401 if "listen" in config else 404)  # some pages are open
            assert hub.admin.request("GET", path).status == 404
        for path in ("/oauth/token", "/oauth/register", "/oauth/revoke", "/oauth/login"):
            assert hub.admin.request("POST", path, {}).status == 404
        assert hub.http.modern("tools/list").status == 200
        warned = "log in" in hub.stderr()
        assert warned is ("listen" in config)


def test_registration_off_takes_no_program_that_names_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = LoginPlace(tmp_path_factory.mktemp("closed"), {"auth": {"registration": False}})
    with Hub(place) as hub, Person(hub.port, "ada") as ada:
        told = {"redirect_uris": ["http://127.0.0.1/cb"], "client_name": "x", "token_endpoint_auth_method": "none"}
        assert ada.http.post("/oauth/register", json=told).status_code in (403, 404)
        assert "registration_endpoint" not in ada.http.get("/.well-known/oauth-authorization-server").json()


def test_a_public_url_is_what_metadata_tokens_and_pages_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = {"listen": "0.0.0.0:0", "public_url": "https://hub.example.com", "mcpServers": SERVERS}
    place = LoginPlace(tmp_path_factory.mktemp("public"), config)
    with Hub(place) as hub:
        nobody = Http(hub.port, None)
        for host in ("hub.example.com", "127.0.0.1"):
            document = nobody.request("GET", METADATA, None, {"Host": host}).json
            assert document["resource"] == "https://hub.example.com/mcp"
            assert document["authorization_servers"] == ["https://hub.example.com"]
        refused = nobody.request("POST", "/mcp", {}, {"Host": "hub.example.com"})
        assert f'resource_metadata="https://hub.example.com{METADATA}/mcp"' in refused.headers["www-authenticate"]
        assert "log in" not in hub.stderr()


def test_a_public_url_that_changes_in_the_file_waits_for_a_restart_and_locks_nobody_out(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    place = LoginPlace(tmp_path_factory.mktemp("moving"), {"public_url": "https://old.example.com"})
    with Hub(place) as hub:
        place.configure({"public_url": "https://new.example.com"})
        answer = hub.admin.request("POST", "/api/v1/reload")
        assert any("public_url" in text for text in answer.json["restart"])
        document = hub.http.request("GET", METADATA, None, {"Host": "old.example.com"}).json
        assert document["resource"] == "https://old.example.com/mcp"
        assert hub.http.modern("tools/list", headers={"Host": "old.example.com"}).status == 200
    with Hub(place) as hub:
        assert hub.http.modern("tools/list", headers={"Host": "old.example.com"}).status == 403
        assert hub.http.modern("tools/list", headers={"Host": "new.example.com"}).status == 200


def test_an_endpoint_that_goes_away_takes_its_tokens_with_it(hub: Hub, rex: Person) -> None:
    both = {"/team/mcp": {"servers": ["raw"]}}
    reloaded(hub, configuration(READER, endpoints=both))
    team = rex.at(rex.log_in(resource=rex.address("team")))
    assert team.call("raw__echo", {"text": "x"}, endpoint="/team").text == "echo: x"
    reloaded(hub, configuration(READER))
    for endpoint in ("/team", ""):
        assert team.modern("tools/list", endpoint=endpoint).status in (401, 404)


# 19: keys and defaults


def test_check_19_a_new_hub_has_no_user_and_no_password_that_logs_in(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    place = LoginPlace(tmp_path_factory.mktemp("new"), {})
    with Hub(place) as hub, Person(hub.port, "admin") as stranger:
        stranger.register()
        page = stranger.ask("v" * 43)
        for name, password in (("admin", "admin"), ("admin", "password"), ("root", ""), ("admin", "mcp-hub")):
            after = stranger.post("/oauth/login", {**page.fields(), "name": name, "password": password})
            assert after.path != "/oauth/consent"
            assert "code=" not in after.leads_to
        made = stranger.post("/oauth/welcome", {**page.fields(), "code": "", "name": "mallory", "password": PASSWORD})
        assert made.status >= 400
        assert place.json("users", "list")["users"] == []


SHORT = {"kty": "oct", "k": "c2VjcmV0"}
OTHER_CURVE = {
    "kty": "EC",
    "crv": "P-384",
    "x": "iA7lWQLzVrKGEFjfGMfMHfTEZ2KnLiKU7JuNT3E7ldsB7AsmFdtdhSNiplYFkI5x",
    "y": "AD2zkZ0hhwsPcFPdHsrxCvHcLuZaUWlN5NwiTyVYB5tLZLfiLnUSKkKGpL2mYx5a",
}


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps({"keys": [{"jwk": SHORT, "made": 1e12}], "mark": ""}),
        json.dumps({"keys": [{"jwk": OTHER_CURVE, "made": 1e12}], "mark": "AA=="}),
    ],
    ids=["nothing in it", "a short secret", "another curve"],
)
def test_check_19_a_weak_or_damaged_signing_key_is_made_anew_and_signs_nothing(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    place = LoginPlace(tmp_path_factory.mktemp("weak"), {})
    path = place.data_dir / "keys" / "oauth-signing.json"
    with Hub(place) as hub:
        made_user(hub, "ada", "member")
        with person(hub, "ada") as ada:
            tokens = ada.log_in()
    assert path.stat().st_mode & 0o077 == 0
    path.write_text(content)
    with Hub(place) as hub, person(hub, "ada") as ada:
        [key] = ada.http.get("/oauth/jwks").json()["keys"]
        assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
        assert "d" not in key
        assert path.stat().st_mode & 0o077 == 0
        assert ada.at(tokens).modern("tools/list").status == 401
        assert ada.at(ada.log_in()).modern("tools/list").status == 200
